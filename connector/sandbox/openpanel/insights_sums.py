"""The sums behind the Insights routes: totals and series of ``metrics``, rows of the dimensions, rows of the pages.

Everything is computed from sessions, except pages and reports with a filter on ``path``, which read the event table.
Filters with unknown names are ignored silently.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from connector.sandbox.openpanel.event_query import Filter
from connector.sandbox.openpanel.filters import Times, compile_filters
from connector.sandbox.openpanel.periods import Buckets, Interval, Period, metric_buckets
from connector.sandbox.openpanel.rounding import Number, mean, plain, rounded, seconds, share
from connector.sandbox.openpanel.sessions import Session, Sessions
from connector.sandbox.openpanel.store import NO_COUNTRY, REFERRER, UTM, Event, Project

Row = dict[str, Any]
PREFIXES = {"region": "country", "city": "country", "browser_version": "browser", "os_version": "os"}
DIMENSIONS = (
    *(*REFERRER, *UTM, "region", "country", "city"),
    *("device", "brand", "model", "browser", "browser_version", "os", "os_version"),
)
FILTERS = frozenset({*DIMENSIONS, "path", "origin", "revenue"})
MOST_ROWS = 1000


class Report:
    """The sessions and events of one project in one period that pass the filters."""

    def __init__(self, project: Project, sessions: Sessions, period: Period, filters: list[Filter]) -> None:
        self.project = project
        self.period = period
        known = [item for item in filters if item.name in FILTERS]
        self._times: Times | None = compile_filters(known, project) if known else None
        self.by_page = any(item.name == "path" for item in known)
        self.sessions = self._kept(sessions)

    def _kept(self, sessions: Sessions) -> list[Session]:
        """The sessions that pass the filters; path and origin of a session are those of its entry."""
        found = sessions.within(self.period)
        times = self._times
        return found if times is None else [session for session in found if times(session.entry)]

    def views(self) -> Iterator[Event]:
        """The pageviews that pass the filters with their own path and origin, newest first."""
        times = self._times
        for part in self.project.events.parts(self.period.since, self.period.until + 1):
            for event in part:
                if event.name == "screen_view" and (times is None or times(event)):
                    yield event


# ---------- metrics


def metrics(report: Report, interval: Interval) -> tuple[Row, list[Row]]:
    """Totals and series. In a period without sessions, the first bucket of the series is missing."""
    buckets = metric_buckets(report.period, interval)
    if report.by_page:
        return _page_metrics(report, buckets)
    places: dict[int, list[Session]] = {}
    for session in report.sessions:
        places.setdefault(buckets.place(session.start), []).append(session)
    series = []
    for at, wall in enumerate(buckets.walls):
        found = places.get(at, [])
        if not found and at >= buckets.filled:
            continue
        row = _totals(found)
        length = row["avg_session_duration"]
        point: Row = {"date": f"{wall:%Y-%m-%dT%H:%M:%S}.000Z"}
        for key, value in row.items():
            if key == "avg_session_duration":
                point["_avg_session_duration"] = length if length is not None or found else 0
                value = length or 0
            point[key] = value
        series.append(point)
    totals = _totals(report.sessions)
    totals["avg_session_duration"] = totals["avg_session_duration"] or 0
    return totals, series if report.sessions else series[1:]


def _totals(sessions: list[Session]) -> Row:
    views = sum(session.views for session in sessions)
    return {
        "bounce_rate": share(sum(session.is_bounce for session in sessions), len(sessions)),
        "unique_visitors": len({session.profile_id for session in sessions}),
        "total_sessions": len(sessions),
        "avg_session_duration": seconds([session.duration for session in sessions]),
        "total_screen_views": views,
        "views_per_session": plain(round(views / len(sessions), 2)) if sessions else 0,
        "total_revenue": sum(session.revenue for session in sessions),
    }


def _page_metrics(report: Report, buckets: Buckets) -> tuple[Row, list[Row]]:
    """Metrics with a filter on the path: the pageviews of that page.

    Bounces, durations and revenue are those of the sessions that entered on the page. The totals of durations and of
    views per session are unweighted averages of the buckets.
    """
    sessions: dict[int, list[Session]] = {}
    for session in report.sessions:
        sessions.setdefault(buckets.place(session.start), []).append(session)
    views: dict[int, list[Event]] = {}
    for event in report.views():
        views.setdefault(buckets.place(event.at), []).append(event)
    everything = [event for found in views.values() for event in found]
    overall = {
        "overall_unique_visitors": len({event.profile_id for event in everything}),
        "overall_total_sessions": len({event.session_id for event in everything}),
        "overall_bounce_rate": _totals(report.sessions)["bounce_rate"],
    }
    series = []
    for at, wall in enumerate(buckets.walls):
        found = views.get(at, [])
        if not found and at >= buckets.filled:
            continue
        entered = _totals(sessions.get(at, []) if found else [])
        visits = len({event.session_id for event in found})
        series.append(
            {
                "date": f"{wall:%Y-%m-%dT%H:%M:%S}.000Z",
                "bounce_rate": entered["bounce_rate"],
                "unique_visitors": len({event.profile_id for event in found}),
                "total_sessions": visits,
                "avg_session_duration": entered["avg_session_duration"] or 0,
                "total_screen_views": len(found),
                "views_per_session": plain(round(len(found) / visits, 2)) if visits else 0,
                **(overall if found else dict.fromkeys(overall)),
                "total_revenue": entered["total_revenue"],
            }
        )
    totals = {
        "bounce_rate": overall["overall_bounce_rate"],
        "unique_visitors": overall["overall_unique_visitors"],
        "total_sessions": overall["overall_total_sessions"],
        "avg_session_duration": mean([row["avg_session_duration"] for row in series]),
        "total_screen_views": len(everything),
        "views_per_session": mean([row["views_per_session"] for row in series]),
        "total_revenue": sum(row["total_revenue"] for row in series),
    }
    return totals, series


# ---------- rows


def by_column(sessions: list[Session], column: str) -> list[tuple[str | None, str, list[Session]]]:
    """Prefix (or None), value and sessions of every value of a dimension, most sessions first."""
    read = _reader(column)
    prefix = PREFIXES.get(column)
    groups: dict[tuple[str | None, str], list[Session]] = {}
    for session in sessions:
        entry = session.entry
        groups.setdefault((getattr(entry, prefix) if prefix else None, read(entry)), []).append(session)
    found = [(*key, members) for key, members in groups.items()]
    return sorted(found, key=lambda item: -len(item[2]))


def _reader(column: str) -> Callable[[Event], str]:
    if column in UTM:
        key = f"__query.{column}"
        return lambda event: event.properties.get(key, "")
    return lambda event: str(getattr(event, column))


def dimension(sessions: list[Session], column: str) -> list[Row]:
    """The rows of today's server: at most a thousand, and nothing says that there are more."""
    rows = []
    for prefix, value, found in by_column(sessions, column)[:MOST_ROWS]:
        row: Row = {} if prefix is None else {"prefix": prefix}
        row |= {
            "name": None if value in ("", NO_COUNTRY) else value,
            "sessions": len(found),
            "pageviews": sum(session.views for session in found),
            "revenue": sum(session.revenue for session in found),
        }
        rows.append(row)
    return rows


def rates(sessions: list[Session], duration: str = "avg_session_duration") -> Row:
    """The columns of older servers and of the documentation, instead of pageviews and revenue."""
    return {
        "sessions": len(sessions),
        "bounce_rate": share(sum(session.is_bounce for session in sessions), len(sessions)),
        duration: seconds([session.duration for session in sessions]) or 0,
    }


def by_page(views: Iterable[Event]) -> list[tuple[str, str, list[Event]]]:
    """Origin, path and pageviews of every page, most sessions first."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in views:
        if event.path:
            groups.setdefault((event.origin, event.path), []).append(event)
    found = [(*key, members) for key, members in groups.items()]
    return sorted(found, key=lambda item: -visits_of(item[2]))


def visits_of(views: list[Event]) -> int:
    """The number of distinct sessions."""
    return len({event.session_id for event in views})


def pages(report: Report) -> list[Row]:
    """The rows of today's server."""
    return [
        {
            "origin": origin,
            "path": path,
            "sessions": visits_of(views),
            "pageviews": len(views),
            "revenue": sum(event.revenue for event in views),
        }
        for origin, path, views in by_page(report.views())[:MOST_ROWS]
    ]


def older_pages(report: Report) -> list[Row]:
    """The rows of older servers: the newest title, the bounce rate of sessions that entered there, seconds."""
    entered: dict[tuple[str, str], list[Session]] = {}
    for session in report.sessions:
        entered.setdefault((session.entry.origin, session.entry.path), []).append(session)
    return [
        {
            "title": str(views[0].properties.get("__title", "")),
            "origin": origin,
            "path": path,
            "sessions": visits_of(views),
            "bounce_rate": rates(entered.get((origin, path), []))["bounce_rate"],
            "avg_duration": _seconds_on_page(views),
        }
        for origin, path, views in by_page(report.views())
    ]


def _seconds_on_page(views: list[Event]) -> Number:
    return rounded(sum(event.duration for event in views) / len(views) / 1000)
