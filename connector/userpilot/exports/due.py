"""Which exports a night asks for. Dagster's schedule and `connector nightly` follow these rules alike."""

from collections.abc import Collection
from datetime import date, timedelta

from connector.nights import between, ranges
from connector.warehouse.coverage import Landed

# Longer ranges are asked for in pieces.
DAYS_A_JOB = 92
# With that of the last days; the rest waits for the next night.
JOBS_A_NIGHT = 4
# Days before yesterday that are exported again: imports and deletions change the past.
LOOKBACK = 3


def exports_due(
    newest: tuple[date, date],
    landed: Landed | None,
    under_way: Collection[date],
    *,
    start: date,
    days_a_job: int = DAYS_A_JOB,
    jobs_a_night: int = JOBS_A_NIGHT,
) -> list[tuple[date, date]]:
    """Ranges of days to export, both ends included, in the order in which to ask.

    The last days come first; then gaps between landed days, the oldest first and those that have failed last; then the
    days before the first landed one, the newest first.

    Args:
        newest: the lookback and yesterday, see :func:`connector.nights.last_days`.
        landed: what the receipts say of the table; None while that cannot be told.
        under_way: days that something is about to land.
        start: the first partition.
    """
    first, last = newest
    wanted = set(between(first, last))
    if landed is not None:
        here = landed.ended("UTC").union(under_way)
        wanted |= {day for day in between(start, first - timedelta(days=1)) if day not in here}
    *older, last_piece = (piece for stretch in ranges(wanted) for piece in _pieces(*stretch, days_a_job))
    if landed is not None:
        older.sort(key=lambda piece: _turn(piece, landed))
    return [last_piece, *older][:jobs_a_night]


def _turn(piece: tuple[date, date], landed: Landed) -> tuple[bool, int, int]:
    """Gaps before what was never landed at all; gaps that have not failed, and old ones, before others."""
    first, last = piece
    is_gap = bool(landed.days) and first > min(landed.days)
    failed = max((times for day, times in landed.failed.items() if first <= day <= last), default=0)
    return not is_gap, failed, first.toordinal() if is_gap else -first.toordinal()


def _pieces(first: date, last: date, longest: int) -> list[tuple[date, date]]:
    """A range in pieces, counted from its end, so that the newest days are always in one."""
    ends = [last - timedelta(days=back) for back in range(0, (last - first).days + 1, longest)]
    return [(max(end - timedelta(days=longest - 1), first), end) for end in reversed(ends)]
