"""The newer Insights routes: a few sums, stored events, one person or group; the lists are in `insights_lists`.

No route has pages, and the list of events has no order. Dates are wall time exactly as written, so a last day without a
time is left out. Retention, engagement, flows, reports and Search Console are not simulated. The filters of the lists
are plain comparisons.
"""

from collections.abc import Callable
from datetime import date, timedelta
from urllib.parse import unquote

from connector.sandbox.messages import Answer, Request
from connector.sandbox.openpanel import insights_sums
from connector.sandbox.openpanel.answers import as_json, server_error
from connector.sandbox.openpanel.export_rows import profile_json
from connector.sandbox.openpanel.insights_lists import ASKED, InsightsLists, dated
from connector.sandbox.openpanel.insights_rows import event_row, group_row, profile_row
from connector.sandbox.openpanel.insights_sums import Report
from connector.sandbox.openpanel.periods import newer_period
from connector.sandbox.openpanel.report_query import Given
from connector.sandbox.openpanel.rounding import rounded, share
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import Project
from connector.sandbox.openpanel.timestamps import day_of

Ask = Callable[[Request], Project]
Handler = Callable[[Request], Answer]
_TRAFFIC = {
    "traffic/referrers": [
        "referrer_name",
        "referrer_type",
        "referrer",
        "utm_source",
        "utm_medium",
        "utm_campaign",
    ],
    "traffic/geo": ["country", "region", "city"],
    "traffic/devices": ["device", "browser", "os"],
}
_LABELS = {1: "DAU", 7: "WAU", 30: "MAU"}


class NewerInsights:
    """The newer Insights routes of one server."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._routes: dict[str, Callable[[Request, Ask], Answer]] = {
            "overview": self._overview,
            "active_users": self._active_users,
            "pages/top": self._pages,
            "pages/performance": self._performance,
            "events": self._events,
            "events/names": self._names,
            **InsightsLists(state).routes(),
        }

    def names(self) -> list[str]:
        """The names of all the routes."""
        return [*self._routes, *_TRAFFIC, "profiles/{profileId}", "groups/{groupId}"]

    def route(self, name: str, ask: Ask) -> Handler | None:
        """The handler of a route, or None. It validates the query, then ``ask`` checks credentials and project."""
        head, _, rest = name.partition("/")
        if name in _TRAFFIC:
            return lambda request: self._traffic(request, ask, _TRAFFIC[name])
        if name in self._routes:
            return lambda request: self._routes[name](request, ask)
        if head == "profiles" and rest and "/" not in rest:
            return lambda request: self._profile(request, ask, unquote(rest))
        if head == "groups" and rest:
            return lambda request: self._group(request, ask, unquote(rest))
        return None

    # ---------- sums

    def _report(self, project: Project, given: Given, *, utc: bool = False) -> Report:
        zone = "UTC" if utc else project.organisation.timezone
        range_ = None if utc else given.range_or_none()
        period = newer_period(given.text("startDate"), given.text("endDate"), range_, self.state.now(), zone)
        return Report(project, self.state.sessions_of(project), period, [])

    def _overview(self, request: Request, ask: Ask) -> Answer:
        given = dated(request, self.state.wording)
        interval = given.choice("interval", ["hour", "day", "week", "month"], "day")
        given.done()
        report = self._report(ask(request), given)
        totals, series = insights_sums.metrics(report, interval)  # type: ignore[arg-type]
        first, last = report.period.first, report.period.last
        ends = [given.text("startDate") or f"{first:%Y-%m-%d}", given.text("endDate") or f"{last:%Y-%m-%d}"]
        echoed = {"interval": interval, "startDate": ends[0], "endDate": ends[1]}
        return as_json({"summary": totals, "series": series, **echoed})

    def _traffic(self, request: Request, ask: Ask, columns: list[str]) -> Answer:
        given = dated(request, self.state.wording)
        column = given.choice("breakdown", columns, columns[0])
        given.done()
        return as_json(insights_sums.dimension(self._report(ask(request), given).sessions, column))

    def _pages(self, request: Request, ask: Ask) -> Answer:
        given = dated(request, self.state.wording)
        given.done()
        return as_json(insights_sums.pages(self._report(ask(request), given)))

    def _active_users(self, request: Request, ask: Ask) -> Answer:
        """Distinct people in a moving window of days, from the first event until the window is empty again."""
        given = Given(request.params, self.state.wording)
        days = given.whole("days", 7, 1, 90)
        given.done()
        seen: dict[date, set[str]] = {}
        for event in ask(request).events:
            seen.setdefault(day_of(event.at), set()).add(event.profile_id)
        shown = {day + timedelta(days=more) for day in seen for more in range(days)}
        series = [
            {
                "date": f"{day}",
                "users": len(set().union(*(seen.get(day - timedelta(days=back), set()) for back in range(days)))),
            }
            for day in sorted(shown)
        ]
        return as_json({"window_days": days, "label": _LABELS.get(days, f"{days}d"), "series": series})

    def _performance(self, request: Request, ask: Ask) -> Answer:
        """Pages with the bounce rate of their sessions and the average minutes until the next page."""
        given = dated(request, self.state.wording)
        search = (given.text("search") or "").lower()
        key = given.choice("sortBy", ["sessions", "pageviews", "bounce_rate", "avg_duration"], "sessions")
        order = given.choice("sortOrder", ["asc", "desc"], "desc")
        limit = given.whole("limit", 50, 1, 500)
        given.done()
        report = self._report(ask(request), given)
        bounced = {session.id for session in report.sessions if session.is_bounce}
        stay = _until_next(report)
        rows = []
        for origin, path, views in insights_sums.by_page(report.views())[: insights_sums.MOST_ROWS]:
            title = str(views[0].properties.get("__title", ""))
            if search not in f"{path} {title}".lower():
                continue
            sessions = {event.session_id for event in views}
            times = [stay[event.id] for event in views if event.id in stay]
            minutes = rounded(sum(times) / len(times) / 60_000) if times else 0
            bounce = share(len(sessions & bounced), len(sessions))
            signals = {"high_bounce": bounce > 70, "low_engagement": minutes < 1}
            good = {"good_landing_page": bounce < 40 and minutes > 2}
            page = {"origin": origin, "path": path, "title": title, "sessions": len(sessions), "pageviews": len(views)}
            rows.append({**page, "avg_duration": minutes, "bounce_rate": bounce, "seo_signals": {**signals, **good}})
        rows.sort(key=lambda row: row[key], reverse=order == "desc")  # type: ignore[arg-type, return-value]
        shown = rows[:limit]
        return as_json({"total_pages": len(rows), "shown": len(shown), "pages": shown})

    # ---------- lists

    def _events(self, request: Request, ask: Ask) -> Answer:
        given = dated(request, self.state.wording)
        names = given.texts("eventNames")
        wanted = {column: text for name, column in ASKED.items() if (text := given.text(name)) is not None}
        limit = given.whole("limit", 20, 1, 100)
        given.done()
        report = self._report(ask(request), given, utc=True)
        found = []
        for part in report.project.events.parts(report.period.since, report.period.until + 1):
            for event in part:
                if names is not None and event.name not in names:
                    continue
                if all(getattr(event, column) == text for column, text in wanted.items()):
                    found.append(event)
        return as_json([event_row(event) for event in found[-limit:]])

    def _names(self, request: Request, ask: Ask) -> Answer:
        return as_json(list(dict.fromkeys(event.name for event in ask(request).events)))

    def _profile(self, request: Request, ask: Ask, named: str) -> Answer:
        given = Given(request.params, self.state.wording)
        limit = given.whole("eventLimit", 20, 1, 100)
        given.done()
        project = ask(request)
        profile = project.profiles.get(named)
        if profile is None:
            return as_json({"error": "Profile not found", "profileId": named}, 404)
        events = [event for event in project.events if event.profile_id == named][:limit]
        return as_json(
            {"profile": profile_row(project, profile), "recentEvents": [event_row(event) for event in events]}
        )

    def _group(self, request: Request, ask: Ask, named: str) -> Answer:
        given = Given(request.params, self.state.wording)
        limit = given.whole("memberLimit", 10, 1, 50)
        given.done()
        project = ask(request)
        group = project.groups.get(named)
        if group is None:
            return server_error()
        members = [profile for profile in project.profiles.values() if named in profile.groups]
        shown = [profile_json(project, profile) for profile in members[:limit]]
        return as_json({"group": group_row(project, group), "member_count": len(members), "members": shown})


def _until_next(report: Report) -> dict[str, int]:
    """By id of a pageview: milliseconds until the next pageview of its session."""
    found: dict[str, int] = {}
    later: dict[str, int] = {}
    for event in report.views():  # newest first
        if event.session_id in later:
            found[event.id] = later[event.session_id] - event.at
        later[event.session_id] = event.at
    return found
