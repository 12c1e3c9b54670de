"""Which models with which columns there are to be: the file, filled in with what was seen of the properties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from connector.catalogue.properties import EVENT_PROPERTIES
from connector.catalogue.tables import tables
from connector.errors import SettingsError
from connector.properties.catalogue import Property
from connector.properties.config import TYPES, WantedEvent, WantedVendor
from connector.properties.names import column_names, model_names

# Columns of the vendors' staging models that every typed model begins with, in order, and what they are.
BASE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "openpanel": {
        "event_id": ("VARCHAR", "The event."),
        "project_id": ("VARCHAR", "OpenPanel project."),
        "session_id": ("VARCHAR", "Session; NULL if there is none."),
        "visitor_id": ("VARCHAR", "Browser or device, identified or not."),
        "user_id": ("VARCHAR", "Identified person; NULL if anonymous."),
        "group_ids": ("VARCHAR[]", "Groups (companies) of the event."),
        "occurred_at": ("TIMESTAMPTZ", "When it happened; UTC."),
        "day": ("DATE", "UTC day."),
        "path": ("VARCHAR", "Path of the page."),
        "revenue_cents": ("BIGINT", "In the smallest currency unit."),
    },
    "userpilot": {
        "user_id": ("VARCHAR", "Person; NULL for events of a company alone."),
        "company_id": ("VARCHAR", "Company; NULL for people without one."),
        "vendor_event_id": ("VARCHAR", "The vendor's hash of the event; not unique."),
        "occurred_at": ("TIMESTAMPTZ", "When it happened; UTC."),
        "day": ("DATE", "UTC day."),
        "source": ("VARCHAR", "What sent it."),
        "hostname": ("VARCHAR", "Host of the page."),
        "path": ("VARCHAR", "Path of the page."),
    },
}
# Behind the properties.
MISFITS, BUILT = "misfits", "built_at"
# Each dot may be a part of a name or a step inwards; from so many on, they are all the one or all the other.
MANY_DOTS = 4


@dataclass(frozen=True)
class TypedColumn:
    """A property as a column.

    Attributes:
        pointers: JSON pointers at which its value may be; the first that has one counts.
    """

    property: str
    name: str
    type: str
    pointers: tuple[str, ...]


@dataclass(frozen=True)
class TypedModel:
    """One event as a model.

    Attributes:
        properties: the column with all properties, in the vendor's staging model.
        kind: column and value of the rows that have properties of their own; all rows if None.
    """

    vendor: str
    event: str
    name: str
    columns: tuple[TypedColumn, ...]
    properties: str
    kind: tuple[str, str] | None


def plan(wanted: Mapping[str, WantedVendor], seen: Sequence[Property], where: str) -> list[TypedModel]:
    """The models, by vendor and name.

    Args:
        wanted: what the file says.
        seen: what the warehouse knows; may be empty if the file says every type.
        where: the file's name, for messages.

    Raises:
        SettingsError: a type is left open and no value was seen, or two models or columns would have one name.
    """
    found: list[TypedModel] = []
    for source in EVENT_PROPERTIES:
        vendor = source.stream.vendor
        known = [one for one in seen if one.table == source.stream.table]
        events = _events(wanted.get(vendor), known)
        reserved = {table.name for table in tables() if table.vendor == vendor}
        names = model_names(events, reserved) | {event: one.model for event, one in events.items() if one.model}
        for event, one in events.items():
            place = f"{where}.{vendor}.events.{event}"
            columns = _columns(one, [two for two in known if two.event == event], vendor, source.column, place)
            found.append(
                TypedModel(vendor, event, f"stg_{vendor}__{names[event]}", columns, source.column, source.kind)
            )
        _once([f"stg_{vendor}__{names[event]}" for event in events], f"{where}.{vendor}.events", "model")
        _once([name for name in names.values() if name in reserved], f"{where}.{vendor}.events", "model", most=0)
    return sorted(found, key=lambda one: one.name)


def _events(wanted: WantedVendor | None, known: Sequence[Property]) -> dict[str, WantedEvent]:
    """The events that get a model: those of the file, and all others if there is a rule for them."""
    if wanted is None:
        return {}
    events = dict(wanted.events)
    if wanted.above_percent is not None:
        for one in known:
            events.setdefault(one.event, WantedEvent(above_percent=wanted.above_percent))
    return {
        name: one
        if one.properties or one.above_percent is not None
        else replace(one, above_percent=wanted.above_percent)
        for name, one in events.items()
    }


def _columns(
    wanted: WantedEvent, known: Sequence[Property], vendor: str, properties: str, where: str
) -> tuple[TypedColumn, ...]:
    seen = {one.property: one for one in known}
    share = wanted.above_percent
    # Places in a list are not told apart by the catalogue, so no rule can choose one of them.
    more = sorted(
        name
        for name, one in seen.items()
        if share is not None and one.filled_percent >= share and "*" not in name.split(".")
    )
    chosen = [*wanted.properties, *(name for name in more if name not in wanted.properties)]
    reserved = {*BASE[vendor], properties, MISFITS, BUILT}
    given = {name: one.column for name, one in wanted.properties.items() if one.column}
    names = column_names([name for name in chosen if name not in given], {*reserved, *given.values()}) | given
    types = {name: one.type for name, one in wanted.properties.items()}
    columns = []
    for name in chosen:
        kind = types.get(name) or (TYPES[seen[name].fits] if name in seen else "")
        if not kind:
            raise SettingsError(
                f"{where}.properties.{name}",
                "has no type, and no value of it was seen",
                next_step=f"land days with it, correct its name, or write one of {', '.join(TYPES)}.",
            )
        columns.append(TypedColumn(name, names[name], kind, pointers(name)))
    _once([*names.values(), *reserved], f"{where}.properties", "column")
    return tuple(columns)


def _once(names: Sequence[str], where: str, what: str, most: int = 1) -> None:
    twice = sorted({name for name in names if names.count(name) > most})
    if twice:
        raise SettingsError(
            where, f"gives two of them the {what} {twice[0]}", next_step=f"write `{what}:` with another name at one."
        )


def pointers(path: str) -> tuple[str, ...]:
    """JSON pointers (RFC 6901) of a dotted path: ``a.b`` may be a name, or ``b`` in ``a``."""
    parts = [part.replace("~", "~0").replace("/", "~1") for part in path.split(".")]
    dots = range(1, len(parts))
    cuts = [cut for size in range(len(parts)) for cut in combinations(dots, size)]
    if len(parts) > MANY_DOTS:
        cuts = [(), tuple(dots)]
    return tuple(
        "/" + "/".join(".".join(parts[a:b]) for a, b in zip((0, *cut), (*cut, len(parts)), strict=True)) for cut in cuts
    )
