"""What changed in the properties of some days, compared with the four weeks before each of them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import takewhile
from typing import Literal

from connector.catalogue.properties import fits
from connector.warehouse.connection import MissingTableError, Warehouse
from connector.warehouse.sql import literal

MEMORY = timedelta(days=28)
# A rare property is absent on many days. It has vanished if so many rows would have had it by its share until then.
EXPECTED = 20

Rows = Mapping[date, int]
Kinds = Mapping[date, Mapping[str, int]]


@dataclass(frozen=True)
class Change:
    """One change: on which day, of which event and property, and a sentence about it.

    Attributes:
        property: empty if the event itself is new.
        what: ``new``, ``vanished`` or ``changed``.
    """

    day: date
    event: str
    property: str
    what: Literal["new", "vanished", "changed"]
    sentence: str


def changes(warehouse: Warehouse, table: str, days: Collection[date]) -> list[Change]:
    """New, vanished and changed properties of days that were looked at, by day, event and property.

    Only the days and the four weeks before each are read. The first day of a table tells nothing.

    Args:
        table: such as ``openpanel.events``.
    """
    if not days or not warehouse.exists():
        return []
    events, properties = _seen(warehouse, table, min(days) - MEMORY, max(days))
    known = sorted({day for rows in events.values() for day in rows})
    found: list[Change] = []
    for event, rows in events.items():
        for day in sorted(set(days) & set(rows)):
            if day == known[0]:
                continue
            before = [one for one in rows if day - MEMORY <= one < day]
            if not before:
                found.append(Change(day, event, "", "new", f"the event has {rows[day]} rows, and none before"))
                continue
            for name, kinds in properties[event].items():
                found.extend(_of_property(day, event, name, kinds, rows, before))
    return sorted(found, key=lambda one: (one.day, one.event, one.property))


def _seen(
    warehouse: Warehouse, table: str, first: date, last: date
) -> tuple[dict[str, dict[date, int]], dict[str, dict[str, dict[date, dict[str, int]]]]]:
    """Rows by event and day, and rows by event, property, day and kind."""
    where = f"where table_name = {literal(table)} and day between {literal(first)} and {literal(last)}"
    with warehouse.read() as connection:
        try:
            by_event = connection.execute(
                f"select event_name, day, rows from connector.event_days {where} order by all"
            ).fetchall()
            by_property = connection.execute(
                f"select event_name, property, day, kind, rows from connector.property_days {where} order by all"
            ).fetchall()
        except MissingTableError:
            return {}, {}
    events: dict[str, dict[date, int]] = defaultdict(dict)
    for event, day, rows in by_event:
        events[event][day] = rows
    properties: dict[str, dict[str, dict[date, dict[str, int]]]] = defaultdict(lambda: defaultdict(dict))
    for event, name, day, kind, rows in by_property:
        properties[event][name].setdefault(day, {})[kind] = rows
    return events, properties


def _of_property(
    day: date, event: str, name: str, kinds: Kinds, rows: Rows, before: Sequence[date]
) -> Iterator[Change]:
    had = [one for one in before if one in kinds]
    if day in kinds and not had:
        text = f"{sum(kinds[day].values())} of {rows[day]} rows have it, and none before; it fits {fits(kinds[day])}"
        yield Change(day, event, name, "new", text)
    elif day in kinds:
        yield from _of_kinds(day, event, name, kinds[day], _sum(kinds[one] for one in had))
    elif had and _vanished(day, kinds, rows, before, max(had)):
        text = f"no row has it since {max(had)}; before, {_share(kinds, rows, before, max(had)):.0%} had it"
        yield Change(day, event, name, "vanished", text)


def _of_kinds(day: date, event: str, name: str, now: Mapping[str, int], before: Mapping[str, int]) -> Iterator[Change]:
    """Changed if a value does not fit what all before fitted, or if values of a wider kind are missing."""
    was, all_of_them = fits(before), fits({**before, **now})
    if all_of_them != was:
        rows = sum(count for kind, count in now.items() if fits({**before, kind: 1}) != was)
        text = f"fitted {was}; {rows} of {sum(now.values())} values need {all_of_them}"
        yield Change(day, event, name, "changed", text)
        return
    narrow = fits(now)
    wider = sum(count for kind, count in before.items() if fits({**now, kind: 1}) != narrow)
    if narrow != was and wider / sum(before.values()) * sum(now.values()) >= EXPECTED:
        yield Change(day, event, name, "changed", f"fitted {was}; all {sum(now.values())} values fit {narrow}")


def _vanished(day: date, kinds: Kinds, rows: Rows, before: Sequence[date], last: date) -> bool:
    """Whether it is on this day that enough rows without the property have passed."""
    share = _share(kinds, rows, before, last)
    since = sum(rows[one] for one in before if one > last)
    return share * since < EXPECTED <= share * (since + rows[day])


def _share(kinds: Kinds, rows: Rows, before: Sequence[date], last: date) -> float:
    until = list(takewhile(lambda one: one <= last, before))
    return min(1.0, sum(sum(kinds.get(one, {}).values()) for one in until) / sum(rows[one] for one in until))


def _sum(several: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for one in several:
        for kind, count in one.items():
            found[kind] += count
    return dict(found)
