"""Days as they are typed: ``2026-03-04``, ``today``, ``yesterday``; ``--days 7`` are the last seven closed ones."""

import argparse
import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from connector.errors import RejectedError, SettingsError
from connector.nights import between

_BACK = {"today": 0, "yesterday": 1}
Day = date | int  # an int: so many days before today, in whatever timezone the stream has its days


def add_days(parser: argparse.ArgumentParser, kind: str = "") -> None:
    """Add ``--from``, ``--to`` and ``--days``."""
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument(
        "--from", dest="first", type=parse_day, metavar="DAY", help=f"first {kind}day: YYYY-MM-DD, yesterday or today"
    )
    wanted.add_argument("--days", type=_positive, metavar="N", help="the last N days, ending with --to")
    parser.add_argument(
        "--to", dest="last", type=parse_day, metavar="DAY", help="last day, included; yesterday, or --from, if left out"
    )


def parse_day(text: str) -> Day:
    if text in _BACK:
        return _BACK[text]
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write YYYY-MM-DD, yesterday or today") from None


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days; write 7")
    return int(text)


def not_negative(text: str) -> float:
    """A number of seconds or days from a command line."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return number


@dataclass(frozen=True)
class Days:
    """The days that a command was asked for."""

    first: Day | None
    last: Day | None
    count: int | None

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Days":
        return cls(options.first, options.last, options.days)

    def range(self, timezone: str) -> tuple[date, date]:
        """First and last day, both included, as a timezone has them now.

        Raises:
            SettingsError: the last day is before the first.
            RejectedError: the last day is in the future.
        """
        today = datetime.now(ZoneInfo(timezone)).date()

        def day(given: Day) -> date:
            return today - timedelta(days=given) if isinstance(given, int) else given

        yesterday = today - timedelta(days=1)
        first = day(self.first) if self.first is not None else None
        last = day(self.last) if self.last is not None else max(first or yesterday, yesterday)
        if first is None:
            first = last - timedelta(days=(self.count or 1) - 1)
        if last < first:
            raise SettingsError("--to", f"is {last}, before --from", next_step="swap the two days.")
        if last > today:
            raise RejectedError(
                f"the last day {last} is in the future.", where="--to", next_step=f"ask for days up to {today}."
            )
        return first, last

    def list(self, timezone: str) -> list[date]:
        """Every day of :meth:`range`."""
        return between(*self.range(timezone))
