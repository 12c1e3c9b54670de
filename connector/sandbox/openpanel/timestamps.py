"""Instants and days as the vendor reads and writes them.

An instant is always a whole number of milliseconds since 1970 UTC. Nothing here reads a clock.
"""

import calendar
import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_JS_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?\s*(Z|[+-]\d\d:?\d\d)?)?"
)
_CLICKHOUSE = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?")


def as_ms(value: str | datetime | int) -> int:
    """Milliseconds of an ISO text (without a zone: UTC) or of a datetime; a number is returned unchanged."""
    if isinstance(value, int):
        return value
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MS


def iso(ms: int) -> str:
    """``2024-04-15T23:59:05.123Z``."""
    whole, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def day_of(ms: int) -> date:
    """The UTC day."""
    return datetime.fromtimestamp(ms // 1000, UTC).date()


def midnight(day: date, zone: str = "UTC") -> int:
    """The instant at which a day begins in a zone."""
    return as_ms(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)))


def js_date(text: str) -> int | None:
    """What ``new Date(text)`` makes of a text in a process that runs in UTC; None where it gives an invalid date.

    A day beyond the end of its month is a day of the next month, as in JavaScript. The free forms that JavaScript also
    accepts (``April 15``) count as invalid here.
    """
    match = _JS_DATE.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    if not (
        1 <= int(month or 1) <= 12 and 1 <= int(day or 1) <= 31 and int(minute or 0) < 60 and int(second or 0) < 60
    ):
        return None
    if int(hour or 0) > 24:
        return None
    days = calendar.timegm((int(year), int(month or 1), 1, 0, 0, 0)) + (int(day or 1) - 1) * 86_400
    seconds = days + int(hour or 0) * 3600 + int(minute or 0) * 60 + int(second or 0)
    if zone not in (None, "Z"):
        away = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds -= away if zone[0] == "+" else -away
    return seconds * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def clickhouse_time(text: str) -> int | None:
    """An instant as the event store compares it: ``YYYY-MM-DD HH:MM:SS[.mmm]``, UTC, no ``T``, no ``Z``."""
    match = _CLICKHOUSE.fullmatch(text)
    if match is None:
        return None
    day, time, fraction = match.groups()
    try:
        return as_ms(f"{day}T{time}") + int((fraction or "0").ljust(3, "0")[:3])
    except ValueError:
        return None
