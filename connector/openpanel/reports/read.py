"""Reads insights, charts, funnels, lists and the live count: one day of each, as rows with a date.

The vendor answers with aggregates over the requested period, without a date column and in the organization's timezone.
Here every request covers exactly one day. ``CONTRACT.md`` tells what the server does with days, cursors and labels;
the report config in ``config.py`` tells what is requested.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from connector.catalogue.openpanel import ChartsQuery, FunnelsQuery, ListQuery, LiveQuery, MetricsQuery
from connector.catalogue.openpanel_lists import EntryExitQuery, GroupsQuery, ProfilesQuery, SessionsQuery
from connector.catalogue.reports import Chart, Filter, Series
from connector.errors import ContractError, SettingsError
from connector.http.client import Http
from connector.meter import Meter
from connector.openpanel.encoding import quoted, segment
from connector.openpanel.reports.api import ReportApi, ReportRequest, ReportRows, Row, merged, wrong_shape
from connector.openpanel.reports.chart_answer import (
    AnsweredSeries,
    BucketOfLabel,
    bucket_maps,
    parse_series,
    points_by_bucket,
)
from connector.openpanel.reports.chart_days import ChartRequest, buckets, chart_requests, period_of
from connector.openpanel.reports.config import Questions
from connector.openpanel.reports.funnels import Funnels
from connector.openpanel.reports.lists import Lists
from connector.openpanel.reports.timezone import verify_timezone
from connector.records.fit import read_rows
from connector.stream import Page, Stream
from connector.system.prefetch import ahead

# Servers since 2026-01-09 send at most this many rows and drop the rest without a word.
SILENT_CUT = 1000
# Rows on a page of older servers, without and with a limit. Only a page of either size may have a next one.
OLD_LIMITS = (10, 50)
# 10,000 pages are half a million rows of one list on one day: no website has so many, so the list is endless.
MOST_PAGES = 10_000

NewestToday = Callable[[Meter | None, str], datetime | None]


class Reports:
    """The aggregate endpoints of one project.

    Args:
        http: sends the requests.
        project_id: the project.
        timezone: the organization's; its days are the partitions.
        at_once: requests at the same time.
        newest_today: the instant of the newest event today, if there is one; raises if the client belongs to another
            project. Insights does not: it answers a ``read`` client with its own project's numbers.
    """

    def __init__(self, http: Http, project_id: str, timezone: str, *, at_once: int, newest_today: NewestToday) -> None:
        self._api, self._zone, self._at_once = ReportApi(http, project_id), ZoneInfo(timezone), at_once
        self._funnels, self._lists = Funnels(self._api), Lists(self._api, self._zone)
        self._newest_today, self._verified = newest_today, False

    def verify(self, meter: Meter | None, where: str) -> None:
        """Check on the first call that project and timezone are the organization's: one request, two with events today.

        Raises:
            RejectedError: the client belongs to another project.
            SettingsError: the timezone is not the organization's.
        """
        if not self._verified:
            if at := self._newest_today(meter, where):
                verify_timezone(self._api, self._zone, at, meter)
            self._verified = True

    def read_day(self, stream: Stream, day: date, *, meter: Meter | None = None) -> Iterator[Page]:
        """One local day of an aggregate stream.

        Yields:
            One page for each answer.

        Raises:
            RejectedError: the client belongs to another project, or the server lacks the route.
            ContractError: an answer does not have the promised shape.
        """
        self.verify(meter, stream.partition(day))
        request = ReportRequest(stream, day, meter)
        answers = self._list(request) or ahead(self._calls(request), at_once=self._at_once)
        yield from _pages(answers, stream, stream.partition(day))

    def count_day(self, stream: Stream, day: date, *, meter: Meter | None = None) -> int:
        """The vendor's own count of sessions on one local day; see :meth:`Lists.count_sessions`."""
        self.verify(meter, stream.partition(day))
        return self._lists.count_sessions(ReportRequest(stream, day, meter))

    def _list(self, request: ReportRequest) -> Iterator[ReportRows] | None:
        """The answers of a list, one after the other, because the next request depends on the last; None for others."""
        match request.stream.query:
            case EntryExitQuery():
                return self._lists.entry_exit(request)
            case SessionsQuery():
                return self._lists.sessions(request)
            case ProfilesQuery():
                return self._lists.profiles(request)
            case GroupsQuery():
                return self._lists.groups(request)
        return None

    def _calls(self, request: ReportRequest) -> Iterable[Callable[[], ReportRows]]:
        """One call for each answer of the day."""
        match request.stream.query:
            case MetricsQuery(filters):
                return [partial(self._metrics, request, filters)]
            case ListQuery(dimensions, filters):
                return (partial(self._list_of, request, dimension, filters) for dimension in dimensions)
            case LiveQuery():
                return [partial(self._live, request)]
            case ChartsQuery(charts):
                periods = ((chart, period_of(chart, request.day)) for chart in charts)
                return (partial(self._chart, chart, period, request) for chart, period in periods if period)
            case FunnelsQuery(funnels):
                return (partial(self._funnels.read, funnel, request) for funnel in funnels)
        raise TypeError(f"{request.stream.table} is no report")

    # ---------- insights

    def _metrics(self, request: ReportRequest, filters: Sequence[Filter]) -> ReportRows:
        path = self._api.path(request.stream.path)
        match self._api.get(path, _insight_params(request, filters), request):
            case {"metrics": {} as metrics, **rest}:
                return ReportRows([merged(self._api.head(request), metrics, rest)])
            case other:
                raise wrong_shape(path, "{metrics: {...}}", other, request.where)

    def _list_of(self, request: ReportRequest, dimension: str, filters: Sequence[Filter]) -> ReportRows:
        path = self._api.path(request.stream.path, dimension)
        params = [*_insight_params(request, filters), ("limit", "50")]  # the documented maximum; ignored since 2026
        found: dict[str, Row] = {}
        number = 1
        while True:
            cursor = [("cursor", str(number))] if number > 1 else []
            rows = self._api.list_of(path, [*params, *cursor], request)
            fresh = {key: row for row in rows if (key := _identity(row)) not in found}
            found |= fresh
            # A server that ignores the cursor repeats its rows; one that reads it ends with a short page.
            if len(rows) not in OLD_LIMITS or not fresh:
                break
            number += 1
            if number > MOST_PAGES:
                raise ContractError(
                    f"{path} has no end: {number - 1} pages, and each brought new rows",
                    where=request.where,
                    next_step="report it with the server's version; leave this stream out until then.",
                )
        own = self._api.head(request) | ({"dimension": dimension} if dimension else {})
        name = dimension or request.stream.name.removeprefix("insights_")
        warning = f"{name} was cut at {SILENT_CUT} rows by the vendor" if len(rows) >= SILENT_CUT else ""
        return ReportRows([{**own, **row} for row in found.values()], warning)

    def _live(self, request: ReportRequest) -> ReportRows:
        path = self._api.path(request.stream.path)
        match self._api.get(path, [], request):
            case {"visitors": int() | float()} as answer:
                sampled = datetime.now(UTC).isoformat(timespec="milliseconds")
                return ReportRows([{"projectId": self._api.project_id, "sampledAt": sampled, **answer}])
            case other:
                raise wrong_shape(path, "{visitors: n}", other, request.where)

    # ---------- charts

    def _chart(self, chart: Chart, period: tuple[date, date], request: ReportRequest) -> ReportRows:
        request = request.of(f"chart {chart.name!r}")
        rows: list[Row] = []
        warning = ""
        for chart_request in chart_requests(chart, period, self._zone):
            answered, numbered = parse_series(self._sent(chart, chart_request, request), chart, request.where)
            due = buckets(chart, chart_request, self._zone)
            ways = bucket_maps(answered, due, request.where)
            bucket_of = ways[0][1] if len(ways) == 1 else dict(ways)[self._way(chart, chart_request, request)]
            rows += self._points(chart, answered, due.due, bucket_of, request.where)
            warning = warning or (numbered and f"chart {chart.name!r}: {numbered}")
        return ReportRows(rows, warning)

    def _sent(self, chart: Chart, chart_request: ChartRequest, request: ReportRequest) -> list[Any]:
        params = [
            *self._chart_params(chart, [_since(one, chart_request.since) for one in chart.series]),
            # Instants with a zone. A plain date is a midnight of the server's process, and the last day is excluded.
            ("startDate", _zulu(chart_request.start)),
            ("endDate", _zulu(chart_request.end)),
        ]
        match self._api.get("/export/charts", params, request):
            case {"series": [*series]}:
                return series
            case other:
                raise wrong_shape("/export/charts", "{series: [...]}", other, request.where)

    def _way(self, chart: Chart, chart_request: ChartRequest, request: ReportRequest) -> str:
        """The name of the map that this server's labels need, for an answer that fits both.

        The labels of a few hours with a Z may be local time or UTC. The labels of whole days fit only one of them, and
        a server always uses the same.
        """
        days = msgspec.structs.replace(chart, interval="day")
        answered, _ = parse_series(self._sent(days, chart_request, request), days, request.where)
        match bucket_maps(answered, buckets(days, chart_request, self._zone), request.where):
            case [(way, _)] if any(one.points for one in answered):
                return way
        raise ContractError(
            "the labels of the points can be local time or UTC",
            where=request.where,
            next_step="set this chart's interval to day; report it with the server's version.",
        )

    def _points(
        self,
        chart: Chart,
        answered: Sequence[AnsweredSeries],
        due: Mapping[str, datetime],
        bucket_of: BucketOfLabel,
        where: str,
    ) -> Iterator[Row]:
        """Rows of the points that are due; 0 where the vendor sent none."""
        for one in answered:
            values = points_by_bucket(one, bucket_of, where)
            head = {
                "projectId": self._api.project_id,
                "chart": chart.name,
                "series": chart.series[one.index].label,
                "breakdowns": one.breakdowns,
                "metrics": one.metrics,
            }
            yield from (_point(head, values.get(moment), moment, at) for moment, at in due.items())
        if not chart.breakdowns:  # a series without events is absent: its points are zeros
            for number, series in enumerate(chart.series):
                if all(one.index != number for one in answered):
                    head = {"projectId": self._api.project_id, "chart": chart.name}
                    head |= {"series": series.label, "breakdowns": {}}
                    yield from (_point(head, None, moment, at) for moment, at in due.items())

    # ---------- any period, as answered

    def insights(
        self,
        route: str,
        *,
        start: date | None = None,
        end: date | None = None,
        preset: str = "",
        filters: Sequence[Filter] = (),
        cursor: int | None = None,
        limit: int | None = None,
    ) -> Any:
        """One Insights answer for any period, parsed and otherwise unchanged.

        Args:
            route: ``metrics``, ``live``, ``pages`` or a dimension.
            start, end: both or none; local days, both included.
            preset: the server's ``range``, such as ``30d``; used if there are no dates.
            filters: see :class:`Filter`.
            cursor, limit: page number and page size; servers since 2026-01-09 ignore both.

        Raises:
            SettingsError: only one date is given, or a filter is wrong.
        """
        if (start is None) != (end is None):
            raise SettingsError("insights dates", "are half given", next_step="give start and end, or neither.")
        Questions(filters=tuple(filters))
        params = [(name, value.isoformat()) for name, value in (("startDate", start), ("endDate", end)) if value]
        params += [("range", preset)] if preset else []
        params += [("filters", _filters(filters))] if filters else []
        params += [(name, str(value)) for name, value in (("cursor", cursor), ("limit", limit)) if value is not None]
        self.verify(None, f"insights {route}")
        return self._api.fetch(self._api.path("/insights/{project}/") + segment(route), params, f"insights {route}")

    def chart(self, chart: Chart, *, start: datetime | None = None, end: datetime | None = None) -> Any:
        """One chart's answer, parsed and otherwise unchanged.

        Args:
            start, end: instants with a zone, both or none. Without them the chart's ``range`` is used, or 30 days.

        Raises:
            SettingsError: only one date is given, or the chart is wrong.
        """
        if (start is None) != (end is None):
            raise SettingsError("chart dates", "are half given", next_step="give start and end, or neither.")
        Questions(charts=(msgspec.structs.replace(chart, range=""),))
        params = self._chart_params(chart, chart.series)
        if start and end:
            params += [("startDate", _zulu(start)), ("endDate", _zulu(end))]
        elif chart.range:
            params += [("range", chart.range)]
        return self._api.fetch("/export/charts", params, f"chart {chart.name!r}")

    def _chart_params(self, chart: Chart, series: Sequence[Series]) -> list[tuple[str, str]]:
        return [
            ("projectId", quoted(self._api.project_id)),
            ("events", json.dumps([one.asked() for one in series])),
            ("breakdowns", json.dumps([{"name": name} for name in chart.breakdowns])),
            ("interval", chart.interval),
            ("previous", "true" if chart.previous else "false"),
        ]


def _pages(answers: Iterable[ReportRows], stream: Stream, where: str) -> Iterator[Page]:
    announced = 0
    for number, answer in enumerate(answers, start=1):
        rows = read_rows(json.dumps(answer.rows, ensure_ascii=False).encode(), stream, where=where)
        announced += len(rows.keys)  # answers have no total, so the rows of all pages are the day's
        yield Page(
            number=number,
            of=number,
            rows=len(rows.keys),
            announced=announced,
            body=rows.body,
            strangers=rows.strangers,
            misfits=rows.misfits,
            warnings=(answer.warning,) if answer.warning else (),
        )


def _insight_params(request: ReportRequest, filters: Sequence[Filter]) -> list[tuple[str, str]]:
    window = request.stream.window
    params = [(window.start, request.day.isoformat()), (window.end, request.day.isoformat())]
    return [*params, ("filters", _filters(filters))] if filters else params


def _filters(filters: Sequence[Filter]) -> str:
    return json.dumps([one.asked() for one in filters])


def _since(series: Series, at: datetime | None) -> Series:
    if at is None:
        return series
    value = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    since = Filter(name="created_at", operator="gte", value=(value,))
    return msgspec.structs.replace(series, filters=(*series.filters, since))


def _zulu(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _identity(row: Row) -> str:
    return json.dumps([row.get(key) for key in ("origin", "path", "prefix", "name")])


def _point(head: Mapping[str, Any], point: Mapping[str, Any] | None, moment: str, at: datetime) -> Row:
    point = dict(point or {})
    previous = point.pop("previous", None)
    previous = previous if isinstance(previous, dict) else {}
    value = point.pop("count", 0)
    point.pop("date", None)
    return {
        **head,
        "date": moment,
        "starts_at": _zulu(at),
        "value": value if value is not None else 0,
        "previous_value": previous.get("value"),
        "previous_diff": previous.get("diff", previous.get("change")),
        "previous_state": previous.get("state"),
        **point,
    }
