"""Sessions, derived from the stored events. The vendor keeps them in a table of its own, and most reports count them.

A session is all rows with the same non-empty ``session_id``. Its ``session_start`` and ``session_end`` rows count only
if it has no other rows, so a project without such rows has the same sessions. Like the table of the vendor's worker:

* a session begins at its first event and ends at its last; its day is the local day of its beginning;
* path and origin of *entry* and *exit* are the first and the last that are not empty;
* place, device, referrer and campaign are those of the first event;
* the person is the last identified one, or else the profile of the first event; groups are those of all events;
* pageviews are its ``screen_view`` rows, after the first event only those with a path; all other rows count as events;
* revenue is the sum of all its rows, a bounce has at most one pageview;
* the duration is last minus first event in milliseconds, and averages leave out sessions without a duration;
* a row stored twice with one id counts once here, but twice in charts and pages, which read the event table.

A session that the vendor rebuilt from an import has ``session_start`` and ``session_end`` rows of the SDK
``import-session-reconstruction``, one second before the first and one second after the last event. It is dated by
them. Its paths and origins are those of the first and the last event, also empty ones, its person is the first
identified one, and every ``screen_view`` is a pageview.

Rows without a session id (server-side, back-dated, imported without one) are in no session and so in none of these
numbers. The real table has several versions of a session that is still growing; here there is one, to which
`insights_lists` adds an older version on demand.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any

import msgspec

from connector.sandbox.openpanel.periods import Period
from connector.sandbox.openpanel.store import Event, Project, flat
from connector.sandbox.openpanel.timestamps import iso

MARKS = ("session_start", "session_end")
IMPORT_SDK = "import-session-reconstruction"


class Session(msgspec.Struct, kw_only=True, gc=False):
    """One session. ``entry`` is its first event, with the entry page, person, groups and revenue of the session."""

    id: str
    entry: Event
    start: int
    end: int
    duration: int  # milliseconds
    views: int
    others: int
    revenue: int
    profile_id: str
    exit_path: str
    exit_origin: str
    groups: list[str]

    @property
    def is_bounce(self) -> bool:
        """Whether the session has at most one pageview."""
        return self.views <= 1

    def as_dict(self) -> dict[str, Any]:
        """What a test compares a report with."""
        found = {"id": self.id, "created_at": iso(self.start), "ended_at": iso(self.end), "duration": self.duration}
        entry = {"entry_path": self.entry.path, "entry_origin": self.entry.origin, "country": self.entry.country}
        return {
            **found,
            **entry,
            "exit_path": self.exit_path,
            "exit_origin": self.exit_origin,
            "profile_id": self.profile_id,
            "groups": self.groups,
            "is_bounce": self.is_bounce,
            "screen_view_count": self.views,
            "event_count": self.others,
            "revenue": self.revenue,
        }


class Sessions:
    """All sessions of a project, in the order of their beginnings."""

    def __init__(self, project: Project) -> None:
        self.version = project.events.version
        rows: dict[str, list[Event]] = {}
        before = ("", 0)
        for event in project.events:  # newest first, so rows stored twice are adjacent
            if event.session_id and (event.id, event.at) != before:
                rows.setdefault(event.session_id, []).append(event)
            before = (event.id, event.at)
        self.all = sorted((_session(events, project) for events in rows.values()), key=lambda found: found.start)
        self._starts = [found.start for found in self.all]

    def within(self, period: Period) -> list[Session]:
        """The sessions that began in a period."""
        return self.all[bisect_left(self._starts, period.since) : bisect_right(self._starts, period.until)]


def _session(newest_first: list[Event], project: Project) -> Session:
    rows = newest_first[::-1]
    seen = [event for event in rows if event.name not in MARKS] or rows
    first, last = seen[0], seen[-1]
    imported = any(event.sdk_name == IMPORT_SDK for event in rows)
    kept = _imported(rows, seen) if imported else _grown(seen)
    groups = list(dict.fromkeys(group for event in seen for group in event.groups))
    revenue = sum(event.revenue for event in seen)
    entry = msgspec.structs.replace(
        first,
        path=kept.entry_path,
        origin=kept.entry_origin,
        profile_id=kept.profile_id,
        groups=groups,
        revenue=revenue,
    )
    if not project.as_uuids:  # the documented properties are nested
        entry.properties = flat(entry.properties)
    return Session(
        id=first.session_id,
        entry=entry,
        start=rows[0].at if imported else first.at,
        end=rows[-1].at if imported else last.at,
        duration=last.at - first.at,
        views=kept.views,
        others=sum(event.name not in MARKS for event in seen) - kept.views,
        revenue=revenue,
        profile_id=kept.profile_id,
        exit_path=kept.exit_path,
        exit_origin=kept.exit_origin,
        groups=groups,
    )


@dataclass
class _Kept:
    """What the worker keeps of a session while its events arrive."""

    profile_id: str
    entry_path: str
    entry_origin: str
    exit_path: str
    exit_origin: str
    views: int


def _grown(seen: list[Event]) -> _Kept:
    """A session that grew event by event; the events are in order of time."""
    first, *others = seen
    kept = _Kept(first.profile_id, first.path, first.origin, first.path, first.origin, int(first.name == "screen_view"))
    for event in others:
        kept.entry_path = kept.entry_path or event.path
        kept.entry_origin = kept.entry_origin or event.origin
        kept.exit_path = event.path or kept.exit_path
        kept.exit_origin = event.origin or kept.exit_origin
        kept.views += event.name == "screen_view" and event.path != ""
        if _identified(event):
            kept.profile_id = event.profile_id
    return kept


def _imported(rows: list[Event], seen: list[Event]) -> _Kept:
    """A session that was summed up after an import; both lists are in order of time."""
    first, last = seen[0], seen[-1]
    profile_id = next((event.profile_id for event in rows if _identified(event)), first.profile_id)
    views = sum(event.name == "screen_view" for event in seen)
    return _Kept(profile_id, first.path, first.origin, last.path, last.origin, views)


def _identified(event: Event) -> bool:
    return event.profile_id not in ("", event.device_id)


class SessionCache:
    """The sessions of every project, computed again when its events have changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Project, Sessions]] = {}

    def of(self, project: Project) -> Sessions:
        """The sessions of a project as its events are now."""
        project_then, found = self._known.get(project.id, (None, None))
        if found is None or project_then is not project or found.version != project.events.version:
            found = Sessions(project)
            self._known[project.id] = (project, found)
        return found
