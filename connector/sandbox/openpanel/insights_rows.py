"""Rows of the newer Insights lists: columns with the event store's names, times as UTC text with a space.

Groups and their members are different: they are written in camelCase, as the dashboard reads them. `newer_insights`
decides which rows are listed.
"""

from datetime import UTC, datetime
from typing import Any

from connector.sandbox.openpanel.insights_sums import Row
from connector.sandbox.openpanel.sessions import Session
from connector.sandbox.openpanel.store import PLACE, REFERRER, SYSTEM, Event, Group, Profile, Project, flat
from connector.sandbox.openpanel.timestamps import iso

_EVENT_COLUMNS = (
    *("id", "name", "sdk_name", "sdk_version", "device_id", "profile_id", "project_id", "session_id", "groups"),
    *("path", "origin", *REFERRER, "revenue", "duration", "properties", "created_at", *PLACE, *SYSTEM, "imported_at"),
)
_SESSION_PLACE = ("country", "region", "city", "longitude", "latitude")
_SESSION_SYSTEM = ("device", "brand", "model", "browser", "browser_version", "os", "os_version")
_SESSION_UTM = ("utm_medium", "utm_source", "utm_campaign", "utm_content", "utm_term")


def blank(at: int) -> str:
    """``2026-11-13 10:00:00.123``, UTC."""
    return iso(at).replace("T", " ").removesuffix("Z")


def event_row(event: Event) -> Row:
    """One stored event with every column."""
    row: dict[str, Any] = {name: getattr(event, name) for name in _EVENT_COLUMNS}
    row["created_at"] = blank(event.at)
    if event.imported_at is not None:
        row["imported_at"] = f"{datetime.fromtimestamp(event.imported_at // 1000, UTC):%Y-%m-%d %H:%M:%S}"
    return row


def session_row(session: Session) -> Row:
    """One session in its newest version."""
    entry = session.entry
    return {
        "id": session.id,
        "project_id": entry.project_id,
        "profile_id": session.profile_id,
        "device_id": entry.device_id,
        "groups": session.groups,
        "created_at": blank(session.start),
        "ended_at": blank(session.end),
        "is_bounce": session.is_bounce,
        "entry_origin": entry.origin,
        "entry_path": entry.path,
        "exit_origin": session.exit_origin,
        "exit_path": session.exit_path,
        "screen_view_count": session.views,
        "revenue": session.revenue,
        "event_count": session.others,
        "duration": session.duration,
        **{name: getattr(entry, name) for name in (*_SESSION_PLACE, *_SESSION_SYSTEM)},
        **{name: entry.properties.get(f"__query.{name}", "") for name in _SESSION_UTM},
        **{name: getattr(entry, name) for name in REFERRER},
        "sign": 1,
        "version": 2,
    }


def profile_row(project: Project, profile: Profile) -> Row:
    """A person, with flat properties."""
    return {
        "id": profile.id,
        "first_name": profile.first_name,
        "last_name": profile.last_name,
        "email": profile.email,
        "avatar": profile.avatar,
        "properties": flat(profile.properties),
        "project_id": project.id,
        "is_external": profile.is_external,
        "created_at": blank(profile.created_at),
        "last_seen_at": blank(profile.last_seen_at),
        "groups": profile.groups,
    }


def group_row(project: Project, group: Group) -> Row:
    """A group."""
    return {
        "id": group.id,
        "projectId": project.id,
        "type": group.type,
        "name": group.name,
        "properties": group.properties,
        "createdAt": iso(group.created_at),
        "updatedAt": iso(group.updated_at),
    }
