"""``GET /export/charts``: series over time, as the published server writes them and as the documentation shows them.

Labels are wall time of the organisation without a zone. Empty buckets at the end are missing. The id of a series is
not unique. Formulas, cohorts and the limits of hosted plans are not simulated.
"""

import re
import unicodedata
from typing import Any

from connector.sandbox.messages import Answer, Request
from connector.sandbox.openpanel.answers import as_json
from connector.sandbox.openpanel.auth import export_project
from connector.sandbox.openpanel.chart_counts import Line, documented_lines, lines
from connector.sandbox.openpanel.periods import Period, chart_buckets, chart_period, documented_period
from connector.sandbox.openpanel.place_names import COUNTRIES
from connector.sandbox.openpanel.report_query import ChartQuery, chart_query
from connector.sandbox.openpanel.rounding import Number, mean, rounded, total
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import NO_COUNTRY, Project
from connector.sandbox.openpanel.timestamps import iso

Found = list[tuple[int, Line]]  # the position of the definition, and one series of it
_SPELLED = {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "ł": "l", "Ł": "L", "đ": "d", "ı": "i"}
_SPELLED |= {
    "$": "dollar",
    "%": "percent",
    "&": "and",
    "<": "less",
    ">": "greater",
    "|": "or",
    "€": "euro",
    "£": "pound",
}


def charts(state: State, request: Request) -> Answer:
    """Answer one request. The checks come in this order: query, credentials, project, dates, event store."""
    documented = state.documented
    asked = chart_query(request.params, state.wording, documented=documented)
    project = export_project(state, request, asked.project)
    zone, now = project.organisation.timezone, state.now()
    if documented:
        period = documented_period(asked.start, asked.end, asked.range, now, zone, state.wording)
    else:
        period = chart_period(asked.start, asked.end, asked.range, now, zone)
    state.check_event_store()
    return as_json(_documented(project, asked, period) if documented else _chart(project, asked, period))


def _chart(project: Project, asked: ChartQuery, period: Period) -> dict[str, Any]:
    found = _counted(project, asked, period)
    before = _counted(project, asked, period.previous()) if asked.previous else []
    many = len(asked.series) > 1
    series = [_series(asked, at, line, before, many) for at, line in found]
    series.sort(key=lambda item: -item["metrics"]["sum"])
    return {"series": series, "metrics": _metrics([count for _, line in found for count in line.counts.values()])}


def _counted(project: Project, asked: ChartQuery, period: Period) -> Found:
    buckets = chart_buckets(period, asked.interval)  # type: ignore[arg-type]
    return [
        (at, line)
        for at, series in enumerate(asked.series)
        for line in lines(project, series, asked.breakdowns, period, buckets)
    ]


def _series(asked: ChartQuery, at: int, line: Line, before: Found, many: bool) -> dict[str, Any]:
    """One series. Names are paired with breakdowns by position, even where an empty value is missing."""
    letter, name = _letter(at), asked.series[at].name
    event: dict[str, Any] = {"id": letter, "name": name}
    if asked.breakdowns and len(line.names) > 1:
        event["breakdowns"] = dict(zip(asked.breakdowns, line.names[1:], strict=False))
    counts = list(line.counts.values())
    metrics: dict[str, Any] = _metrics(counts)
    if line.people:
        metrics["count"] = line.people
    earlier = next((old for place, old in before if place == at and old.names[1:] == line.names[1:]), None)
    data: list[dict[str, Any]] = [
        {"date": _label(date, asked.interval), "count": count} for date, count in line.counts.items()
    ]
    if earlier is not None:
        past = list(earlier.counts.values())
        than = {**_metrics(past), "count": earlier.people}
        metrics["previous"] = {key: _change(metrics.get(key, 0), than[key]) for key in than if than[key] is not None}
        if not earlier.people:
            del metrics["previous"]["count"]
        for point, old in zip(data, past, strict=False):
            point["previous"] = _change(point["count"], old)
    return {
        "id": slug(f"{name}-{letter}-{'-'.join(line.names)}"),
        "names": [f"({letter}) {line.names[0]}", *line.names[1:]] if many else line.names,
        "event": event,
        "metrics": metrics,
        "data": data,
    }


def _letter(at: int) -> str:
    return chr(ord("A") + at) if at < 26 else f"series-{at}"


def _label(date: str, interval: str) -> str:
    return date[:10] if interval in ("week", "month") else date


def _metrics(counts: list[Number]) -> dict[str, Any]:
    """Sum, average, minimum and maximum. Only the average leaves out empty buckets."""
    return {
        "sum": total(counts),
        "average": rounded(mean(counts)),
        "min": min(counts, default=0),
        "max": max(counts, default=0),
    }


def _change(now: Number, before: Number) -> dict[str, Any]:
    """The change in percent of the smaller number, without a sign; None where it is undefined."""
    state = "positive" if now > before else "negative" if now < before else "neutral"
    low, high = sorted((now, before))
    return {
        "diff": rounded((high / low - 1) * 100, 1) if low and low != high else None,
        "state": state,
        "value": before,
    }


def slug(text: str) -> str:
    """The id of a series: lower case Latin letters and digits. Two series can have the same id."""
    spelled = "".join(_SPELLED.get(character, character) for character in text)
    plain = "".join(part for part in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(part))
    kept = re.sub(r"[^A-Za-z0-9\s]", "", plain.replace("-", " ")).strip()
    return re.sub(r"\s+", "-", kept).lower()


# ---------- the documentation


def _documented(project: Project, asked: ChartQuery, period: Period) -> dict[str, Any]:
    """The documented chart: instants in UTC, every bucket, and the change in percent of the previous value."""
    buckets = chart_buckets(period, asked.interval)  # type: ignore[arg-type]
    earlier = period.previous() if asked.previous else None
    series: list[dict[str, Any]] = []
    for at, wanted in enumerate(asked.series):
        past = {}
        if earlier is not None:
            old = chart_buckets(earlier, asked.interval)  # type: ignore[arg-type]
            past = {
                tuple(line.names): line for line in documented_lines(project, wanted, asked.breakdowns, earlier, old)
            }
        for line in documented_lines(project, wanted, asked.breakdowns, period, buckets):
            counts = list(line.counts.values())
            before = past.get(tuple(line.names))
            metrics: dict[str, Any] = _metrics(counts)
            data: list[dict[str, Any]] = [
                {"date": iso(start), "count": count} for start, count in zip(buckets.starts, counts, strict=True)
            ]
            if before is not None:
                values = list(before.counts.values())
                than = _metrics(values)
                metrics["previous"] = {key: _percent(metrics[key], than[key]) for key in ("sum", "average")}
                for point, value in zip(data, values, strict=False):
                    point["previous"] = _percent(point["count"], value)
            names = [wanted.name, *map(_word, asked.breakdowns, line.names[1:])]
            shown = "-".join(name.lower().replace(" ", "-") for name in names)
            event = {"id": f"evt{at + 1}", "name": wanted.name}
            series.append({"id": shown, "names": names, "event": event, "metrics": metrics, "data": data})
    series.sort(key=lambda item: -item["metrics"]["sum"])
    everything = [point["count"] for item in series for point in item["data"]]
    return {"series": series, "metrics": _metrics(everything)}


def _word(breakdown: str, value: str) -> str:
    if breakdown == "country":
        return "" if value == NO_COUNTRY else COUNTRIES.get(value, value)
    return value.title() if breakdown == "device" else value


def _percent(now: Number, before: Number) -> dict[str, Any]:
    return {"value": before, "change": rounded((now - before) / before * 100) if before else None}
