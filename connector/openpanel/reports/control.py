"""Control questions: does every configured filter change an answer? The server ignores what it does not know.

The report config refuses names and operators that are known to be ignored. A misspelt property, or a value that no
event has, is known to the project alone, so the same question is asked with and without the filter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from connector.catalogue.reports import Chart, Filter, Series
from connector.openpanel.reports.config import Questions
from connector.openpanel.reports.read import Reports

DAYS = 7
Filters = tuple[Filter, ...]


@dataclass(frozen=True)
class IdleFilter:
    """A filter without which the answer is the same; ``place`` as in the file of reports."""

    place: str
    filter: Filter


def idle_filters(reports: Reports, questions: Questions, today: date) -> Iterator[IdleFilter]:
    """Filters that change nothing on the seven days before ``today``. A question without any event tells nothing.

    Each question with filters is asked once, and once without each of its filters.

    Raises:
        ConnectorError: the server did not answer.
    """
    days = today - timedelta(days=DAYS), today - timedelta(days=1)
    for chart in questions.charts:
        for series in chart.series:
            place = f"charts.{chart.name}.series.{series.label}.filters"
            yield from _idle(place, series.filters, _counts_of(reports, series, days))
    yield from _idle("insights.filters", questions.filters, _totals_of(reports, days))


def _idle(place: str, filters: Filters, ask: Callable[[Filters], list[object]]) -> Iterator[IdleFilter]:
    whole = ask(filters) if filters else []
    for one in filters if any(whole) else ():
        if ask(tuple(other for other in filters if other is not one)) == whole:
            yield IdleFilter(place, one)


def _counts_of(reports: Reports, series: Series, days: tuple[date, date]) -> Callable[[Filters], list[object]]:
    """Asks for a series by day; its points."""
    start, end = (datetime.combine(day, time(), UTC) for day in (days[0], days[1] + timedelta(days=1)))

    def ask(filters: Filters) -> list[object]:
        chart = Chart(name="control question", series=(msgspec.structs.replace(series, filters=filters),))
        match reports.chart(chart, start=start, end=end):
            case {"series": [{"data": [*points]}, *_]}:
                return [point.get("count") for point in points if isinstance(point, dict)]
        return []

    return ask


def _totals_of(reports: Reports, days: tuple[date, date]) -> Callable[[Filters], list[object]]:
    """Asks for the totals of the days."""

    def ask(filters: Filters) -> list[object]:
        match reports.insights("metrics", start=days[0], end=days[1], filters=filters):
            case {"metrics": dict() as totals}:
                return list(totals.values())
        return []

    return ask
