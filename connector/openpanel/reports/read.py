"""Reads insights, charts, funnels and the live count: one day of each, as rows with a date.

The vendor answers these as aggregates over whatever period was asked, without a date column and in the organization's
timezone; here every question covers exactly one day. What the server does with days, cursors and labels is written
down in ``CONTRACT.md``; this room does not decide which questions are asked (``questions.py``).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from connector.catalogue.openpanel import ChartsQuery, FunnelsQuery, ListQuery, LiveQuery, MetricsQuery
from connector.catalogue.reports import Chart, Filter, Funnel, Series
from connector.errors import ContractError, RejectedError, SettingsError
from connector.http.client import Http
from connector.meter import Meter
from connector.openpanel.encoding import quoted, segment
from connector.openpanel.reports.chart_answer import Line, Reading, lines, placed, readings
from connector.openpanel.reports.chart_days import Ask, asks, buckets, window
from connector.openpanel.reports.config import Questions
from connector.records.fit import parsed, read_rows
from connector.redaction import excerpt
from connector.stream import Page, Stream
from connector.system.prefetch import ahead

# Servers since 2026-01-09 send everything up to this many rows, without a word about the rest.
SILENT_CUT = 1000
# What older servers send on a page, with and without a limit; a page of either size may have a successor.
OLD_LIMITS = (10, 50)
# Half a million rows of one list on one day: a server that goes on and on, and no website.
MOST_PAGES = 10_000

Row = dict[str, object]


@dataclass(frozen=True)
class _Answer:
    rows: Sequence[Row]
    warning: str = ""


@dataclass(frozen=True)
class _Day:
    """What is being read: one local day of a stream, for messages and for the meter."""

    stream: Stream
    day: date
    meter: Meter | None
    part: str = ""

    @property
    def where(self) -> str:
        return f"{self.stream.partition(self.day)} {self.part}".rstrip()

    def of(self, part: str) -> "_Day":
        """The same day; messages name the chart or funnel as well."""
        return replace(self, part=part)


class Reports:
    """The aggregate endpoints of one project.

    Args:
        http: where to ask.
        project_id: whose numbers.
        timezone: the organization's; its days are the partitions.
        at_once: questions asked at the same time.
        verify: raises if the client belongs to another project; Insights answers a ``read`` client with its own
            project's numbers, whatever project is named.
    """

    def __init__(
        self, http: Http, project_id: str, timezone: str, *, at_once: int, verify: Callable[[Meter | None], None]
    ) -> None:
        self._http, self._project_id, self._zone = http, project_id, ZoneInfo(timezone)
        self._at_once, self._verify, self._verified = at_once, verify, False
        self._old_funnel: bool | None = None

    def read_day(self, stream: Stream, day: date, *, meter: Meter | None = None) -> Iterator[Page]:
        """One local day of an aggregate stream: one page per question, asked eight at a time.

        Raises:
            RejectedError: the client belongs to another project, or the server lacks the route.
            ContractError: an answer is not of the promised shape.
        """
        self._verify_once(meter)
        questions = self._questions(_Day(stream, day, meter))
        yield from _pages(ahead(questions, at_once=self._at_once), stream, stream.partition(day))

    def _questions(self, asked: "_Day") -> Iterable[Callable[[], _Answer]]:
        """One call for each answer that the day consists of."""
        match asked.stream.query:
            case MetricsQuery(filters):
                return [partial(self._metrics, asked, filters)]
            case ListQuery(dimensions, filters):
                return (partial(self._list_of, asked, dimension, filters) for dimension in dimensions)
            case LiveQuery():
                return [partial(self._live, asked)]
            case ChartsQuery(charts):
                periods = ((chart, window(chart, asked.day)) for chart in charts)
                return (partial(self._chart, chart, period, asked) for chart, period in periods if period)
            case FunnelsQuery(funnels):
                return (partial(self._funnel, funnel, asked) for funnel in funnels)
        raise TypeError(f"{asked.stream.table} is no report")

    # ---------- insights

    def _metrics(self, asked: _Day, filters: Sequence[Filter]) -> _Answer:
        path = self._path(asked.stream.path)
        match self._get(path, _insight_params(asked, filters), asked):
            case {"metrics": {} as metrics, **rest}:
                return _Answer([_row(self._head(asked), metrics, rest)])
            case other:
                raise _shape(path, "{metrics: {...}}", other, asked.where)

    def _list_of(self, asked: _Day, dimension: str, filters: Sequence[Filter]) -> _Answer:
        path = self._path(asked.stream.path, dimension)
        params = [*_insight_params(asked, filters), ("limit", "50")]  # the documented maximum; ignored since 2026
        found: dict[str, Row] = {}
        number = 1
        while True:
            cursor = [("cursor", str(number))] if number > 1 else []
            rows = self._list(path, [*params, *cursor], asked)
            fresh = {key: row for row in rows if (key := _identity(row)) not in found}
            found |= fresh
            # A server that ignores the cursor repeats itself; one that honours it ends with a page that is short.
            if len(rows) not in OLD_LIMITS or not fresh:
                break
            number += 1
            if number > MOST_PAGES:
                raise ContractError(
                    f"{path} has no end: {number - 1} pages, and each brought new rows",
                    where=asked.where,
                    next_step="report it with the server's version; leave this stream out until then.",
                )
        own = self._head(asked) | ({"dimension": dimension} if dimension else {})
        name = dimension or asked.stream.name.removeprefix("insights_")
        warning = f"{name} was cut at {SILENT_CUT} rows by the vendor" if len(rows) >= SILENT_CUT else ""
        return _Answer([{**own, **row} for row in found.values()], warning)

    def _live(self, asked: _Day) -> _Answer:
        path = self._path(asked.stream.path)
        match self._get(path, [], asked):
            case {"visitors": int() | float()} as answer:
                sampled = datetime.now(UTC).isoformat(timespec="milliseconds")
                return _Answer([{"projectId": self._project_id, "sampledAt": sampled, **answer}])
            case other:
                raise _shape(path, "{visitors: n}", other, asked.where)

    # ---------- charts

    def _chart(self, chart: Chart, period: tuple[date, date], asked: _Day) -> _Answer:
        asked = asked.of(f"chart {chart.name!r}")
        rows: list[Row] = []
        warning = ""
        for ask in asks(chart, period, self._zone):
            told, said = lines(self._sent(chart, ask, asked), chart, asked.where)
            due = buckets(chart, ask, self._zone)
            ways = readings(told, due, asked.where)
            reading = ways[0][1] if len(ways) == 1 else dict(ways)[self._way(chart, ask, asked)]
            rows += self._points(chart, told, due.due, reading, asked.where)
            warning = warning or (said and f"chart {chart.name!r}: {said}")
        return _Answer(rows, warning)

    def _sent(self, chart: Chart, ask: Ask, asked: _Day) -> list[Any]:
        params = [
            *self._chart_params(chart, [_since(one, ask.since) for one in chart.series]),
            # Instants with a zone. Plain dates are midnights of the server's process, the last one left out.
            ("startDate", _zulu(ask.start)),
            ("endDate", _zulu(ask.end)),
        ]
        match self._get("/export/charts", params, asked):
            case {"series": [*series]}:
                return series
            case other:
                raise _shape("/export/charts", "{series: [...]}", other, asked.where)

    def _way(self, chart: Chart, ask: Ask, asked: _Day) -> str:
        """How this server means its labels, where an answer fits both ways.

        A few hours with a Z can be local or not; the label of a whole day cannot, and a server has one way.
        """
        days = msgspec.structs.replace(chart, interval="day")
        told, _ = lines(self._sent(days, ask, asked), days, asked.where)
        match readings(told, buckets(days, ask, self._zone), asked.where):
            case [(way, _)] if any(line.points for line in told):
                return way
        raise ContractError(
            "the labels of the points can be meant in local time and in UTC",
            where=asked.where,
            next_step="ask this chart by day; report it with the server's version.",
        )

    def _points(
        self, chart: Chart, told: Sequence[Line], due: Mapping[str, datetime], reading: Reading, where: str
    ) -> Iterator[Row]:
        """Rows of the points that are due, zeros where the vendor sent none, nothing it made up."""
        for line in told:
            values = placed(line, reading, where)
            head = {
                "projectId": self._project_id,
                "chart": chart.name,
                "series": chart.series[line.at].label,
                "breakdowns": line.breakdowns,
                "metrics": line.metrics,
            }
            yield from (_point(head, values.get(moment), moment, at) for moment, at in due.items())
        if not chart.breakdowns:  # a series without any event is absent, which is a zero
            for number, series in enumerate(chart.series):
                if all(line.at != number for line in told):
                    head = {"projectId": self._project_id, "chart": chart.name}
                    head |= {"series": series.label, "breakdowns": {}}
                    yield from (_point(head, None, moment, at) for moment, at in due.items())

    # ---------- funnels

    def _funnel(self, funnel: Funnel, asked: _Day) -> _Answer:
        asked = asked.of(f"funnel {funnel.name!r}")
        head = {"funnel": funnel.name, **self._head(asked)}
        if self._old_funnel is not True:
            try:
                return _Answer(list(self._new_funnel(funnel, head, asked)))
            except RejectedError as refused:
                if refused.status != 404 or self._old_funnel is False:
                    raise
        return _Answer(list(self._documented_funnel(funnel, head, asked)), _not_asked(funnel))

    def _new_funnel(self, funnel: Funnel, head: Row, asked: _Day) -> Iterator[Row]:
        path = self._path(asked.stream.path)
        params = [
            *(("steps", quoted(step)) for step in funnel.steps),
            ("windowHours", str(funnel.window_hours)),
            ("groupBy", funnel.group_by),
            ("startDate", f"{asked.day} 00:00:00"),
            # On these routes a plain end date is its midnight: the day itself would be left out.
            ("endDate", f"{asked.day} 23:59:59"),
        ]
        match self._get(path, params, asked):
            case {"steps": [*steps], **totals}:
                self._old_funnel = False
                for step in steps:
                    if not isinstance(step, dict):
                        raise _shape(path, "steps that are objects", step, asked.where)
                    yield _row(head, totals, step)
            case other:
                raise _shape(path, "{steps: [...]}", other, asked.where)

    def _documented_funnel(self, funnel: Funnel, head: Row, asked: _Day) -> Iterator[Row]:
        """The route of the vendor's older page; its names are told in the ones of the newer."""
        params = [
            ("projectId", quoted(self._project_id)),
            ("events", json.dumps([{"name": step, "filters": []} for step in funnel.steps])),
            ("startDate", asked.day.isoformat()),
            ("endDate", asked.day.isoformat()),
        ]
        match self._get("/export/funnel", params, asked):
            case {"steps": [*steps], **others}:
                self._old_funnel = True
                total = others.pop("totalSessions", None)
                for number, step in enumerate(steps, start=1):
                    if not isinstance(step, dict):
                        raise _shape("/export/funnel", "steps that are objects", step, asked.where)
                    event = step.pop("event", None)
                    more = dict(event) if isinstance(event, dict) else {"name": event}
                    known = {
                        "step": number,
                        "eventName": more.pop("name", None),
                        "users": step.pop("count", None),
                        "conversionRateFromStart": step.pop("percent", None),
                        "dropoffPercent": step.pop("dropoffPercent", None),
                        "totalUsers": total,
                    }
                    # What else it says of the event, and of the whole, has no column and lands in `_extra`.
                    yield _row(head, others, known, {"event": more} if more else {}, step)
            case other:
                raise _shape("/export/funnel", "{steps: [...]}", other, asked.where)

    # ---------- any question, as it is answered

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
        """One Insights answer for any period, parsed and otherwise untouched.

        Args:
            route: ``metrics``, ``live``, ``pages`` or a dimension.
            start, end: both or none; local days, both included.
            preset: the server's ``range``, such as ``30d``; used where there are no dates.
            filters: see :class:`Filter`.
            cursor, limit: page and page size; servers since 2026-01-09 ignore both.
        """
        if (start is None) != (end is None):
            raise SettingsError("insights dates", "are half given", next_step="give start and end, or neither.")
        Questions(filters=tuple(filters))
        params = [(name, value.isoformat()) for name, value in (("startDate", start), ("endDate", end)) if value]
        params += [("range", preset)] if preset else []
        params += [("filters", _filters(filters))] if filters else []
        params += [(name, str(value)) for name, value in (("cursor", cursor), ("limit", limit)) if value is not None]
        self._verify_once(None)
        return self._answer(self._path("/insights/{project}/") + segment(route), params, f"insights {route}")

    def chart(self, chart: Chart, *, start: datetime | None = None, end: datetime | None = None) -> Any:
        """One chart's answer, parsed and otherwise untouched.

        Args:
            start, end: instants with a zone, both or none; with none the chart's ``range`` counts, or 30 days.
        """
        if (start is None) != (end is None):
            raise SettingsError("chart dates", "are half given", next_step="give start and end, or neither.")
        Questions(charts=(msgspec.structs.replace(chart, range=""),))
        params = self._chart_params(chart, chart.series)
        if start and end:
            params += [("startDate", _zulu(start)), ("endDate", _zulu(end))]
        elif chart.range:
            params += [("range", chart.range)]
        return self._answer("/export/charts", params, f"chart {chart.name!r}")

    # ---------- asking

    def _chart_params(self, chart: Chart, series: Sequence[Series]) -> list[tuple[str, str]]:
        return [
            ("projectId", quoted(self._project_id)),
            ("events", json.dumps([one.asked() for one in series])),
            ("breakdowns", json.dumps([{"name": name} for name in chart.breakdowns])),
            ("interval", chart.interval),
            ("previous", "true" if chart.previous else "false"),
        ]

    def _verify_once(self, meter: Meter | None) -> None:
        if not self._verified:
            self._verify(meter)
            self._verified = True

    def _head(self, asked: _Day) -> Row:
        return {"projectId": self._project_id, "date": asked.day.isoformat()}

    def _path(self, path: str, dimension: str = "") -> str:
        return path.format(project=segment(self._project_id), dimension=dimension)

    def _list(self, path: str, params: Sequence[tuple[str, str]], asked: _Day) -> list[Row]:
        answer = self._get(path, params, asked)
        if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
            raise _shape(path, "a list of objects", answer, asked.where)
        return answer

    def _get(self, path: str, params: Sequence[tuple[str, str]], asked: _Day) -> Any:
        return self._answer(path, params, asked.where, asked.meter)

    def _answer(self, path: str, params: Sequence[tuple[str, str]], where: str, meter: Meter | None = None) -> Any:
        body = self._http.get(path, params, where=where, meter=meter)
        try:
            return parsed(body)
        except (ValueError, RecursionError) as fault:
            raise _shape(path, "JSON", str(fault), where) from None


def _not_asked(funnel: Funnel) -> str:
    """What a funnel is configured with and the older route has no parameter for."""
    usual = Funnel(name="", steps=())
    own = [name for name in ("window_hours", "group_by") if getattr(funnel, name) != getattr(usual, name)]
    words = " and ".join(f"{name} {getattr(funnel, name)}" for name in own)
    return f"funnel {funnel.name!r} was counted without {words}, which this server's route does not know" if own else ""


def _pages(answers: Iterable[_Answer], stream: Stream, where: str) -> Iterator[Page]:
    announced = 0
    for number, answer in enumerate(answers, start=1):
        rows = read_rows(json.dumps(answer.rows, ensure_ascii=False).encode(), stream, where=where)
        announced += len(rows.keys)  # no answer tells more than its own rows, and the last page speaks for the day
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


def _row(*parts: Mapping[Any, Any]) -> Row:
    """Parts of an answer as one row; a later part wins."""
    return {str(key): value for part in parts for key, value in part.items()}


def _insight_params(asked: _Day, filters: Sequence[Filter]) -> list[tuple[str, str]]:
    window = asked.stream.window
    params = [(window.start, asked.day.isoformat()), (window.end, asked.day.isoformat())]
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


def _shape(path: str, expected: str, got: object, where: str) -> ContractError:
    return ContractError(
        f"{path} should answer {expected} and answered {excerpt(json.dumps(got, default=str), 160)}",
        where=where,
        next_step="check OPENPANEL_API_URL; if it is right, the server's format changed: report this message.",
    )
