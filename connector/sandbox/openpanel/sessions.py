"""Sessions, derived from the stored events. The vendor keeps them in a table of its own, and most reports count them.

A session is all rows with the same non-empty ``session_id``. Its ``session_start`` and ``session_end`` rows count only
if it has no other rows, so a project without such rows has the same sessions. Like the table of the vendor's worker:

* a session begins at its first event and ends at its last; its day is the local day of the first event;
* page, place, device, referrer and campaign are those of the first event (*entry*), and the person is the first
  identified one, or else the device;
* pageviews are its ``screen_view`` rows, revenue is the sum of all its rows, a bounce has at most one pageview;
* the duration is last minus first event in milliseconds, and averages leave out sessions without a duration;
* a row stored twice with one id counts once here, but twice in charts and pages, which read the event table.

Rows without a session id (server-side, back-dated, imported without one) are in no session and so in none of these
numbers. The real table has several versions of a session that is still growing; here there is always one.
"""

from bisect import bisect_left, bisect_right
from typing import Any

import msgspec

from connector.sandbox.openpanel.periods import Period
from connector.sandbox.openpanel.store import Event, Project, flat
from connector.sandbox.openpanel.timestamps import iso

MARKS = ("session_start", "session_end")


class Session(msgspec.Struct, kw_only=True, gc=False):
    """One session. ``entry`` is its first event, with the revenue of the whole session."""

    id: str
    entry: Event
    start: int
    end: int
    views: int
    others: int
    revenue: int
    profile_id: str
    exit_path: str
    exit_origin: str
    groups: list[str]

    @property
    def duration(self) -> int:
        """Milliseconds."""
        return self.end - self.start

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
            "profile_id": self.profile_id,
            "is_bounce": self.is_bounce,
            "screen_view_count": self.views,
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


def _session(events: list[Event], project: Project) -> Session:
    seen = [event for event in events if event.name not in MARKS] or events
    first, last = seen[-1], seen[0]
    views = sum(event.name == "screen_view" for event in seen)
    revenue = sum(event.revenue for event in seen)
    known = (event.profile_id for event in reversed(seen) if event.profile_id not in ("", event.device_id))
    profile_id = next(known, first.profile_id)
    entry = msgspec.structs.replace(first, revenue=revenue, profile_id=profile_id)
    if not project.as_uuids:  # the documented properties are nested
        entry.properties = flat(entry.properties)
    return Session(
        id=first.session_id,
        entry=entry,
        start=first.at,
        end=last.at,
        views=views,
        others=sum(event.name not in ("screen_view", *MARKS) for event in seen),
        revenue=revenue,
        profile_id=profile_id,
        exit_path=last.path,
        exit_origin=last.origin,
        groups=first.groups,
    )


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
