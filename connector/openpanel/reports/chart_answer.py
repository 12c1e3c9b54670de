"""What a chart's answer means: which series is whose, and which bucket a label names.

The published server and the vendor's page spell both differently. Whatever is answered is placed, or the landing fails
with a reason: a number that is left out would stand in the table as a zero. Nothing here asks.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from connector.catalogue.reports import Chart
from connector.errors import ContractError
from connector.openpanel.reports.chart_days import Buckets
from connector.redaction import excerpt

# By position: the published server counts A, B ... Z, series-26; the vendor's page evt1, evt2.
_IDS = re.compile(r"(?P<letter>[A-Z])|series-(?P<from0>\d{1,4})|evt(?P<from1>\d{1,4})", re.ASCII)
_ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$")
_NEVER = datetime.min.replace(tzinfo=UTC)
_REPORT = "report it with the server's version; leave this chart out until then."

Point = Mapping[str, Any]
# What to do with each label of an answer: its bucket among the ones that are due, or "" for one that is not.
Reading = Mapping[str, str]


@dataclass(frozen=True)
class Line:
    """One series of an answer.

    Attributes:
        at: which of the chart's series it is, from 0.
        breakdowns: breakdown -> value, as it lands.
        metrics: as sent.
        points: as sent.
    """

    at: int
    breakdowns: Mapping[str, object]
    metrics: object
    points: Sequence[Point]


def lines(sent: Sequence[Any], chart: Chart, where: str) -> tuple[list[Line], str]:
    """The series of an answer, no two of them alike, and a warning if that took a number.

    Raises:
        ContractError: a series has no points, or cannot be told to be one of the chart's.
    """
    told: dict[tuple[int, str], list[tuple[str, Line]]] = defaultdict(list)
    for one in sent:
        _check(one, where)
        if _phantom(one, chart):
            continue
        line = Line(_owner(one, chart, where), _breakdowns(one, chart), one.get("metrics"), one["data"])
        told[line.at, json.dumps(line.breakdowns)].append((_content(one), line))
    found: list[Line] = []
    for alike in told.values():
        if len(alike) > 1 and not chart.breakdowns:
            raise ContractError(
                f"{len(alike)} series of the answer are series {alike[0][1].at + 1} of the chart",
                where=where,
                next_step="ask them in charts of their own.",
            )
        # Their order is by size and says nothing; by content, the same answer gives the same rows again.
        ordered = [line for _, line in sorted(alike, key=lambda each: each[0])]
        found += [_numbered(line, number) for number, line in enumerate(ordered, start=1)]
    extra = len(found) - len(told)
    return found, f"{extra} series had the breakdowns of another and got a number" if extra else ""


def readings(told: Sequence[Line], buckets: Buckets, where: str) -> list[tuple[str, Reading]]:
    """Every way to read the labels that fits the whole answer; two only where they would differ.

    Published servers write local time, the vendor's page instants in UTC; both can end with a Z.

    Raises:
        ContractError: neither reading has a bucket for every label with a value.
    """
    points = [point for line in told for point in line.points]
    every = {str(point.get("date")) for point in points}
    valued = {str(point.get("date")) for point in points if _has_value(point)}
    ways: list[tuple[str, Reading]] = [
        ("local", {label: buckets.walls[wall] for label in every if (wall := _wall(label)) in buckets.walls}),
        ("instant", {label: buckets.instants[at] for label in every if (at := _instant(label)) in buckets.instants}),
    ]
    # Buckets of zeros help to tell the readings apart; where they belong to no question, they are nothing lost.
    fits = [way for way in ways if every <= way[1].keys()] or [way for way in ways if valued <= way[1].keys()]
    if not fits:
        in_none = valued - ways[0][1].keys()
        strange = min(in_none - ways[1][1].keys() or in_none)
        raise ContractError(
            f"a point is labelled {excerpt(strange, 40)!r}, which is no bucket of {buckets.first} to {buckets.last}",
            where=where,
            next_step="compare OPENPANEL_TIMEZONE with the organization's timezone; if they are the same, " + _REPORT,
        )
    same = all(fits[0][1][label] == fits[-1][1][label] for label in valued)
    return fits[:1] if same else fits


def placed(line: Line, reading: Reading, where: str) -> dict[str, Point]:
    """The points of a series by the bucket that is due.

    Raises:
        ContractError: two points are of one bucket.
    """
    found: dict[str, Point] = {}
    for point in line.points:
        bucket = reading.get(str(point.get("date")), "")
        if bucket and found.setdefault(bucket, point) != point:
            raise ContractError(f"two points of one series are of {bucket}", where=where, next_step=_REPORT)
    return found


def _check(one: object, where: str) -> None:
    """A series is an object with points that have a count; anything else would be read as zeros."""
    match one:
        case {"data": [*points], **rest} if all(isinstance(point, dict) and "count" in point for point in points):
            metrics = rest.get("metrics")
            if points or not isinstance(metrics, dict) or not metrics.get("sum"):
                return
    raise ContractError(
        "/export/charts should answer series whose data are points with a count and answered "
        + excerpt(json.dumps(one, default=str), 160),
        where=where,
        next_step="check OPENPANEL_API_URL; if it is right, the server's format changed: report this message.",
    )


def _owner(one: Mapping[str, Any], chart: Chart, where: str) -> int:
    """The chart's series an answered one belongs to: by its id where its name agrees, else by its name."""
    event = one.get("event")
    event = event if isinstance(event, dict) else {}
    name, at = event.get("name"), _position(event.get("id"))
    named = [number for number, series in enumerate(chart.series) if series.event == name]
    if at is not None and at < len(chart.series) and (at in named or not named):
        return at
    if len(named) == 1:
        return named[0]
    if name is None and len(chart.series) == 1:
        return 0
    said = excerpt(json.dumps([event.get("id"), name], default=str), 80)
    raise ContractError(
        f"a series of the answer, {said}, cannot be told to be one of the chart's",
        where=where,
        next_step="ask series of the same event in charts of their own."
        if named
        else "check that the server has the event; if it has, " + _REPORT,
    )


def _position(letter: object) -> int | None:
    found = _IDS.fullmatch(letter) if isinstance(letter, str) else None
    if found is None:
        return None
    if found["letter"]:
        return ord(found["letter"]) - ord("A")
    at = int(found["from0"]) if found["from0"] else int(found["from1"]) - 1
    return at if at >= 0 else None


def _content(one: object) -> str:
    """Everything an answered series says, what changes least first."""
    assert isinstance(one, dict)
    return json.dumps([one.get("id"), one.get("names"), one.get("event"), one], sort_keys=True)


def _numbered(line: Line, number: int) -> Line:
    """A later one of several series with the same breakdowns; "number" is the name of no breakdown."""
    return line if number == 1 else replace(line, breakdowns={**line.breakdowns, "number": number})


def _breakdowns(series: Mapping[str, Any], chart: Chart) -> dict[str, object]:
    """Breakdown -> value. Empty values are left out by the server and shift the rest to the wrong name.

    With one breakdown the missing value is null. With several, values that cannot be placed are told as a list.
    """
    if not chart.breakdowns:
        return {}
    names = series.get("names")
    values = [_known(value) for value in names[1:]] if isinstance(names, list) else []
    if len(values) == len(chart.breakdowns):
        return dict(zip(chart.breakdowns, values, strict=True))
    if len(chart.breakdowns) == 1 or not values:
        return dict.fromkeys(chart.breakdowns)
    return {"unplaced": values}


def _known(value: object) -> object:
    return None if value in ("", "\x00\x00") else value


def _phantom(series: Mapping[str, Any], chart: Chart) -> bool:
    """A series named by two NULs, without breakdowns and all zeros: the server's, not the visitors'."""
    event = series.get("event")
    has_breakdowns = isinstance(event, dict) and bool(event.get("breakdowns"))
    return bool(chart.breakdowns) and not has_breakdowns and not any(_has_value(point) for point in series["data"])


def _has_value(point: Point) -> bool:
    previous = point.get("previous")
    return bool(point["count"]) or (isinstance(previous, dict) and bool(previous.get("value")))


def _wall(label: str) -> str:
    """A label as local time in one spelling: servers write it with a blank, or only the date, others ISO with a Z."""
    text = _ZONE.sub("", label).split(".")[0].replace("T", " ")
    return f"{text} 00:00:00" if len(text) == 10 else text


def _instant(label: str) -> datetime:
    """A label as an instant; without a zone it is none, and in no bucket."""
    try:
        at = datetime.fromisoformat(label)
        return at.astimezone(UTC) if at.tzinfo else _NEVER
    except (ValueError, OverflowError):
        return _NEVER
