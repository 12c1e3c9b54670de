"""What the vendor stores: organisations, projects, clients, events by day, profiles, groups, event records.

Events have no unique key and are never updated, so the same id may be stored twice. This module answers no requests
and checks no credentials.
"""

import itertools
import re
import uuid
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import msgspec

from connector.sandbox.openpanel.timestamps import DAY_MS, as_ms, iso

NO_COUNTRY = "\0\0"  # the column is two bytes wide; an unknown country reads as two NULs

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NAMES = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")

ClientType = Literal["read", "write", "root"]


@dataclass(frozen=True, kw_only=True)
class Client:
    """A pair of credentials. ``project`` None: for the whole organisation; ``secret`` None: the vendor has none."""

    id: str
    secret: str | None
    type: ClientType
    project: str | None = "demo"
    organisation: str = "demo-org"
    ignore_cors_and_secret: bool = False


class Event(msgspec.Struct, kw_only=True, gc=False):
    """One stored row. ``at`` is its time in milliseconds; ``created_at`` is the same time as the export writes it."""

    id: str
    at: int
    created_at: str
    project_id: str
    name: str = "screen_view"
    device_id: str = ""
    profile_id: str = ""
    session_id: str = ""
    path: str = ""
    origin: str = ""
    city: str = ""
    country: str = NO_COUNTRY
    region: str = ""
    longitude: float | int | None = None
    latitude: float | int | None = None
    os: str = ""
    os_version: str = ""
    browser: str = ""
    browser_version: str = ""
    device: str = ""
    brand: str = ""
    model: str = ""
    referrer: str = ""
    referrer_name: str = ""
    referrer_type: str = ""
    properties: dict[str, Any] = {}
    revenue: int = 0
    duration: int = 0
    groups: list[str] = []
    sdk_name: str = ""
    sdk_version: str = ""
    imported_at: int | None = None


class Profile(msgspec.Struct, kw_only=True):
    """A known person. Properties may be nested; all values are text."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    avatar: str = ""
    properties: dict[str, Any] = {}
    created_at: int = 0
    last_seen_at: int = 0
    is_external: bool = True
    groups: list[str] = []


class Group(msgspec.Struct, kw_only=True):
    """A group that events and profiles can belong to, such as a company or a workspace."""

    id: str
    type: str
    name: str
    properties: dict[str, str] = {}
    created_at: int = 0
    updated_at: int = 0


class EventRecord(msgspec.Struct, kw_only=True):
    """A note about an event name, made by a user of the dashboard; shown as ``meta``."""

    id: str
    name: str
    conversion: bool = False
    color: str = ""
    icon: str = ""
    description: str = ""
    created_at: int = 0


def camel(name: str) -> str:
    """``profile_id`` -> ``profileId``."""
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


PLACE = ("country", "city", "region", "longitude", "latitude")
SYSTEM = ("os", "os_version", "browser", "browser_version", "device", "brand", "model")
REFERRER = ("referrer", "referrer_name", "referrer_type")
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
COLUMNS = tuple(name for name in Event.__struct_fields__ if name not in ("at", "created_at"))
_SNAKE = {camel(name): name for name in COLUMNS} | {"importedAt": "imported_at"}
_MOMENT = ("at", "created_at", "createdAt")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Properties as the event store keeps them: dotted keys, all values text, no nulls."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, str):
            found[prefix + key] = value
        elif isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{key}."))
        elif isinstance(value, (list, tuple)):
            found.update(flat({str(place): item for place, item in enumerate(value)}, f"{prefix}{key}."))
        elif isinstance(value, bool):
            found[prefix + key] = "true" if value else "false"
        elif value is not None:
            found[prefix + key] = _js_text(value)
    return found


def _js_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def newest_first(event: Event) -> tuple[int, int]:
    """The order of the export: ``created_at DESC``, ties by id as the event store orders UUIDs."""
    return (-event.at, uuid_order(event.id))


def newest_first_by_text(event: Event) -> tuple[int, str]:
    """The same order for ids that are not UUIDs."""
    return (-event.at, event.id)


def event_id(name: str) -> str:
    """The UUID of an event that was added as ``name``; a UUID is only turned to lower case."""
    lower = name.lower()
    return lower if _UUID.fullmatch(lower) else str(uuid.uuid5(_NAMES, name))


def uuid_order(text: str) -> int:
    """The sort key of a UUID in the event store, which compares the second half first."""
    number = int(text.replace("-", ""), 16)
    return (number & 0xFFFF_FFFF_FFFF_FFFF) << 64 | number >> 64


class Events:
    """The events of one project by UTC day. A day is sorted when it is read.

    Attributes:
        version: grows with every change, so that a cache of something derived knows when it is stale.
    """

    def __init__(self, order: Callable[[Event], Any]) -> None:
        self._order = order
        self._days: dict[int, list[Event]] = {}
        self._known: list[int] = []
        self._dirty: set[int] = set()
        self.version = 0

    def add(self, event: Event) -> None:
        """Store a row."""
        day = event.at // DAY_MS
        rows = self._days.get(day)
        if rows is None:
            rows = self._days[day] = []
            insort(self._known, day)
        rows.append(event)
        self._dirty.add(day)
        self.version += 1

    def remove(self, unwanted: Callable[[Event], bool]) -> int:
        """Delete rows, as the deletion of a project or a person would; returns their number."""
        before = len(self)
        self.version += 1
        for day, rows in self._days.items():
            self._days[day] = [row for row in rows if not unwanted(row)]
        return before - len(self)

    def day(self, day: date) -> list[Event]:
        """The rows of a UTC day, newest first."""
        return list(self._sorted((day - date(1970, 1, 1)).days))

    def parts(self, since: int | None, before: int | None) -> Iterator[list[Event]]:
        """The rows with ``since <= at < before``, newest first, in lists of at most one day each."""
        for day in reversed(self._known):
            if since is not None and (day + 1) * DAY_MS <= since:
                return
            if before is not None and day * DAY_MS >= before:
                continue
            rows = self._sorted(day)
            low = 0 if before is None else bisect_right(rows, -before, key=lambda row: -row.at)
            high = len(rows) if since is None else bisect_right(rows, -since, key=lambda row: -row.at)
            yield rows if (low, high) == (0, len(rows)) else rows[low:high]

    def __iter__(self) -> Iterator[Event]:
        return itertools.chain.from_iterable(self.parts(None, None))

    def __len__(self) -> int:
        return sum(map(len, self._days.values()))

    def _sorted(self, day: int) -> list[Event]:
        rows = self._days.get(day, [])
        if day in self._dirty:
            rows.sort(key=self._order)
            self._dirty.discard(day)
        return rows


@dataclass
class Organisation:
    """The owner of projects. Its timezone is for charts and reports, never for the event export."""

    id: str
    timezone: str = "UTC"


@dataclass
class Project:
    """One project and everything in it."""

    id: str
    organisation: Organisation
    events: Events
    as_uuids: bool = True
    cors: list[str] = field(default_factory=list)
    allow_unsafe_revenue: bool = False
    profiles: dict[str, Profile] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    records: dict[str, EventRecord] = field(default_factory=dict)

    def store(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Store rows given as mappings with camelCase or snake_case names; returns their number."""
        stored = 0
        for row in rows:
            self.events.add(self.event(row))
            stored += 1
        return stored

    def event(self, row: Mapping[str, Any]) -> Event:
        """A row as it is stored: ids become UUIDs, properties flat text, an empty country two NULs."""
        fields: dict[str, Any] = {}
        moment: Any = None
        for key, value in row.items():
            if key in _MOMENT:
                moment = value
            elif value is not None or key in ("longitude", "latitude"):
                fields[_SNAKE.get(key, key)] = value
        if moment is None:
            raise ValueError("an event needs a moment: at, created_at or createdAt")
        at = as_ms(moment)
        if self.as_uuids:
            fields["id"] = event_id(fields["id"])
        fields["project_id"] = self.id
        if "properties" in fields and self.as_uuids:
            fields["properties"] = flat(fields["properties"])
        if not fields.get("country", NO_COUNTRY):
            fields["country"] = NO_COUNTRY
        if fields.get("imported_at") is not None:
            fields["imported_at"] = as_ms(fields["imported_at"])
        return Event(at=at, created_at=iso(at), **fields)

    def day(self, day: date | str) -> list[Event]:
        """The rows of a UTC day, newest first."""
        return self.events.day(date.fromisoformat(day) if isinstance(day, str) else day)

    def devices(self, profile_id: str) -> set[str]:
        """Every device a profile ever used."""
        return {row.device_id for row in self.events if row.profile_id == profile_id and row.device_id}
