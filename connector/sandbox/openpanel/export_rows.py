"""Stored rows as the JSON of ``/export/events``, in both dialects.

A page is encoded directly from structs. There is one row type per set of ``includes``, so that a thousand rows cost a
few milliseconds.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from connector.sandbox.openpanel.place_names import COUNTRIES, REGIONS
from connector.sandbox.openpanel.store import NO_COUNTRY, PLACE, REFERRER, SYSTEM, Event, Profile, Project, camel
from connector.sandbox.openpanel.timestamps import iso

DEFAULT = frozenset(
    {"id", "name", "deviceId", "profileId", "projectId", "sessionId", "createdAt", "country", "city", "os", "browser"}
    | {"path"}
)
# The order of the keys in an answer; ``groups`` is always the last one.
ORDER = (
    *("id", "name", "device_id", "profile_id", "project_id", "session_id", "properties", "created_at"),
    *(*PLACE, *SYSTEM, "path", "origin", *REFERRER),
    *("imported_at", "meta", "sdk_name", "sdk_version", "profile", "revenue", "groups"),
)
OPTIONAL = frozenset(camel(name) for name in ORDER) - DEFAULT

_COMPUTED = ("imported_at", "meta", "profile", "groups")
_BEHIND = {"meta": "name", "profile": "profile_id"}  # looked up by this column of the event

Rows = Callable[[Sequence[Event]], bytes]


@lru_cache(maxsize=256)
def _shape(includes: frozenset[str]) -> tuple[type[msgspec.Struct], Callable[[Event], tuple[Any, ...]], dict[str, int]]:
    """For one set of includes: row type, getter of the columns, and positions of the computed columns."""
    shown = [name for name in ORDER if camel(name) in DEFAULT | includes or name == "groups"]
    row_type = msgspec.defstruct("Row", [(name, Any, msgspec.field(name=camel(name))) for name in shown], gc=False)
    columns = attrgetter(*[_BEHIND.get(name, name) for name in shown])
    return (row_type, columns, {name: at for at, name in enumerate(shown) if name in _COMPUTED})


def server_rows(project: Project, includes: frozenset[str], now: int) -> Rows:
    """An encoder for rows as the published server writes them."""
    row_type, columns, places = _shape(includes & OPTIONAL)
    profiles: dict[str, dict[str, Any]] = {}
    records = {name: _record(project, name) for name in project.records}
    stub_time = iso(now)

    def profile(event: Event) -> dict[str, Any]:
        known = profiles.get(event.profile_id)
        if known is None:
            known = profiles[event.profile_id] = _profile(project, event.profile_id, stub_time)
        return known

    makers: dict[str, Callable[[Event], Any]] = {
        "imported_at": lambda event: msgspec.UNSET if event.imported_at is None else iso(event.imported_at),
        "meta": lambda event: records.get(event.name, msgspec.UNSET),
        "profile": profile,
        "groups": attrgetter("groups") if "groups" in includes else lambda _: [],
    }
    computed = [(at, makers[name]) for name, at in places.items()]

    def row(event: Event) -> msgspec.Struct:
        values = list(columns(event))
        for at, make in computed:
            values[at] = make(event)
        return row_type(*values)

    return lambda events: msgspec.json.encode([row(event) for event in events])


def _profile(project: Project, profile_id: str, stub_time: str) -> dict[str, Any]:
    known = project.profiles.get(profile_id)
    if known is not None:
        return profile_json(project, known)
    return {
        "id": profile_id,
        **dict.fromkeys(("email", "avatar", "firstName", "lastName"), ""),
        "createdAt": stub_time,
        "lastSeenAt": stub_time,
        "projectId": project.id,
        "isExternal": False,
        "properties": {},
        "groups": [],
    }


def profile_json(project: Project, profile: Profile) -> dict[str, Any]:
    """A known person in camelCase, with nested properties."""
    return {
        "firstName": profile.first_name,
        "lastName": profile.last_name,
        "isExternal": profile.is_external,
        "properties": profile.properties,
        "createdAt": iso(profile.created_at),
        "lastSeenAt": iso(profile.last_seen_at),
        "projectId": project.id,
        "id": profile.id,
        "email": profile.email,
        "avatar": profile.avatar,
        "groups": profile.groups,
    }


def _record(project: Project, name: str) -> dict[str, Any]:
    record = project.records[name]
    return {
        "id": record.id,
        "name": record.name,
        "conversion": record.conversion,
        "color": record.color,
        "icon": record.icon,
        "projectId": project.id,
        "createdAt": iso(record.created_at),
        "updatedAt": iso(record.created_at),
    }


def page_rows(project: Project, includes: frozenset[str]) -> Rows:
    """An encoder for rows as the documentation shows them."""

    def encode(events: Sequence[Event]) -> bytes:
        return msgspec.json.encode([_documented(project, event, includes) for event in events])

    return encode


def _documented(project: Project, event: Event, includes: Iterable[str]) -> dict[str, Any]:
    country = "" if event.country == NO_COUNTRY else event.country
    row: dict[str, Any] = {
        "id": event.id,
        "name": event.name,
        "deviceId": event.device_id,
        "profileId": event.profile_id,
        "projectId": event.project_id,
        "sessionId": event.session_id,
        "properties": _documented_properties(event),
        "createdAt": event.created_at,
        "country": COUNTRIES.get(country, country),
        "city": event.city,
        "region": REGIONS.get((country, event.region), event.region),
        "os": event.os,
        "browser": event.browser,
        "device": event.device.title(),
        "duration": event.duration,
        "path": event.path,
        "origin": event.origin,
    }
    if "profile" in includes:
        known: Profile | None = project.profiles.get(event.profile_id)
        row["profile"] = known and {
            "id": known.id,
            "email": known.email,
            "firstName": known.first_name,
            "lastName": known.last_name,
            "isExternal": known.is_external,
            "createdAt": iso(known.created_at),
        }
    if "meta" in includes and event.name in project.records:
        record = project.records[event.name]
        row["meta"] = {"name": record.name, "description": record.description, "conversion": record.conversion}
    return row


def _documented_properties(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if event.path:
        found["path"] = event.path
    if event.path and event.origin:
        found["url"] = event.origin + event.path
    for key, value in event.properties.items():
        if key == "__query" and isinstance(value, dict):
            found.update(value)
        elif key.startswith("__query."):
            found[key.removeprefix("__query.")] = value
        else:
            found[key.removeprefix("__")] = value
    return found
