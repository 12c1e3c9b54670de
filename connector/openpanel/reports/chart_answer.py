"""Reads a chart's answer: which series of the chart each series belongs to, and which bucket each label means.

The published server and the vendor's page write both differently. Every answered number gets its place, or the landing
fails with the reason: a number that was left out would land as a zero. Nothing is sent here.
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
# Label of an answer -> the bucket that is due, or "" for a bucket that is not due.
BucketOfLabel = Mapping[str, str]


@dataclass(frozen=True)
class AnsweredSeries:
    """One series of an answer.

    Attributes:
        index: which of the chart's series it is, from 0.
        breakdowns: breakdown -> value, as it lands.
        metrics: as sent.
        points: as sent.
    """

    index: int
    breakdowns: Mapping[str, object]
    metrics: object
    points: Sequence[Point]


def parse_series(sent: Sequence[Any], chart: Chart, where: str) -> tuple[list[AnsweredSeries], str]:
    """The series of an answer with unique breakdowns, and a warning if a number had to be added to some.

    Raises:
        ContractError: a series has no points, or does not belong to exactly one of the chart's series.
    """
    alike_series: dict[tuple[int, str], list[tuple[str, AnsweredSeries]]] = defaultdict(list)
    for one in sent:
        _check(one, where)
        if _is_made_up(one, chart):
            continue
        index, breakdowns = _index_of_series(one, chart, where), _breakdowns(one, chart)
        series = AnsweredSeries(index, breakdowns, one.get("metrics"), one["data"])
        alike_series[series.index, json.dumps(series.breakdowns)].append((_content(one), series))
    found: list[AnsweredSeries] = []
    for alike in alike_series.values():
        if len(alike) > 1 and not chart.breakdowns:
            raise ContractError(
                f"{len(alike)} series of the answer are series {alike[0][1].index + 1} of the chart",
                where=where,
                next_step="put them into separate charts.",
            )
        # The server orders series by size. Ordered by content, the same answer gives the same rows again.
        ordered = [series for _, series in sorted(alike, key=lambda each: each[0])]
        found += [_with_number(series, number) for number, series in enumerate(ordered, start=1)]
    extra = len(found) - len(alike_series)
    return found, f"{extra} series had the breakdowns of another and got a number" if extra else ""


def bucket_maps(answered: Sequence[AnsweredSeries], buckets: Buckets, where: str) -> list[tuple[str, BucketOfLabel]]:
    """The maps from labels to buckets that fit the whole answer; two if both fit and differ.

    Published servers write local time, the vendor's page instants in UTC. Both may end with a Z.

    Raises:
        ContractError: neither map has a bucket for every label with a value.
    """
    points = [point for series in answered for point in series.points]
    every = {str(point.get("date")) for point in points}
    valued = {str(point.get("date")) for point in points if _has_value(point)}
    local_times = {label: local for label in every if (local := _local_time(label)) in buckets.local_times}
    instants = {label: at for label in every if (at := _utc_time(label)) in buckets.instants}
    ways: list[tuple[str, BucketOfLabel]] = [
        ("local", {label: buckets.local_times[local] for label, local in local_times.items()}),
        ("instant", {label: buckets.instants[at] for label, at in instants.items()}),
    ]
    # Points of zero help to choose the map. If they are in no bucket, nothing is lost.
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


def points_by_bucket(series: AnsweredSeries, bucket_of: BucketOfLabel, where: str) -> dict[str, Point]:
    """The points of a series by bucket.

    Raises:
        ContractError: two different points are in one bucket.
    """
    found: dict[str, Point] = {}
    for point in series.points:
        bucket = bucket_of.get(str(point.get("date")), "")
        if bucket and found.setdefault(bucket, point) != point:
            raise ContractError(f"two points of one series are of {bucket}", where=where, next_step=_REPORT)
    return found


def _check(one: object, where: str) -> None:
    """Refuse a series that is not an object with points that have a count: it would be read as zeros."""
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


def _index_of_series(one: Mapping[str, Any], chart: Chart, where: str) -> int:
    """The index of the chart's series: from the id if the event name agrees, else from the event name."""
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
    shown = excerpt(json.dumps([event.get("id"), name], default=str), 80)
    raise ContractError(
        f"a series of the answer, {shown}, cannot be matched to one of the chart's",
        where=where,
        next_step="put series of the same event into separate charts."
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
    """A sort key with the whole content of a series; what changes least comes first."""
    assert isinstance(one, dict)
    return json.dumps([one.get("id"), one.get("names"), one.get("event"), one], sort_keys=True)


def _with_number(series: AnsweredSeries, number: int) -> AnsweredSeries:
    """The series with a number among its breakdowns, from the second one on. No breakdown is called "number"."""
    return series if number == 1 else replace(series, breakdowns={**series.breakdowns, "number": number})


def _breakdowns(series: Mapping[str, Any], chart: Chart) -> dict[str, object]:
    """Breakdown -> value. The server leaves out empty values, which shifts the others to the wrong breakdown.

    With one breakdown, a missing value is null. With several, values that cannot be placed are kept as a list.
    """
    if not chart.breakdowns:
        return {}
    names = series.get("names")
    values = [_null_if_empty(value) for value in names[1:]] if isinstance(names, list) else []
    if len(values) == len(chart.breakdowns):
        return dict(zip(chart.breakdowns, values, strict=True))
    if len(chart.breakdowns) == 1 or not values:
        return dict.fromkeys(chart.breakdowns)
    return {"unplaced": values}


def _null_if_empty(value: object) -> object:
    return None if value in ("", "\x00\x00") else value


def _is_made_up(series: Mapping[str, Any], chart: Chart) -> bool:
    """Whether the server made the series up: it is named by two NULs, has no breakdowns and only zeros."""
    event = series.get("event")
    has_breakdowns = isinstance(event, dict) and bool(event.get("breakdowns"))
    return bool(chart.breakdowns) and not has_breakdowns and not any(_has_value(point) for point in series["data"])


def _has_value(point: Point) -> bool:
    previous = point.get("previous")
    return bool(point["count"]) or (isinstance(previous, dict) and bool(previous.get("value")))


def _local_time(label: str) -> str:
    """A label as local time in one format. Servers write it with a space, as a date only, or as ISO with a Z."""
    text = _ZONE.sub("", label).split(".")[0].replace("T", " ")
    return f"{text} 00:00:00" if len(text) == 10 else text


def _utc_time(label: str) -> datetime:
    """A label as an instant; a time that is in no bucket if the label has no zone."""
    try:
        at = datetime.fromisoformat(label)
        return at.astimezone(UTC) if at.tzinfo else _NEVER
    except (ValueError, OverflowError):
        return _NEVER
