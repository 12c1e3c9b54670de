"""The query strings of reports, validated with the vendor's messages.

Values are rewritten before they are validated, as for events. Dates only have to be text here: the routes read them
differently, and a text that is not a date fails later, with 500.
"""

from dataclasses import dataclass, field
from typing import Any

from connector.sandbox.messages import Params, RefusalError
from connector.sandbox.openpanel.answers import ServerWording
from connector.sandbox.openpanel.event_query import (
    Filter,
    Problems,
    expected,
    filters_of,
    kind_of,
    one_of,
    rewritten,
    text_of,
)
from connector.sandbox.openpanel.periods import DOCUMENTED_RANGES, RANGES

INTERVALS = ["minute", "day", "hour", "week", "month"]
SEGMENTS = [
    *("event", "user", "session", "group", "user_average", "one_event_per_user"),
    *("property_sum", "property_average", "property_max", "property_min"),
]


class Given:
    """The rewritten values of one request, and the problems found in them."""

    def __init__(self, params: Params, wording: ServerWording, *, documented: bool = False) -> None:
        self.values = rewritten(params)
        self.problems: Problems = []
        self._wording = wording
        self._ranges = DOCUMENTED_RANGES if documented else RANGES

    def text(self, name: str) -> str | None:
        """A text; None if it is missing or empty."""
        return text_of(self.values, name, self.problems) or None

    def texts(self, name: str) -> list[str] | None:
        """One text or a list of them."""
        value = self.values.get(name)
        found: Any = [value] if isinstance(value, str) else value
        if found is None:
            return None
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            return found
        self.problems.append((name, "Invalid input"))
        return None

    def number(self, name: str, default: float) -> float:
        """A number."""
        value = self.values.get(name)
        if value is None:
            return default
        if kind_of(value) != "number":
            self.problems.append((name, expected("number", value)))
            return default
        number: float = value
        return number

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        number = self.number(name, default)
        if not float(number).is_integer():
            self.problems.append((name, "Invalid input: expected int, received number"))
        elif number > most:
            self.problems.append((name, f"Too big: expected number to be <={most}"))
        elif number < least:
            self.problems.append((name, f"Too small: expected number to be >={least}"))
        else:
            return int(number)
        return default

    def choice(self, name: str, options: list[str], default: str) -> str:
        """One of some options."""
        return self.choice_or_none(name, options) or default

    def choice_or_none(self, name: str, options: list[str]) -> str | None:
        """One of some options; None if it is not given."""
        value = self.values.get(name)
        if value is None or value in options:
            return None if value is None else str(value)
        self.problems.append((name, one_of(options)))
        return None

    def range(self, default: str) -> str:
        """A named range."""
        return self.choice("range", self._ranges, default)

    def range_or_none(self) -> str | None:
        """A named range; None if it is not given."""
        return self.choice_or_none("range", self._ranges)

    def filters(self) -> list[Filter]:
        """The filters of the whole report."""
        return filters_of(self.values, self.problems)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            self.problems.append((name, expected("boolean", value)))
        return value is True

    def done(self) -> None:
        """Raise a 400 if there is any problem."""
        if self.problems:
            raise RefusalError(self._wording.invalid("querystring", self.problems))


@dataclass(frozen=True, kw_only=True)
class ReportQuery:
    """A validated query of a documented Insights route."""

    start: str | None
    end: str | None
    range: str
    filters: list[Filter] = field(default_factory=list)
    cursor: float = 1
    limit: float = 10


def report_query(
    params: Params, wording: ServerWording, default_range: str, *, paging: bool, documented: bool
) -> ReportQuery:
    """The query of a documented Insights route, or a 400."""
    given = Given(params, wording, documented=documented)
    found = ReportQuery(
        filters=given.filters(),
        start=given.text("startDate"),
        end=given.text("endDate"),
        range=given.range(default_range),
        cursor=given.number("cursor", 1) if paging else 1,
        limit=given.number("limit", 10) if paging else 10,
    )
    given.done()
    return found


@dataclass(frozen=True, kw_only=True)
class SeriesQuery:
    """One series of a chart: which events, and how they are counted."""

    name: str
    filters: list[Filter]
    segment: str = "event"
    property: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChartQuery:
    """A validated query of ``/export/charts``."""

    project: str | None
    series: list[SeriesQuery]
    breakdowns: list[str]
    interval: str
    range: str
    previous: bool
    start: str | None
    end: str | None


def chart_query(params: Params, wording: ServerWording, *, documented: bool = False) -> ChartQuery:
    """The query of ``/export/charts``, or a 400. ``series`` takes precedence over its older name ``events``."""
    given = Given(params, wording, documented=documented)
    snake = given.text("project_id")
    project = given.text("projectId") or snake
    series = _series(given, "series")
    events = _series(given, "events")
    breakdowns = [str(item["name"]) for item in _objects(given, "breakdowns")]
    found = ChartQuery(
        project=project,
        series=events or [] if series is None else series,
        breakdowns=breakdowns,
        interval=given.choice("interval", INTERVALS, "day"),
        range=given.range("30d"),
        previous=given.flag("previous"),
        start=given.text("startDate"),
        end=given.text("endDate"),
    )
    given.done()
    return found


def _series(given: Given, name: str) -> list[SeriesQuery] | None:
    if given.values.get(name) is None:
        return None
    found = []
    for at, item in enumerate(_objects(given, name)):
        path = f"{name}/{at}"
        segment, wanted = item.get("segment", "event"), item.get("property")
        if segment not in SEGMENTS:
            given.problems.append((f"{path}/segment", one_of(SEGMENTS)))
        if wanted is not None and not isinstance(wanted, str):
            given.problems.append((f"{path}/property", expected("string", wanted)))
        filters = filters_of(item, given.problems, f"{path}/filters")
        found.append(SeriesQuery(name=str(item["name"]), filters=filters, segment=segment, property=wanted or None))
    return found


def _objects(given: Given, name: str) -> list[dict[str, Any]]:
    """A list of objects with a name; the wrong ones are left out and noted as problems."""
    items = given.values.get(name)
    if items is None:
        return []
    if not isinstance(items, list):
        given.problems.append((name, expected("array", items)))
        return []
    found = []
    for at, item in enumerate(items):
        if not isinstance(item, dict):
            given.problems.append((f"{name}/{at}", expected("object", item)))
        elif not isinstance(item.get("name"), str):
            given.problems.append((f"{name}/{at}/name", expected("string", item.get("name"))))
        else:
            found.append(item)
    return found
