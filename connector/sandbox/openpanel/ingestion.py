"""From an accepted Track payload to stored rows: properties, times, sessions.

A session ends half an hour after its last event. A job that runs every five minutes notices that and inserts a
``session_end`` row, whose time is one second after that last event, so it lies in the past.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from connector.sandbox.openpanel.store import PLACE, SYSTEM, Event, Project, flat
from connector.sandbox.openpanel.timestamps import as_ms, iso, js_date

IDLE_MS = 30 * 60_000
REAPER_MS = 5 * 60_000
PAST_MS = 15 * 60_000
FUTURE_MS = 60_000
COLUMNS_NOT_PROPERTIES = ("__path", "__referrer", "__timestamp", "__revenue")
_BORROWED = ("device_id", "session_id", *SYSTEM, *PLACE)


def ingested(values: Mapping[str, Any]) -> dict[str, str]:
    """Properties after ingestion: flat and trimmed, JSON text decoded, empty and unfinished JSON text dropped."""
    found: dict[str, str] = {}
    for key, text in flat({key: _opened(value) for key, value in values.items()}).items():
        trimmed = text.strip()
        if trimmed:
            found[key] = trimmed
    return found


def _opened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text[:1] not in ("{", "["):
        return value
    if text[-1:] != {"{": "}", "[": "]"}[text[0]]:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return value


def event_time(properties: Mapping[str, Any], now: int) -> tuple[int, bool]:
    """The time an event is stored with, and whether it counts as a past event."""
    asked = properties.get("__timestamp")
    moment = js_date(asked) if isinstance(asked, str) else as_ms(asked) if isinstance(asked, int) else None
    if moment is None or moment > now + FUTURE_MS:
        return now, False
    return moment, now - moment > PAST_MS


@dataclass
class LiveSession:
    """A session in progress."""

    id: str
    device_id: str
    first: Event
    last: Event
    page: Event
    screen_views: int = 0
    profile_id: str = ""
    over: bool = False


class LiveSessions:
    """The sessions in progress on one server, by device."""

    def __init__(
        self,
        new_id: Callable[[], str],
        later: Callable[[int, Callable[[], object]], None],
        keep: Callable[[Project, Event], None],
    ) -> None:
        self._new_id = new_id
        self._later = later
        self._keep = keep
        self._live: dict[tuple[str, str], LiveSession] = {}

    def live(self, project: str, device_id: str) -> LiveSession | None:
        """The session in progress on a device."""
        return self._live.get((project, device_id))

    def of_profile(self, project: str, profile_id: str) -> LiveSession | None:
        """The session in progress of a known person."""
        for (owner, _), session in self._live.items():
            if owner == project and session.profile_id == profile_id:
                return session
        return None

    def keep_visit(self, project: Project, event: Event, session_id: str) -> None:
        """Store an event from a browser. The first event of a session also stores its ``session_start``."""
        key = (project.id, event.device_id)
        session = self._live.get(key)
        if session is not None and event.at - session.last.at > IDLE_MS:
            self._end(project, session)
            session = None
        if session is None:
            event.session_id = session_id
            session = self._live[key] = LiveSession(session_id, event.device_id, event, event, event)
            start = msgspec.structs.replace(event, name="session_start", id=self._new_id(), revenue=0)
            self._keep(project, moved(start, event.at - 100))
            self._watch(project, session, _reaped(event.at))
        event.session_id = session.id
        session.last = max(session.last, event, key=lambda row: row.at)
        if event.path:
            session.page = event
        session.screen_views += event.name == "screen_view" and (event.path != "" or event is session.first)
        if event.profile_id != event.device_id:
            session.profile_id = event.profile_id
        self._keep(project, event)

    def keep_server(self, project: Project, event: Event) -> None:
        """Store an event from a server, with session, device, place and page of its person's live session."""
        session = self.of_profile(project.id, event.profile_id) if event.profile_id else None
        if session is not None:
            for column in _BORROWED:
                setattr(event, column, getattr(session.last, column))
            event.path, event.origin = session.page.path, session.page.origin
        self._keep(project, event)

    def _watch(self, project: Project, session: LiveSession, due: int) -> None:
        self._later(due, lambda: self._reap(project, session, due))

    def _reap(self, project: Project, session: LiveSession, due: int) -> None:
        if session.over:
            return
        again = _reaped(session.last.at)
        if again > due:
            self._watch(project, session, again)
        else:
            self._end(project, session)

    def _end(self, project: Project, session: LiveSession) -> None:
        session.over = True
        self._live.pop((project.id, session.device_id), None)
        bounce = "false" if session.screen_views > 1 else "true"
        end = msgspec.structs.replace(
            session.last, id=self._new_id(), name="session_end", properties={"__bounce": bounce}, revenue=0
        )
        self._keep(project, moved(end, session.last.at + 1000))


def moved(event: Event, at: int) -> Event:
    """Change the time of an event; returns the event."""
    event.at, event.created_at = at, iso(at)
    return event


def _reaped(last: int) -> int:
    """The time of the first run of the job that finds a session idle."""
    return -(-(last + IDLE_MS) // REAPER_MS) * REAPER_MS
