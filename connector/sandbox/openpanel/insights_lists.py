"""The Insights lists that a warehouse wants: entry and exit pages, sessions, profiles, groups.

No list has pages: sessions, profiles and groups show 100 rows at most, pages 1000, and nothing says that there are
more. Sessions have no order, and their dates are instants; profiles and groups are listed by their creation. The
published server has these routes without documenting them; in the dialect of the documentation they are the same, with
its words for refusals.
"""

from collections.abc import Callable, Iterable

from connector.sandbox.messages import Answer, Request
from connector.sandbox.openpanel.answers import ServerWording, as_json
from connector.sandbox.openpanel.event_query import Filter
from connector.sandbox.openpanel.insights_rows import blank, group_row, profile_row, session_row
from connector.sandbox.openpanel.insights_sums import MOST_ROWS, Row
from connector.sandbox.openpanel.periods import newer_period
from connector.sandbox.openpanel.report_query import Given
from connector.sandbox.openpanel.sessions import Session
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import Profile, Project

Ask = Callable[[Request], Project]
UNDOCUMENTED = ("pages/entry_exit", "sessions", "profiles", "groups", "groups/types")
MOST_LISTED = 100
ASKED = {
    "path": "path",
    "country": "country",
    "city": "city",
    "device": "device",
    "browser": "browser",
    "os": "os",
    "referrer": "referrer",
    "referrerName": "referrer_name",
    "referrerType": "referrer_type",
    "profileId": "profile_id",
}
_COLUMNS = ("id", "first_name", "last_name", "email", "avatar")
_COMPARED: dict[str, Callable[[bytes, bytes], bool]] = {
    "is": lambda stored, value: stored == value,
    "isNot": lambda stored, value: stored != value,
    "gt": lambda stored, value: stored > value,
    "gte": lambda stored, value: stored >= value,
    "lt": lambda stored, value: stored < value,
    "lte": lambda stored, value: stored <= value,
}


class InsightsLists:
    """The lists of one server."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._seen: dict[str, tuple[Project, int, list[Profile]]] = {}

    def routes(self) -> dict[str, Callable[[Request, Ask], Answer]]:
        """The handlers by route. Each validates the query, then ``ask`` checks credentials and project."""
        handlers = (self._entry_exit, self._sessions, self._profiles, self._groups, self._types)
        return dict(zip(UNDOCUMENTED, handlers, strict=True))

    def sessions(self, project: Project, given: Given, *, utc: bool = True) -> list[Session]:
        """The sessions that began in the period of a query, both ends included."""
        zone = "UTC" if utc else project.organisation.timezone
        range_ = None if utc else given.range_or_none()
        period = newer_period(given.text("startDate"), given.text("endDate"), range_, self.state.now(), zone)
        return self.state.sessions_of(project).within(period)

    def _entry_exit(self, request: Request, ask: Ask) -> Answer:
        """The first or the last page of sessions, most sessions first; sessions without a path have an empty one."""
        given = dated(request, self.state.wording)
        mode = given.choice("mode", ["entry", "exit"], "entry")
        given.done()
        pages: dict[tuple[str, str], list[Session]] = {}
        for session in self.sessions(ask(request), given, utc=False):
            entry = session.entry.origin, session.entry.path
            pages.setdefault(entry if mode == "entry" else (session.exit_origin, session.exit_path), []).append(session)
        rows: list[Row] = [
            {
                "origin": origin,
                "path": path,
                "sessions": len(found),
                "pageviews": sum(session.views for session in found),
                "revenue": sum(session.revenue for session in found),
            }
            for (origin, path), found in pages.items()
        ]
        rows.sort(key=lambda row: -int(row["sessions"]))
        return as_json(rows[:MOST_ROWS])

    def _sessions(self, request: Request, ask: Ask) -> Answer:
        given = dated(request, self.state.wording)
        wanted = {column: text for name, column in ASKED.items() if (text := given.text(name)) is not None}
        limit = given.whole("limit", 20, 1, MOST_LISTED)
        given.done()
        found = [
            session
            for session in self.sessions(ask(request), given)
            if all(getattr(session.entry, column) == text for column, text in wanted.items())
        ]
        rows = [row for session in found for row in self._versions(session)]
        return as_json(rows[:limit])

    def _versions(self, session: Session) -> Iterable[Row]:
        """The rows of a session: while the store has not merged, also the one from its first event."""
        row = session_row(session)
        if self.state.unmerged and session.duration:
            first = {"ended_at": row["created_at"], "duration": 0, "is_bounce": True, "version": 1}
            yield row | first | {"screen_view_count": min(session.views, 1), "event_count": 0}
        yield row

    def _profiles(self, request: Request, ask: Ask) -> Answer:
        """Known people and all that events name."""
        given = Given(request.params, self.state.wording)
        name, email = given.text("name"), given.text("email")
        order = given.choice("sortOrder", ["asc", "desc"], "desc")
        limit = given.whole("limit", 20, 1, MOST_LISTED)
        filters = given.filters()
        given.done()
        project = ask(request)
        found = [
            profile
            for profile in (*project.profiles.values(), *self._seen_only(project))
            if (not name or name.lower() in f"{profile.first_name} {profile.last_name}".lower())
            and (not email or email.lower() in profile.email.lower())
            and (not self.state.list_filters or all(_passes(profile, one) for one in filters))
        ]
        found.sort(key=lambda profile: profile.created_at, reverse=order == "desc")
        rows = [row for profile in found[:limit] for row in self._written(project, profile)]
        return as_json(rows[:limit])

    def _written(self, project: Project, profile: Profile) -> Iterable[Row]:
        """The rows of a profile: while the store has not merged, also an older one."""
        row = profile_row(project, profile)
        if self.state.unmerged:
            yield row | {"properties": {}, "last_seen_at": blank(profile.last_seen_at - 1000)}
        yield row

    def _seen_only(self, project: Project) -> list[Profile]:
        """A profile for each unidentified person that events name: anonymous where it is the device's id."""
        before, version, found = self._seen.get(project.id, (None, -1, []))
        if before is not project or version != project.events.version:
            made: dict[str, Profile] = {}
            for event in project.events:  # newest first
                if event.profile_id:
                    one = made.setdefault(event.profile_id, Profile(id=event.profile_id, last_seen_at=event.at))
                    one.created_at = event.at
                    one.is_external = event.profile_id != event.device_id
            found = list(made.values())
            self._seen[project.id] = (project, project.events.version, found)
        return [profile for profile in found if profile.id not in project.profiles]

    def _groups(self, request: Request, ask: Ask) -> Answer:
        given = Given(request.params, self.state.wording)
        kind, search = given.text("type"), (given.text("search") or "").lower()
        limit = given.whole("limit", 20, 1, MOST_LISTED)
        given.done()
        project = ask(request)
        found = [
            group
            for group in project.groups.values()
            if (not kind or group.type == kind) and (search in group.id.lower() or search in group.name.lower())
        ]
        found.sort(key=lambda group: group.created_at, reverse=True)
        return as_json([group_row(project, group) for group in found[:limit]])

    def _types(self, request: Request, ask: Ask) -> Answer:
        return as_json({"types": list(dict.fromkeys(group.type for group in ask(request).groups.values()))})


def dated(request: Request, wording: ServerWording) -> Given:
    """The query of a route with dates, which only have to be text."""
    given = Given(request.params, wording)
    given.text("startDate")
    given.text("endDate")
    given.range_or_none()
    return given


def _passes(profile: Profile, one: Filter) -> bool:
    """Whether a profile passes a filter on a column of its own; any other filter is ignored."""
    column, compare = one.name.removeprefix("profile."), _COMPARED.get(one.operator)
    if column not in _COLUMNS or column == one.name or compare is None or not one.value:
        return True
    stored = str(getattr(profile, column)).encode()
    found = [compare(stored, str(value).strip().encode()) for value in one.value]
    return all(found) if one.operator == "isNot" else any(found)
