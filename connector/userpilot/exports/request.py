"""The request for an export: days, format and filters, checked before anything is sent."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Literal

import msgspec

from connector.catalogue.userpilot import DEFAULT_EVENT_TYPES, EVENT_TYPES
from connector.errors import RejectedError

Format = Literal["json", "csv"]


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an export asks for besides its days. Other keys are refused, because the vendor would ignore them.

    Attributes:
        event_type: kinds of events; the vendor's six if empty (session_start is not among them).
        user_id, company_id: only events of these; all if empty.
        segment_id: only events of this segment; a text although it looks like a number.
        exclusions: leave out the users and companies that are excluded in the web app.
        format: JSON lines or CSV; CSV cannot tell NULL from an empty text.
        emails: addresses that get a message with download links. A link gives access to the data.
    """

    event_type: tuple[str, ...] = ()
    user_id: tuple[str, ...] = ()
    company_id: tuple[str, ...] = ()
    segment_id: str = ""
    exclusions: bool = False
    format: Format = "json"
    emails: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Options":
        """Options from a run's configuration or a command line, checked.

        Raises:
            RejectedError: an unknown key, an unknown event type, a value of another type.
        """
        known = set(cls.__struct_fields__)
        if unknown := sorted(set(given) - known):
            raise _wrong(f"{', '.join(unknown)} is not an option", f"use {', '.join(sorted(known))}.")
        try:
            options = msgspec.convert({key: _listed(key, value) for key, value in given.items()}, cls)
        except msgspec.ValidationError as fault:
            raise _wrong(str(fault), "see the options of an export in docs/export.md.") from None
        if odd := sorted(set(options.event_type) - set(EVENT_TYPES)):
            raise _wrong(f"event_type {', '.join(odd)} does not exist", f"use {', '.join(EVENT_TYPES)}.")
        for key in ("event_type", "user_id", "company_id", "emails"):
            if any(not text.strip() for text in getattr(options, key)):
                raise _wrong(f"{key} holds an empty text", "leave the option out to export everything.")
        return options

    @property
    def types(self) -> frozenset[str]:
        """Kinds of events that the files may hold."""
        return frozenset(self.event_type or DEFAULT_EVENT_TYPES)

    @property
    def fingerprint(self) -> str:
        """Equal for exports with the same rows; format and email addresses do not count."""
        rows = {
            "event_type": sorted(self.types),
            "user_id": sorted(self.user_id),
            "company_id": sorted(self.company_id),
            "segment_id": self.segment_id,
            "exclusions": self.exclusions,
        }
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One export: the first and the last UTC day to land, both included, and the options."""

    first: date
    last: date
    options: Options = Options()

    @classmethod
    def checked(cls, first: date, last: date, options: Options | None = None, *, today: date) -> "Request":
        """A request whose days are possible.

        Raises:
            RejectedError: the days are in the wrong order, or in the future.
        """
        if last < first:
            raise _wrong(f"the last day {last} is before the first {first}", "swap the two days.")
        if last > today:
            raise _wrong(f"the last day {last} is in the future", f"ask for days up to {today}.")
        return cls(first=first, last=last, options=options or Options())

    @property
    def id(self) -> str:
        """Equal for equal requests."""
        return f"{self.first:%Y%m%d}-{self.last:%Y%m%d}-{self.options.fingerprint[:8]}-{self.options.format}"

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=offset) for offset in range((self.last - self.first).days + 1)]

    @property
    def where(self) -> str:
        return f"userpilot.events[{self.first}..{self.last}]"

    def body(self) -> dict[str, Any]:
        """The body of the POST; keys with a default value are left out.

        It asks for one day before and two days after, because `to` may be excluded, and both may follow a zone up to
        14 hours away from UTC. Event types are always named, because the default depends on the server's version.
        """
        options = self.options
        asked: dict[str, Any] = {
            "from": (self.first - timedelta(days=1)).isoformat(),
            "to": (self.last + timedelta(days=2)).isoformat(),
            "format": options.format,
            "event_type": list(options.event_type or DEFAULT_EVENT_TYPES),
        }
        for key in ("user_id", "company_id", "emails"):
            if values := getattr(options, key):
                asked[key] = list(values)
        if options.segment_id:
            asked["segment_id"] = options.segment_id
        if options.exclusions:
            asked["exclusions"] = True
        return asked

    def halves(self) -> tuple["Request", "Request"]:
        """Two requests of half the days each."""
        middle = self.first + (self.last - self.first) // 2
        return msgspec.structs.replace(self, last=middle), msgspec.structs.replace(
            self, first=middle + timedelta(days=1)
        )


def _listed(key: str, value: Any) -> Any:
    """A single text is read as a list of one. Numbers are refused: ids are texts, see CONTRACT.md 4."""
    return (value,) if key in ("event_type", "user_id", "company_id", "emails") and isinstance(value, str) else value


def _wrong(problem: str, next_step: str) -> RejectedError:
    return RejectedError(f"this export cannot be asked for: {problem}", where="userpilot.events", next_step=next_step)
