"""Which instants to ask for, so that a chart's day is exactly the organization's day.

Charts count from instant to instant, both included, in whole seconds, and label their points in local time without a
zone. Nothing here asks; everything here is arithmetic on dates.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from connector.catalogue.reports import Chart

_STEP = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)


def window(chart: Chart, day: date) -> tuple[date, date] | None:
    """The first and last local day that a partition of a chart covers, or None if it has no point there.

    A point that spans several days belongs to the partition of its last day: only then is it complete.
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
class Ask:
    """One question of a period.

    Attributes:
        start, end: instants, both as sent.
        offset: the zone's distance from UTC, the same in the whole question.
        since: where the clocks went back: only events from here on. The server turns instants into wall time, in
            which the repeated hour means its first occurrence; the second one can be asked for only by a filter.
    """

    start: datetime
    end: datetime
    offset: timedelta
    since: datetime | None = None


def asks(chart: Chart, period: tuple[date, date], zone: ZoneInfo) -> Iterator[Ask]:
    """The questions a period takes.

    One, unless points are shorter than a day and the clocks change: then one per offset, because two hours with the
    same label come back as one. The end is the next midnight and not a second before it: events of a day's last
    second would fall between two days; the point that begins there is not due and is left out again.
    """
    start, end = _midnight(period[0], zone), _midnight(period[1] + _DAY, zone)
    if chart.interval not in _STEP:
        yield Ask(start, end, _offset(start, zone))
        return
    before = _offset(start, zone)
    while start < end:
        change, offset = _next_change(start, end, zone), _offset(start, zone)
        until = change - _SECOND if change < end else end
        back = before - offset
        yield Ask(start - back, until, offset, start) if back > timedelta() else Ask(start, until, offset)
        start, before = change, offset


def points(chart: Chart, ask: Ask, zone: ZoneInfo) -> dict[str, datetime]:
    """Label -> instant of every point due in the answer to one question."""
    due: dict[str, datetime] = {}
    start = ask.since or ask.start
    if step := _STEP.get(chart.interval):
        while start < ask.end:
            due[_label((start + ask.offset).replace(tzinfo=None))] = start
            start += step
        return due
    day, last = start.astimezone(zone).date(), (ask.end - _SECOND).astimezone(zone).date()
    while day <= last:
        first = {"week": day - day.weekday() * _DAY, "month": day.replace(day=1)}.get(chart.interval, day)
        due[_label(datetime.combine(first, time()))] = _midnight(first, zone)
        day += _DAY
    return due


@dataclass(frozen=True)
class Buckets:
    """The buckets one question is answered with, by both ways a label can be meant.

    Attributes:
        due: label -> instant of every point that is due.
        walls, instants: local time, and instant, of every bucket -> its label in ``due``; "" for one that is answered
            and not due: the one that begins with the period's end, and what is before ``since``.
    """

    due: dict[str, datetime]
    walls: Mapping[str, str]
    instants: Mapping[datetime, str]

    @property
    def first(self) -> str:
        return next(iter(self.due), "")

    @property
    def last(self) -> str:
        return next(reversed(self.due), "")


def buckets(chart: Chart, ask: Ask, zone: ZoneInfo) -> Buckets:
    """What the answer to one question can be labelled with."""
    due = points(chart, ask, zone)
    beside = [ask.end]
    if ask.since is not None and (step := _STEP.get(chart.interval)):
        beside += [ask.start + number * step for number in range((ask.since - ask.start) // step)]
    # Where the clocks skip midnight, a day's label is midnight for some and the first moment there is for others.
    walls = {_local(at, zone): "" for at in beside} | {_local(at, zone): label for label, at in due.items()}
    return Buckets(
        due,
        walls | {label: label for label in due},
        dict.fromkeys(beside, "") | {at: label for label, at in due.items()},
    )


def _local(at: datetime, zone: ZoneInfo) -> str:
    return _label(at.astimezone(zone).replace(tzinfo=None))


def _preset(name: str, day: date) -> tuple[date, date]:
    """A server's preset as of the end of ``day``: its "7d" is seven days back through today, eight days."""
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
    """The first instant after ``start`` with another UTC offset, or ``end``; changes happen on full quarters."""
    at = start
    while at < end and _offset(at, zone) == _offset(start, zone):
        at += timedelta(minutes=15)
    return min(at, end)


def _label(local: datetime) -> str:
    return local.strftime("%Y-%m-%d %H:%M:%S")
