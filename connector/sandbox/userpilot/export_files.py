"""The files of an export: which events they contain, their names, and how they are packed.

A client cannot rely on the name of a file to know which days are in it.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, partial
from typing import Any

import msgspec

from connector.sandbox.userpilot.behaviour import Body, Span, World
from connector.sandbox.userpilot.store import DAY_US, Event, as_us, moment, written

_US = timedelta(microseconds=1)


@dataclass(frozen=True)
class ExportFile:
    """One file. Its bytes are made when they are first read; ``encoded``: gzip is declared as content encoding."""

    filename: str
    make: Callable[[], bytes]
    encoded: bool = False

    @cached_property
    def body(self) -> bytes:
        """The bytes."""
        return self.make()


def label(day: date, span: Span) -> date:
    """The first day of the span that contains a day."""
    if span == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if span == "week" else day


def labels(first: date, last: date, span: Span) -> list[date]:
    """The first days of all spans that overlap a range; the first span may begin before the range."""
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return sorted({label(day, span) for day in days})


def reach(first: date, last: date, world: World) -> tuple[int, int]:
    """First instant and end of a range of dates in microseconds, extended on both sides where rows bleed."""
    bleed = world.bleed // _US
    start = as_us(datetime(first.year, first.month, first.day, tzinfo=world.zone))
    end = as_us(datetime(last.year, last.month, last.day, tzinfo=world.zone))
    return start - bleed, end + (DAY_US if world.to_included else 0) + bleed


def export_files(
    events: list[Event], first: date, last: date, form: str, world: World, app_token: str
) -> list[ExportFile]:
    """The files of one job."""
    if not events:
        sliced = [(label(first, world.file_span).isoformat(), events)] if world.empty_range == "nothing" else []
    else:
        sliced = list(_sliced(events, first, last, world))
    files: list[ExportFile] = []
    for name, inside in sliced:
        how = world.bodies[len(files) % len(world.bodies)] if inside else "gzip"
        make = partial(_body, inside, form, how, world, app_token)
        files.append(ExportFile(f"{name}.{'csv' if form == 'csv' else 'json'}.gz", make, how == "encoded"))
    return files


def _sliced(events: list[Event], first: date, last: date, world: World) -> Iterator[tuple[str, list[Event]]]:
    """Names without ending, and the events of each file."""
    spans: dict[date, list[Event]] = {}
    if world.empty_span == "nothing":
        spans = {span: [] for span in labels(first, last, world.file_span)}
    earliest = label(first, world.file_span)
    for event in events:
        for span in _homes(event, world):
            if span >= earliest:
                spans.setdefault(span, []).append(event)
    for span, inside in sorted(spans.items()):
        most = world.file_rows or max(1, len(inside))
        if len(inside) <= most:
            yield span.isoformat(), inside
            continue
        for part, start in enumerate(range(0, len(inside), most), 1):
            yield f"{span}-{part}", inside[start : start + most]


def _homes(event: Event, world: World) -> set[date]:
    """The spans whose files contain an event: just before a border the next one, just after it both."""
    here = moment(event.at)
    if not world.bleed:
        return {label(here.astimezone(world.zone).date(), world.file_span)}

    def span(away: timedelta) -> date:
        return label((here + away).astimezone(world.zone).date(), world.file_span)

    before, home, after = span(-world.bleed), span(timedelta(0)), span(world.bleed)
    return {after} if after != home else {before, home}


def _body(events: list[Event], form: str, how: Body, world: World, app_token: str) -> bytes:
    rows = [written(event, world, app_token) for event in events]
    if not world.oldest_first:
        rows.reverse()
    lines = _csv(rows) if form == "csv" else [msgspec.json.encode(row) + b"\n" for row in rows]
    if how == "plain":
        return b"".join(lines)
    third = max(1, -(-len(lines) // 3)) if how == "members" else max(1, len(lines))
    parts = [b"".join(lines[start : start + third]) for start in range(0, max(1, len(lines)), third)]
    return b"".join(gzip.compress(part, 1, mtime=0) for part in parts)


def _csv(rows: list[dict[str, Any]]) -> list[bytes]:
    """The rows under a header, or nothing at all; objects and arrays are written as JSON."""
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shown = {
            name: json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
            for name, value in row.items()
        }
        writer.writerow(shown)
    return [text.getvalue().encode()]
