"""Rows of the newer Insights lists: columns as the event store names them, moments as UTC text with a blank.

Groups and their members are the exception, written as the dashboard reads them. Which rows are listed is decided in
`lookups`.
"""

from datetime import UTC, datetime
from typing import Any

from connector.sandbox.openpanel.insights_sums import Row
from connector.sandbox.openpanel.sessions import Session
from connector.sandbox.openpanel.store import Event, Group, Profile, Project, flat
from connector.sandbox.openpanel.timestamps import iso

_EVENT_COLUMNS = [
    "id",
    "name",
    "sdk_name",
    "sdk_version",
    "device_id",
    "profile_id",
    "project_id",
    "session_id",
    "groups",
    "path",
    "origin",
    "referrer",
    "referrer_name",
    "referrer_type",
    "revenue",
    "duration",
    "properties",
    "created_at",
    "country",
    "city",
    "region",
    "longitude",
    "latitude",
    "os",
    "os_version",
    "browser",
    "browser_version",
    "device",
    "brand",
    "model",
    "imported_at",
]
_PLACE = [
    "country",
    "region",
    "city",
    "longitude",
    "latitude",
    "device",
    "brand",
    "model",
    "browser",
    "browser_version",
    "os",
    "os_version",
]
_CAMPAIGN = ["utm_medium", "utm_source", "utm_campaign", "utm_content", "utm_term"]


def _blank(at: int) -> str:
    """``2026-11-13 10:00:00.123``, UTC."""
    return iso(at).replace("T", " ").removesuffix("Z")


def event_row(event: Event) -> Row:
    """One stored event, every column."""
    row: dict[str, Any] = {name: getattr(event, name) for name in _EVENT_COLUMNS}
    row["created_at"] = _blank(event.at)
    if event.imported_at is not None:
        row["imported_at"] = f"{datetime.fromtimestamp(event.imported_at // 1000, UTC):%Y-%m-%d %H:%M:%S}"
    return row


def session_row(session: Session) -> Row:
    """One visit; the real table may hold several versions of it."""
    entry = session.entry
    return {
        "id": session.id,
        "project_id": entry.project_id,
        "profile_id": session.profile_id,
        "device_id": entry.device_id,
        "groups": session.groups,
        "created_at": _blank(session.start),
        "ended_at": _blank(session.end),
        "is_bounce": session.is_bounce,
        "entry_origin": entry.origin,
        "entry_path": entry.path,
        "exit_origin": session.exit_origin,
        "exit_path": session.exit_path,
        "screen_view_count": session.views,
        "revenue": session.revenue,
        "event_count": session.others,
        "duration": session.duration,
        **{name: getattr(entry, name) for name in _PLACE},
        **{name: entry.properties.get(f"__query.{name}", "") for name in _CAMPAIGN},
        "referrer": entry.referrer,
        "referrer_name": entry.referrer_name,
        "referrer_type": entry.referrer_type,
        "sign": 1,
        "version": 2,
    }


def profile_row(project: Project, profile: Profile) -> Row:
    """A person, properties flat."""
    return {
        "id": profile.id,
        "first_name": profile.first_name,
        "last_name": profile.last_name,
        "email": profile.email,
        "avatar": profile.avatar,
        "properties": flat(profile.properties),
        "project_id": project.id,
        "is_external": profile.is_external,
        "created_at": _blank(profile.created_at),
        "last_seen_at": _blank(profile.last_seen_at),
        "groups": profile.groups,
    }


def member_row(project: Project, profile: Profile) -> Row:
    """A person as a member of a group, properties nested."""
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
