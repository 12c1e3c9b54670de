"""Which days a night asks for: yesterday, the days before it again, and older days that never landed.

Dagster's schedules and `connector nightly` follow these rules alike. The receipts of the warehouse decide, so a day
counts as landed whatever landed it. Nothing is asked here.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar
from zoneinfo import ZoneInfo

from connector.stream import Stream

# What only reads days needs no DuckDB.
if TYPE_CHECKING:
    from connector.warehouse.coverage import Landed

# The vendor allows 100 requests in 10 seconds; sensors, and each night's missing days, may use a fifth of them.
REQUESTS_IN_WINDOW, SHARE = 100, 0.2
# So many missing days a night cost about an hour at that share; the rest waits for the next night.
REQUESTS_A_NIGHT = int(REQUESTS_IN_WINDOW * SHARE * 360)
# Days that stand alone are a run each, and a queue of hundreds would keep the nightly days waiting.
RANGES_A_NIGHT = 20

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Missing(Generic[Key]):
    """Missing days of one table, oldest first, with what its receipts say; ``key`` is the caller's name for it."""

    key: Key
    days: Sequence[date]
    landed: "Landed"


def last_days(at: datetime, timezone: str, *, start: date, lookback: int) -> tuple[date, date] | None:
    """The lookback and yesterday, both ends included; None if the first partition has not ended.

    Args:
        at: when the night begins.
        timezone: of the days; one that has not ended there is not asked for.
        start: the first partition.
        lookback: days before yesterday.
    """
    last = (at.astimezone(ZoneInfo(timezone)) - timedelta(days=1)).date()
    return None if last < start else (max(last - timedelta(days=lookback), start), last)


def lookback_of(streams: Iterable[Stream]) -> int:
    """Days before yesterday that a night lands again: the longest that a stream of the catalogue asks for."""
    return max(stream.lookback_days for stream in streams)


def missed(
    missing: Collection[Missing[Key]],
    under_way: Callable[[Key], Collection[date]],
    *,
    before: date,
    requests: int = REQUESTS_A_NIGHT,
) -> list[tuple[date, date, list[Key]]]:
    """Ranges of missing days and the tables that miss them, as many as a night's requests allow.

    Oldest first, days that have failed behind those that have not: one that fails for ever keeps no other from landing.

    Args:
        under_way: days of a table that something is about to land; they are left out.
        before: days from here on are asked for anyway.
        requests: of the vendor's, for all of them together.
    """
    waiting = []
    for place, one in enumerate(missing):
        taken = under_way(one.key)
        cost = max(one.landed.requests, 1.0)
        waiting += [
            (one.landed.failed.get(day, 0), day, cost, place) for day in one.days if day < before and day not in taken
        ]
    chosen: dict[date, set[int]] = {}
    spent = 0.0
    for _, day, cost, place in sorted(waiting):
        if spent and spent + cost > requests:
            break
        spent += cost
        chosen.setdefault(day, set()).add(place)
    keys = [one.key for one in missing]
    groups: dict[frozenset[int], list[date]] = {}
    for day, places in chosen.items():
        groups.setdefault(frozenset(places), []).append(day)
    found = [
        (first, last, [keys[place] for place in sorted(places)])
        for places, days in groups.items()
        for first, last in ranges(days)
    ]
    return sorted(found, key=lambda piece: piece[0])[:RANGES_A_NIGHT]


def ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Days as contiguous ranges, both ends included."""
    found: list[tuple[date, date]] = []
    for day in sorted(days):
        if found and day - found[-1][1] == timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def listed(days: Iterable[date]) -> str:
    """Days for people: ``2026-03-01..2026-03-04, 2026-03-06``."""
    return ", ".join(f"{first}" if first == last else f"{first}..{last}" for first, last in ranges(days))


def between(first: date, last: date) -> list[date]:
    """Every day of a range, both ends included."""
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
