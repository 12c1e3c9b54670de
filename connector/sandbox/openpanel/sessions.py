"""SessionCache, derived from the stored events: what the vendor keeps in a table of its own, and most reports count.

A session is every row with the same non-empty ``session_id``. Its ``session_start`` and ``session_end`` rows say
nothing that the others do not, so they count only where there is nothing else; a world that holds no such rows has
the same sessions. Then, as the vendor's worker keeps its table:

* it begins at its first event and ends at its last one; its day is the local day of the first, whatever follows;
* page, place, device, referrer and campaign are those of the first event (*entry*), and the person is the first
  identified one, or the device;
* pageviews are its ``screen_view`` rows, revenue is the sum over all its rows, a bounce has one pageview or none;
* the duration is last minus first event in milliseconds, and an average leaves out sessions of no duration;
* a row stored twice under one id counts once here, though twice in charts and pages, which read the event table.

Rows without a session (server-side, back-dated, imported without one) are in no session, so they are missing from
every number made here. Versions of a session that is still growing are not modelled: there is always one.
"""

from bisect import bisect_left, bisect_right
from typing import Any

import msgspec

from connector.sandbox.openpanel.periods import Period
from connector.sandbox.openpanel.store import Event, Project, flat
from connector.sandbox.openpanel.timestamps import iso

MARKS = ("session_start", "session_end")


class Session(msgspec.Struct, kw_only=True, gc=False):
    """One visit. ``entry`` is its first event, with the revenue of the whole visit."""

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
        """Whether nobody looked further than one page."""
        return self.views <= 1

    def as_dict(self) -> dict[str, Any]:
        """For a test that wants to know what is behind a report."""
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
    """All the sessions of a project, in the order in which they began."""

    def __init__(self, project: Project) -> None:
        self.version = project.events.version
        rows: dict[str, list[Event]] = {}
        before = ("", 0)
        for event in project.events:  # newest first; stored twins are neighbours
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
    """The sessions of every project, kept until its events change."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Project, Sessions]] = {}

    def of(self, project: Project) -> Sessions:
        """The sessions as they are now."""
        project_then, found = self._known.get(project.id, (None, None))
        if found is None or project_then is not project or found.version != project.events.version:
            found = Sessions(project)
            self._known[project.id] = (project, found)
        return found
