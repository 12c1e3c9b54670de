"""Which tables hold events with properties of their own, and which types hold their values, as data."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from connector.catalogue.openpanel import EVENTS as OPENPANEL
from connector.catalogue.userpilot import EVENTS as USERPILOT
from connector.stream import Stream


@dataclass(frozen=True, kw_only=True)
class EventProperties:
    """Where the properties of a stream's events are.

    Attributes:
        stream: the landed table.
        event: column of the event's name; rows without a name have no properties that could be told apart.
        column: JSON column of the properties.
        person: columns that say whose event it is; the first that is not empty counts.
        kind: column and value of the rows that have properties of their own; all rows if None.
    """

    stream: Stream
    event: str
    column: str
    person: tuple[str, ...]
    kind: tuple[str, str] | None = None

    def of(self, instance: str) -> "EventProperties":
        """The same of another instance."""
        return replace(self, stream=self.stream.of(instance)) if instance else self


EVENT_PROPERTIES = (
    # Flat, with dotted keys; every value is a text.
    EventProperties(stream=OPENPANEL, event="name", column="properties", person=("device_id", "profile_id")),
    # Nested JSON. The metadata of other kinds describes people, companies and the vendor's own content.
    EventProperties(
        stream=USERPILOT, event="event_name", column="metadata", person=("user_id",), kind=("event_type", "track")
    ),
)

# Types of columns, narrow ones first, and the kinds of values that fit them. Everything fits a text.
FITTING = {
    "boolean": ("boolean",),
    "integer": ("integer",),
    "decimal": ("integer", "decimal"),
    "double": ("integer", "decimal", "double"),
    "date": ("date",),
    "timestamp": ("date", "timestamp"),
}


def fits(kinds: Iterable[str]) -> str:
    """The narrowest type that holds values of all these kinds."""
    kinds = set(kinds)
    return next((kind for kind, those in FITTING.items() if kinds <= set(those)), "text")
