"""Computes which instants a chart request names, so that a chart's day is exactly the organization's day.

The server counts from instant to instant, both included, in whole seconds, and labels points in local time without a
zone. Nothing is sent here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from connector.catalogue.reports import Chart

_STEP = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)


def period_of(chart: Chart, day: date) -> tuple[date, date] | None:
    """The first and last local day that a partition of a chart covers; None if no point belongs to it.

    A point of several days belongs to the partition of its last day, because it is complete only then.
    """
    if chart.range:
        return _preset(chart.range, day)
    match chart.interval:
        case "week":
            return (day - 6 * _DAY, day) if day.weekday() == 6 else None
        case "month":
            return (day.replace(day=1), day) if (day + _DAY).day == 1 else None
        case _:
            return (day, day)


@dataclass(frozen=True)
class ChartRequest:
    """One request for a part of a period.

    Attributes:
        start, end: instants, as sent.
        offset: the zone's UTC offset, the same in the whole request.
        since: set after the clocks went back: only events from here on. The server turns instants into local time, in
            which the repeated hour means its first occurrence; only a filter can select the second one.
    """

    start: datetime
    end: datetime
    offset: timedelta
    since: datetime | None = None


def chart_requests(chart: Chart, period: tuple[date, date], zone: ZoneInfo) -> Iterator[ChartRequest]:
    """The requests for a period.

    It is one, unless points are shorter than a day and the clocks change: then one per UTC offset, because the server
    merges two hours with the same label. The end is the next midnight, not a second before it, which would lose events
    of the day's last second. The point that begins at that midnight is not due and is dropped.
    """
    start, end = _midnight(period[0], zone), _midnight(period[1] + _DAY, zone)
    if chart.interval not in _STEP:
        yield ChartRequest(start, end, _offset(start, zone))
        return
    before = _offset(start, zone)
    while start < end:
        change, offset = _next_change(start, end, zone), _offset(start, zone)
        until = change - _SECOND if change < end else end
        back = before - offset
        repeats = back > timedelta()
        yield ChartRequest(start - back if repeats else start, until, offset, start if repeats else None)
        start, before = change, offset


def due_points(chart: Chart, request: ChartRequest, zone: ZoneInfo) -> dict[str, datetime]:
    """Label -> instant of every point that is due in the answer to one request."""
    due: dict[str, datetime] = {}
    start = request.since or request.start
    if step := _STEP.get(chart.interval):
        while start < request.end:
            due[_label((start + request.offset).replace(tzinfo=None))] = start
            start += step
        return due
    day, last = start.astimezone(zone).date(), (request.end - _SECOND).astimezone(zone).date()
    while day <= last:
        first = {"week": day - day.weekday() * _DAY, "month": day.replace(day=1)}.get(chart.interval, day)
        due[_label(datetime.combine(first, time()))] = _midnight(first, zone)
        day += _DAY
    return due


@dataclass(frozen=True)
class Buckets:
    """The buckets of the answer to one request, for labels in local time and labels in UTC.

    Attributes:
        due: label -> instant of every point that is due.
        local_times, instants: local time, and instant, of every bucket -> its label in ``due``. The label is "" for
            buckets that are answered but not due: the one that begins at the period's end, and those before ``since``.
    """

    due: dict[str, datetime]
    local_times: Mapping[str, str]
    instants: Mapping[datetime, str]

    @property
    def first(self) -> str:
        return next(iter(self.due), "")

    @property
    def last(self) -> str:
        return next(reversed(self.due), "")


def buckets(chart: Chart, request: ChartRequest, zone: ZoneInfo) -> Buckets:
    """The buckets of the answer to one request."""
    due = due_points(chart, request, zone)
    beside = [request.end]
    if request.since is not None and (step := _STEP.get(chart.interval)):
        beside += [request.start + number * step for number in range((request.since - request.start) // step)]
    # If the clocks skip midnight, some servers label the day with midnight, others with its first existing time.
    local_times = {_local(at, zone): "" for at in beside} | {_local(at, zone): label for label, at in due.items()}
    return Buckets(
        due,
        local_times | {label: label for label in due},
        dict.fromkeys(beside, "") | {at: label for label, at in due.items()},
    )


def _local(at: datetime, zone: ZoneInfo) -> str:
    return _label(at.astimezone(zone).replace(tzinfo=None))


def _preset(name: str, day: date) -> tuple[date, date]:
    """The days of a server's preset at the end of ``day``. "7d" begins seven days back, so it covers eight days."""
    first = day.replace(day=1)
    match name:
        case "today":
            return day, day
        case "yesterday":
            return day - _DAY, day - _DAY
        case "7d" | "30d":
            return day - int(name[:-1]) * _DAY, day
        case "3m" | "6m" | "12m":
            return _months_back(first, int(name[:-1])), day
        case "lastMonth":
            return _months_back(first, 1), first - _DAY
        case "yearToDate":
            return day.replace(month=1, day=1), day
        case "lastYear":
            return date(day.year - 1, 1, 1), date(day.year - 1, 12, 31)
        case _:
            return first, day


def _months_back(first: date, months: int) -> date:
    month = first.year * 12 + first.month - 1 - months
    return date(month // 12, month % 12 + 1, 1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _next_change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """The first instant after ``start`` with another UTC offset, or ``end``. Offsets change at full quarter hours."""
    at = start
    while at < end and _offset(at, zone) == _offset(start, zone):
        at += timedelta(minutes=15)
    return min(at, end)


def _label(local: datetime) -> str:
    return local.strftime("%Y-%m-%d %H:%M:%S")
