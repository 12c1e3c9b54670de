"""The period of a report, and the buckets it is divided into.

The vendor reads the same two date parameters in four ways. Charts read instants and convert them to wall time of the
organisation. The documented Insights read whole local days, both included. The newer Insights read wall time exactly as
written, so a last day without a time is left out. The documentation promises whole local days everywhere. The event
export, whose days are UTC, does not use this module.
"""

import calendar
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from connector.sandbox.messages import RefusalError
from connector.sandbox.openpanel.answers import ServerWording, server_error
from connector.sandbox.openpanel.timestamps import DAY_MS, as_ms, js_date, midnight

Interval = Literal["minute", "hour", "day", "week", "month"]
RANGES = [
    *("30min", "lastHour", "last24h", "today", "yesterday", "7d", "30d", "3m", "6m", "12m"),
    *("monthToDate", "lastMonth", "yearToDate", "lastYear", "custom"),
]
_SAME = {
    "last_7_days": "7d",
    "last_30_days": "30d",
    "this_month": "monthToDate",
    "last_month": "lastMonth",
    "this_year": "yearToDate",
    "last_year": "lastYear",
}
DOCUMENTED_RANGES = [*RANGES, "90d", *_SAME, "all_time"]
_STEPS = {"minute": 60_000, "hour": 3_600_000}
_DATE_LENGTH = len("2026-03-04")


@dataclass(frozen=True)
class Period:
    """Wall time in a zone, both ends included. Events after the beginning of the last second are not in it."""

    first: datetime
    last: datetime
    zone: str

    @property
    def since(self) -> int:
        """The first instant."""
        return as_ms(self.first.replace(tzinfo=ZoneInfo(self.zone)))

    @property
    def until(self) -> int:
        """The last instant."""
        return as_ms(self.last.replace(tzinfo=ZoneInfo(self.zone)))

    def previous(self) -> "Period":
        """The period before, for comparison. An odd length in seconds makes it begin and end one second earlier."""
        length = self.last - self.first
        if length.total_seconds() % 2:
            length += timedelta(milliseconds=1)
        earlier = [(end - length).replace(microsecond=0) for end in (self.first, self.last)]
        return Period(earlier[0], earlier[1], self.zone)


# ---------- what is asked for


def chart_period(start: str | None, end: str | None, range_: str, now: int, zone: str) -> Period:
    """Charts: instants (a day means midnight UTC), converted to whole seconds of wall time. A lone start is ignored."""
    return _period(_instant(start, zone), _instant(end, zone), range_, now, zone)


def local_period(start: str | None, end: str | None, range_: str, now: int, zone: str) -> Period:
    """The documented Insights: whole local days, both included. A lone start is ignored."""
    return _period(_wall(start, time(0, 0)), _wall(end, time(23, 59, 59)), range_, now, zone)


def newer_period(start: str | None, end: str | None, range_: str | None, now: int, zone: str) -> Period:
    """The newer Insights: wall time as written, so a last day without a time is left out. Default: thirty days."""
    if range_ is not None and not start:
        return local_period(None, end, range_, now, zone)
    today = datetime.fromtimestamp(now // 1000, UTC).replace(tzinfo=None)
    midnight_of = datetime.combine
    first = _wall(start, time(0, 0)) or midnight_of(today.date() - timedelta(days=30), time(0, 0))
    last = _wall(end, time(0, 0)) or midnight_of(today.date(), time(0, 0))
    return Period(first, last, zone)


def documented_period(
    start: str | None, end: str | None, range_: str, now: int, zone: str, wording: ServerWording
) -> Period:
    """As documented: local days, both included; each end may be given alone."""
    ends = []
    for name, text, default in (("startDate", start, time(0, 0)), ("endDate", end, time(23, 59, 59))):
        if text is not None and js_date(text) is None:
            raise RefusalError(wording.invalid("querystring", [(name, "Invalid date")]))
        ends.append(_wall(text, default))
    usual = _documented_range(range_, now, zone)
    return Period(ends[0] or usual[0], ends[1] or usual[1], zone)


def _period(first: datetime | None, last: datetime | None, range_: str, now: int, zone: str) -> Period:
    if first is not None and last is not None:
        return Period(first, last, zone)
    usual = preset(range_, now, zone)
    return Period(usual[0], last or usual[1], zone)


def _instant(text: str | None, zone: str) -> datetime | None:
    if not text:
        return None
    moment = js_date(text)
    if moment is None:
        raise RefusalError(server_error())
    return datetime.fromtimestamp(moment // 1000, ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def _wall(text: str | None, of_day: time) -> datetime | None:
    """A day at ``of_day``; or a time, which is converted to UTC and then read as wall time."""
    if not text:
        return None
    moment = js_date(text)
    if moment is None:
        raise RefusalError(server_error())
    wall = datetime.fromtimestamp(moment // 1000, UTC).replace(tzinfo=None)
    return datetime.combine(wall.date(), of_day) if len(text) == _DATE_LENGTH else wall


def preset(range_: str, now: int, zone: str) -> tuple[datetime, datetime]:
    """First and last wall time of a named range. Most ranges include the next midnight."""

    def ago(days: int = 0, months: int = 0) -> datetime:
        moment = _months_before(datetime.fromtimestamp(now / 1000, UTC), months) - timedelta(days=days)
        return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)

    def start(day: date) -> datetime:
        return datetime.combine(day, time(0, 0))

    today = ago().date()
    tomorrow = start(today + timedelta(days=1))
    a_second = timedelta(seconds=1)
    match range_:
        case "30min" | "lastHour":
            minutes = timedelta(minutes=30 if range_ == "30min" else 60)
            this = ago().replace(second=0, microsecond=0)
            return this - minutes, this + timedelta(seconds=59)
        case "last24h":
            hour = ago().replace(minute=0, second=0, microsecond=0)
            return hour - timedelta(hours=24), hour + timedelta(minutes=59, seconds=59)
        case "today":
            return start(today), tomorrow - a_second
        case "yesterday":
            yesterday = start(ago(days=1).date())
            return yesterday, yesterday + timedelta(days=1) - a_second
        case "7d":
            return start(ago(days=7).date()), tomorrow
        case "3m" | "6m":
            return start(ago(months=int(range_[0])).date()), tomorrow
        case "12m":
            return start(ago(months=12).date().replace(day=1)), _month_after(today)
        case "monthToDate":
            return start(today.replace(day=1)), tomorrow
        case "lastMonth":
            month = ago(months=1).date().replace(day=1)
            return start(month), _month_after(month)
        case "yearToDate":
            return start(today.replace(month=1, day=1)), tomorrow
        case "lastYear":
            year = ago(months=12).year
            return datetime(year, 1, 1), datetime(year, 12, 31, 23, 59, 59)
    return start(ago(days=30).date()), tomorrow


def _documented_range(range_: str, now: int, zone: str) -> tuple[datetime, datetime]:
    """As documented: ``7d`` is seven days, and the last one ends before midnight."""
    name = "30d" if range_ == "custom" else _SAME.get(range_, range_)
    today = datetime.fromtimestamp(now / 1000, ZoneInfo(zone)).date()
    if name == "all_time":
        return datetime(2000, 1, 1), datetime.combine(today, time(23, 59, 59))
    if name.endswith("d") and name[:-1].isdigit():
        first = today - timedelta(days=int(name[:-1]) - 1)
        return datetime.combine(first, time(0, 0)), datetime.combine(today, time(23, 59, 59))
    first_wall, last_wall = preset(name, now, zone)
    return first_wall, last_wall if last_wall.second else last_wall - timedelta(seconds=1)


def _months_before(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1]))


def _month_after(day: date) -> datetime:
    return datetime.combine((day.replace(day=1) + timedelta(days=32)).replace(day=1), time(0, 0))


# ---------- buckets


def usual_interval(period: Period) -> Interval:
    """The interval the server chooses for a period."""
    if period.first.date() == period.last.date():
        return "hour"
    days = (period.last - period.first) / timedelta(days=1)
    return "day" if days <= 92 else "week" if days <= 186 else "month"


@dataclass(frozen=True)
class Buckets:
    """Consecutive buckets that cover a period.

    Attributes:
        starts: the instants at which they begin.
        walls: the same as wall time; two are equal on the day the clock goes back.
        filled: how many buckets, from the first on, are answered even if they are empty.
    """

    starts: list[int]
    walls: list[datetime]
    filled: int

    def place(self, at: int) -> int:
        """The bucket of an instant."""
        return bisect_right(self.starts, at) - 1


def chart_buckets(period: Period, interval: Interval) -> Buckets:
    """The buckets of charts. Weeks begin on Monday; the bucket that contains the end is not filled."""
    starts, walls = _cut(period, interval, first_weekday=0)
    return Buckets(starts, walls, max(0, bisect_right(starts, period.until) - 1))


def metric_buckets(period: Period, interval: Interval) -> Buckets:
    """The buckets of Insights. Weeks begin on Sunday; the last bucket is filled unless it begins at the end."""
    starts, walls = _cut(period, interval, first_weekday=6)
    if interval in ("week", "month"):
        filled = sum(wall.date() < period.last.date() for wall in walls)
    else:
        filled = bisect_left(starts, period.until)
    return Buckets(starts, walls, filled)


def _cut(period: Period, interval: Interval, first_weekday: int) -> tuple[list[int], list[datetime]]:
    since, until, zone = period.since, period.until, ZoneInfo(period.zone)
    if interval in _STEPS:
        step = _STEPS[interval]
        since -= (since + _offset(since, zone)) % step
        starts = list(range(since, until + 1, step))
        return starts, [datetime.fromtimestamp(at // 1000, zone).replace(tzinfo=None, fold=0) for at in starts]
    day = period.first.date()
    if interval == "week":
        day -= timedelta(days=(day.weekday() - first_weekday) % 7)
    elif interval == "month":
        day = day.replace(day=1)
    days = []
    while day <= period.last.date():
        days.append(day)
        if interval == "month":
            day = _month_after(day).date()
        else:
            day += timedelta(days=7 if interval == "week" else 1)
    return [midnight(day, period.zone) for day in days], [datetime.combine(day, time(0, 0)) for day in days]


def _offset(at: int, zone: ZoneInfo) -> int:
    away = datetime.fromtimestamp(at // 1000, zone).utcoffset()
    return int(away.total_seconds() * 1000) % DAY_MS if away else 0
