"""The stored events of an environment, and how an event is written as a row of a file.

An instant is a whole number of microseconds since 1970 UTC. There is no unique key: two equal events are two events.
"""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from connector.sandbox.userpilot.behaviour import World

DAY_US = 86_400_000_000
DEFAULT_TYPES = ("identify_user", "identify_company", "page_view", "track", "track_feature", "interaction")
TEXTS = ("event_type", "event_name", "user_id", "company_id", "source")
PLACES = ("hostname", "pathname")
NUMBERS = ("screen_width", "screen_height")
DEVICES = ("device_type", "user_agent", "operating_system", "browser", "browser_language", "session", "country_code")
COLUMNS = (*TEXTS, *PLACES, *NUMBERS, *DEVICES, "metadata")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


class Event(msgspec.Struct, kw_only=True, gc=False):
    """One event. It happened ``at`` and can be exported from ``arrives`` on; ``spelt`` is its time as a fixed text."""

    at: int
    arrives: int
    row: dict[str, Any]
    spelt: str | None = None


def as_us(value: str | datetime) -> int:
    """Microseconds of an ISO text or a datetime (without a zone: UTC)."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _US


def moment(us: int) -> datetime:
    """The instant as a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=us)


def day_start(day: date | str) -> int:
    """Midnight UTC."""
    chosen = date.fromisoformat(day) if isinstance(day, str) else day
    return as_us(datetime(chosen.year, chosen.month, chosen.day))


def made(
    *,
    at: str | datetime | None = None,
    inserted_at: str | None = None,
    arrives: str | datetime | None = None,
    **columns: Any,
) -> Event:
    """An event of a test; ``inserted_at`` is written into files exactly as it is given."""
    given = inserted_at if at is None else at
    if given is None:
        raise ValueError("an event needs at= or inserted_at=")
    happened = as_us(given)
    known = 0 if arrives is None else as_us(arrives)
    return Event(at=happened, arrives=known, row=columns, spelt=inserted_at)


class Events:
    """All events of an environment."""

    def __init__(self) -> None:
        self._all: list[Event] = []
        self._ordered = True

    def add(self, events: Iterable[Event]) -> int:
        """Store some events; returns their number."""
        before = len(self._all)
        self._all.extend(events)
        self._ordered = False
        return len(self._all) - before

    def between(self, first: int, end: int, now: int) -> list[Event]:
        """The events of ``[first, end)`` that have arrived by ``now``, in order of time."""
        if not self._ordered:
            self._all.sort(key=_at)
            self._ordered = True
        found = self._all[bisect_left(self._all, first, key=_at) : bisect_left(self._all, end, key=_at)]
        return [event for event in found if event.arrives <= now]

    def remove(self, wanted: dict[str, Any]) -> int:
        """Delete every event with these columns; returns their number."""
        before = len(self._all)
        self._all = [
            event for event in self._all if any(event.row.get(name, "") != value for name, value in wanted.items())
        ]
        return before - len(self._all)


def _at(event: Event) -> int:
    return event.at


def written(event: Event, world: World, app_token: str) -> dict[str, Any]:
    """The event as a row of a file."""
    row: dict[str, Any] = {"app_token": app_token}
    for name in COLUMNS[:-1]:
        if name == "session" and not world.sessions:
            continue
        blank: Any = None if world.nulls else (0 if name in NUMBERS else "")
        value = event.row.get(name, blank)
        row[name] = blank if value in ("", None) else value
    row["inserted_at"] = event.spelt or time_text(event.at, spaced=world.spaced_time)
    if world.event_ids != "absent":
        number = _event_id(row, event.at)
        row["internal_event_id"] = str(number) if world.event_ids == "string" else number
    if world.extra_columns:
        row |= {"sdk_version": "4.1.0", "labels": ["beta", 2]}
    row |= {name: value for name, value in event.row.items() if name not in COLUMNS}
    row["metadata"] = _metadata(event.row.get("metadata", {}), world)
    return row


def time_text(us: int, *, spaced: bool) -> str:
    """``2025-05-11T07:45:30.123456Z`` or, in the event store's own spelling, ``2025-05-11 07:45:30.123456``."""
    text = f"{moment(us):%Y-%m-%d %H:%M:%S.%f}"
    return text if spaced else text.replace(" ", "T") + "Z"


def _metadata(value: Any, world: World) -> Any:
    """The metadata as this world writes it. Only objects are converted; any other value is written as given."""
    if not isinstance(value, dict) or not world.metadata_as_text:
        return value
    return json.dumps(value, ensure_ascii=False) if value else []


def _event_id(row: dict[str, Any], at: int) -> int:
    """A hash of the natural key, always 20 digits. Two events with the same natural key have the same id."""
    key = [row["app_token"], row["event_type"], row["event_name"], row["user_id"], row["company_id"], at]
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=8).digest()
    return int(10**19 + int.from_bytes(digest) % (2**64 - 10**19))
