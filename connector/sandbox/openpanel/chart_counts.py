"""The counts of a chart: the events of one series by breakdown values and buckets.

The faults of the real query are repeated here. An empty breakdown value is dropped and the next value takes its
position. Of two buckets with the same label only the first is shown. An empty bucket of a breakdown by country makes
an extra series named by two NULs. Property values that are not numbers are left out.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from connector.sandbox.openpanel.filters import ALIASES, NUMBERS, TEXTS, compile_filters
from connector.sandbox.openpanel.periods import Buckets, Period
from connector.sandbox.openpanel.report_query import SeriesQuery
from connector.sandbox.openpanel.rounding import Number, plain
from connector.sandbox.openpanel.store import NO_COUNTRY, UTM, Event, Group, Project, flat

Label = Callable[[Event, Group | None], str]
ANYTHING = "*"


@dataclass
class Line:
    """One series of an answer: its names, and the counts by label in order of time."""

    names: list[str]
    counts: dict[str, Number]
    people: int = 0


@dataclass
class _Cell:
    """What one bucket of one combination of breakdown values has collected."""

    events: int = 0
    people: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    values: list[float] = field(default_factory=list)


class Counting:
    """Counts the events of one series."""

    def __init__(self, project: Project, series: SeriesQuery, breakdowns: list[str]) -> None:
        self.project = project
        self.series = series
        self.labels = [(name, found) for name in breakdowns if (found := _label(name, project)) is not None]
        self.segment = series.segment
        self._by_group = self.segment == "group" or any(name.startswith("group.") for name, _ in self.labels)
        self._times = compile_filters(series.filters, project) if series.filters else None
        self._value = _value(series.property) if self.segment.startswith("property_") else None

    def cells(self, period: Period, buckets: Buckets) -> tuple[dict[tuple[str, ...], dict[int, _Cell]], dict[Any, int]]:
        """The cells by breakdown values and bucket, and the numbers of distinct people by breakdown values."""
        cells: dict[tuple[str, ...], dict[int, _Cell]] = {}
        people: dict[tuple[str, ...], set[str]] = {}
        labels = [read for _, read in self.labels]
        value, last_of = self._value, self.segment == "one_event_per_user"
        seen: set[str] = set()
        low, high, place = 0, 0, 0  # the current bucket; the next event is usually in it too
        for event, group in self._rows(period):
            if last_of:
                if event.profile_id in seen:
                    continue
                seen.add(event.profile_id)
            number = None
            if value is not None:
                number = value(event)
                if number is None:
                    continue
            if not low <= event.at < high:
                place = buckets.place(event.at)
                low = buckets.starts[place]
                high = buckets.starts[place + 1] if place + 1 < len(buckets.starts) else low + 1
            key = tuple([read(event, group) for read in labels]) if labels else ()
            by_place = cells.get(key)
            if by_place is None:
                by_place, people[key] = cells.setdefault(key, {}), set()
            cell = by_place.get(place)
            if cell is None:
                cell = by_place[place] = _Cell()
            cell.events += 1
            people[key].add(event.profile_id)
            match self.segment:
                case "user" | "user_average":
                    cell.people.add(event.profile_id)
                case "session":
                    cell.sessions.add(event.session_id)
                case "group":
                    cell.groups.add(group.id if group else "")
            if number is not None:
                cell.values.append(number)
        return cells, {key: len(found) for key, found in people.items()}

    def _rows(self, period: Period) -> Iterator[tuple[Event, Group | None]]:
        """The events of the series, newest first. A series by group has each event once per matching group."""
        name, times = self.series.name, self._times
        for part in self.project.events.parts(period.since, period.until + 1):
            for event in part:
                if name not in (ANYTHING, event.name):
                    continue
                count = 1 if times is None else times(event)
                if not count:
                    continue
                if self._by_group:
                    for group_id in event.groups:
                        group = self.project.groups.get(group_id)
                        yield event, group or Group(id=group_id, type="", name="")
                else:
                    for _ in range(count):
                        yield event, None

    def count(self, cell: _Cell) -> Number:
        """The number shown for a cell."""
        match self.segment:
            case "user":
                return len(cell.people)
            case "session":
                return len(cell.sessions)
            case "group":
                return len(cell.groups)
            case "user_average":
                return plain(cell.events / len(cell.people))
        if self._value is None:
            return cell.events
        match self.segment:
            case "property_average":
                return plain(sum(cell.values) / len(cell.values))
            case "property_max":
                return plain(max(cell.values))
            case "property_min":
                return plain(min(cell.values))
        return plain(sum(cell.values))


def lines(project: Project, series: SeriesQuery, breakdowns: list[str], period: Period, buckets: Buckets) -> list[Line]:
    """The series of one definition on the real server. A definition without events has no series."""
    counting = Counting(project, series, breakdowns)
    cells, people = counting.cells(period, buckets)
    if not cells and not buckets.filled and breakdowns:  # without any row, the vendor asks again without breakdowns
        counting = Counting(project, series, [])
        cells, people = counting.cells(period, buckets)
    taken = {place for by_place in cells.values() for place in by_place}
    places = [place for place in range(len(buckets.starts)) if place < buckets.filled or place in taken]
    shown = dict.fromkeys([buckets_label(buckets, place) for place in places], 0)  # two buckets may have one label
    merged: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for key in cells:
        merged.setdefault((series.name, *filter(None, key)), []).append(key)
    found = []
    for names, keys in merged.items():
        counts: dict[str, Number] = {}
        for key in keys:
            for place, cell in sorted(cells[key].items()):
                counts.setdefault(buckets_label(buckets, place), counting.count(cell))
        total = 0 if counting.segment == "one_event_per_user" else people[keys[0]]
        found.append(Line(list(names), {label: counts.get(label, 0) for label in shown}, total))
    phantom = [NO_COUNTRY for name, _ in counting.labels if name == "country"]
    if phantom and any(place not in taken for place in range(buckets.filled)):
        found.append(Line(phantom, {**shown}))
    return found


def documented_lines(
    project: Project, series: SeriesQuery, breakdowns: list[str], period: Period, buckets: Buckets
) -> list[Line]:
    """The series as documented: no bucket is missing, and there is always a series."""
    counting = Counting(project, series, breakdowns)
    cells, people = counting.cells(period, buckets)
    if not cells and not breakdowns:
        cells, people = {(): {}}, {(): 0}
    return [
        Line(
            [series.name, *key],
            {
                str(at): counting.count(by_place[at]) if at in by_place else 0  # two labels may be equal
                for at in range(len(buckets.starts))
            },
            people[key],
        )
        for key, by_place in cells.items()
    ]


def buckets_label(buckets: Buckets, place: int) -> str:
    """Local wall time without a zone."""
    return f"{buckets.walls[place]:%Y-%m-%d %H:%M:%S}"


def _label(name: str, project: Project) -> Label | None:
    """A reader of breakdown values; None for a name that the vendor ignores."""
    column = ALIASES.get(name, name)
    if name in UTM:
        name = f"properties.__query.{name}"
    if column in TEXTS:
        return lambda event, _: str(getattr(event, column))
    if column in NUMBERS:
        return lambda event, _: "" if getattr(event, column) is None else str(getattr(event, column))
    if name == "has_profile":
        return lambda event, _: "true" if event.profile_id != event.device_id else "false"
    if name.startswith("properties."):
        key = name.removeprefix("properties.")
        return lambda event, _: str(event.properties.get(key, ""))
    if name.startswith("profile."):
        return _of_person(name.removeprefix("profile."), project)
    if name in ("group.name", "group.type"):
        part = name.removeprefix("group.")
        return lambda _, group: getattr(group, part, "")
    if name.startswith("group.properties."):
        key = name.removeprefix("group.properties.")
        return lambda _, group: group.properties.get(key, "") if group else ""
    return None


def _of_person(name: str, project: Project) -> Label | None:
    known: dict[str, str] = {}  # flatten the properties of each person only once

    def read(event: Event, _: Group | None) -> str:
        found = known.get(event.profile_id)
        if found is None:
            profile = project.profiles.get(event.profile_id)
            if profile is None:
                found = ""
            elif name.startswith("properties."):
                found = flat(profile.properties).get(name.removeprefix("properties."), "")
            else:
                found = str(getattr(profile, name))
            known[event.profile_id] = found
        return found

    return read if name.startswith("properties.") or name in ("id", "email", "first_name", "last_name") else None


def _value(name: str | None) -> Callable[[Event], float | None] | None:
    """A reader of the numbers of a property; None for names where the vendor silently counts events instead."""
    if name is None:
        return None
    if name.startswith("properties."):
        key = name.removeprefix("properties.")
        return lambda event: _float(event.properties.get(key))
    if name in NUMBERS:
        return lambda event: _float(getattr(event, name))
    return None


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
