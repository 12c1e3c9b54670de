"""The report config: the insights, charts and funnels that a user wants, checked before anything is sent.

The server ignores words it does not know and answers something else with status 200. So every word is checked here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from connector.catalogue.openpanel import (
    DIMENSIONS,
    STREAMS,
    ChartsQuery,
    EventsQuery,
    FunnelsQuery,
    ListQuery,
    MetricsQuery,
)
from connector.catalogue.reports import COHORT_OPERATORS, Chart, Filter, Funnel
from connector.errors import SettingsError
from connector.settings import Environment, read_yaml, shaped
from connector.stream import Query, Stream

SEGMENTS = (
    "event", "user", "session", "group", "user_average", "one_event_per_user",
    "property_sum", "property_average", "property_max", "property_min",
)  # fmt: skip
INTERVALS = ("minute", "hour", "day", "week", "month")
# The server's presets. Those that end now cannot be requested for a past day.
RANGES = (
    "30min", "lastHour", "last24h", "today", "yesterday", "7d", "30d", "3m", "6m", "12m",
    "monthToDate", "lastMonth", "yearToDate", "lastYear",
)  # fmt: skip
OPERATORS = (
    "is", "isNot", "contains", "doesNotContain", "startsWith", "endsWith", "regex", "isNull", "isNotNull",
    "gt", "lt", "gte", "lte", "inCohort", "notInCohort",
)  # fmt: skip
_NO_VALUE = ("isNull", "isNotNull")
GROUP_BY = ("session_id", "profile_id")

_EVENT_FIELDS = (
    "name", "path", "origin", "referrer", "referrer_name", "referrer_type", "country", "region", "city", "os",
    "os_version", "browser", "browser_version", "device", "brand", "model", "session_id", "device_id", "profile_id",
    "id", "revenue", "duration", "longitude", "latitude", "sdk_name", "sdk_version", "created_at", "imported_at",
    "has_profile",
)  # fmt: skip
_UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
_OPEN_FIELDS = re.compile(r"(properties|profile\.properties|group\.properties)\..+|group\.(name|type)")
# Breakdowns know these besides; as filters the server ignores them.
_BREAKDOWNS_ONLY = re.compile(r"profile\.(id|first_name|last_name|email|avatar|created_at)|cohort:.+")
_TEXT_OPERATORS = ("contains", "doesNotContain", "startsWith", "endsWith", "regex")
_ORDERINGS = ("gt", "lt", "gte", "lte")
# Fields that are no text: the server answers 500 to a text operator on them.
_NO_TEXT = ("id", "revenue", "duration", "longitude", "latitude", "created_at", "imported_at")
# Names that Insights filters on. Insights ignores every other one.
INSIGHT_FIELDS = (
    "os", "path", "city", "brand", "model", "origin", "region", "device", "revenue", "country", "browser", "referrer",
    "referrer_name", "referrer_type", "os_version", "browser_version", "utm_source", "utm_medium", "utm_campaign",
    "utm_term", "utm_content",
)  # fmt: skip
_NUMBERS = ("duration", "revenue", "longitude", "latitude")
# Streams that cost many requests, or that no page of the vendor promises.
ON_REQUEST_ONLY = tuple(stream.name for stream in STREAMS if not stream.by_default)


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The report config of one project, checked when it is created.

    Attributes:
        events: only these events are landed; all if empty. After a change, land all days again.
        charts, funnels: each with a unique name.
        dimensions: a subset of the 18 breakdowns; all if empty.
        filters: for all insights.
        also: names of streams that are landed only where they are asked for, such as ``profiles``.

    Raises:
        SettingsError: names the chart, the key and the allowed values.
    """

    events: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    funnels: tuple[Funnel, ...] = ()
    dimensions: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    also: tuple[str, ...] = ()
    _where: str = field(default="reports", repr=False)

    def __post_init__(self) -> None:
        _unique([chart.name for chart in self.charts], f"{self._where}.charts")
        _unique([funnel.name for funnel in self.funnels], f"{self._where}.funnels")
        for chart in self.charts:
            _check_chart(chart, f"{self._where}.charts.{chart.name}")
        for funnel in self.funnels:
            _check_funnel(funnel, f"{self._where}.funnels.{funnel.name}")
        for one in self.filters:
            where = f"{self._where}.insights.filters.{one.name}"
            _one_of(one.name, INSIGHT_FIELDS, f"{where}.name")
            _check_filter(one, where)
        for name in self.also:
            _one_of(name, ON_REQUEST_ONLY, f"{self._where}.also")

    @classmethod
    def from_environment(cls, env: Environment, *, dimensions: Sequence[str]) -> "Questions":
        """The config in the file that OPENPANEL_REPORTS names; the default if it is not set.

        Args:
            dimensions: the allowed breakdowns.

        Raises:
            SettingsError: the file cannot be read, or is wrong.
        """
        file = env.text("OPENPANEL_REPORTS", "")
        return cls.load(Path(file), dimensions=dimensions) if file else cls()

    @classmethod
    def load(cls, file: Path, *, dimensions: Sequence[str]) -> "Questions":
        """Read a YAML file with the keys ``events``, ``charts``, ``funnels``, ``insights`` and ``also``.

        Args:
            file: its path.
            dimensions: the allowed breakdowns.

        Raises:
            SettingsError: the file cannot be read, or is wrong.
        """
        where = file.name
        # Every scalar stays a text: YAML would read Norway's NO as false.
        document = read_yaml(file, texts_only=True) or {}
        top = shaped(document, _Document, where)
        for one in top.insights.dimensions:
            _one_of(one, dimensions, f"{where}.insights.dimensions")
        return cls(
            events=top.events,
            charts=tuple(_chart(name, body, f"{where}.charts.{name}") for name, body in top.charts.items()),
            funnels=tuple(
                shaped({**body, "name": name}, Funnel, f"{where}.funnels.{name}") for name, body in top.funnels.items()
            ),
            dimensions=top.insights.dimensions,
            filters=shaped(_filters(top.insights.filters), tuple[Filter, ...], f"{where}.insights.filters"),
            also=top.also,
            _where=where,
        )


class _Insights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dimensions: tuple[str, ...] = ()
    filters: list[dict[str, Any]] = []


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. Charts and funnels are read one by one, so that messages can name them."""

    events: tuple[str, ...] = ()
    charts: dict[str, dict[str, Any]] = {}
    funnels: dict[str, dict[str, Any]] = {}
    insights: _Insights = _Insights()
    also: tuple[str, ...] = ()


def _chart(name: str, body: dict[str, Any], where: str) -> Chart:
    series = body.get("series", [])
    if isinstance(series, list):  # a series may be written as an event's name alone
        in_full = [{"event": one} if isinstance(one, str) else one for one in series]
        with_filters = [
            one | {"filters": _filters(one["filters"])} if isinstance(one, dict) and "filters" in one else one
            for one in in_full
        ]
        body = body | {"series": with_filters}
    return shaped({**body, "name": name}, Chart, where)


def _filters(body: Any) -> Any:
    """Filters with lists of values; a value may be written as one text."""
    if not isinstance(body, list):
        return body
    return [
        one | {"value": [one["value"]]} if isinstance(one, dict) and isinstance(one.get("value"), str) else one
        for one in body
    ]


def _check_chart(chart: Chart, where: str) -> None:
    if not chart.series:
        raise SettingsError(f"{where}.series", "is empty", next_step="name at least one event.")
    _one_of(chart.interval, INTERVALS, f"{where}.interval")
    if chart.range:
        _one_of(chart.range, RANGES, f"{where}.range")
    if chart.range in ("30min", "lastHour", "last24h"):
        raise SettingsError(
            f"{where}.range",
            f"is {chart.range}, which ends now and cannot be requested for a past day",
            next_step="leave it out, or use one of " + ", ".join(RANGES[3:]) + ".",
        )
    _unique([one.label for one in chart.series], f"{where}.series")
    for breakdown in chart.breakdowns:
        if not _BREAKDOWNS_ONLY.fullmatch(breakdown):
            _check_field(breakdown, f"{where}.breakdowns")
    for one in chart.series:
        place = f"{where}.series.{one.label}"
        _one_of(one.segment, SEGMENTS, f"{place}.segment")
        if one.segment.startswith("property_") != bool(one.property_name):
            raise SettingsError(
                f"{place}.property",
                "is missing" if not one.property_name else f"has no use with segment {one.segment}",
                next_step="property_sum, _average, _max and _min need a property; other segments take none.",
            )
        if one.property_name and one.property_name not in _NUMBERS and not one.property_name.startswith("properties."):
            raise SettingsError(
                f"{place}.property",
                f"is {one.property_name!r}",
                next_step=f"write properties.<key> or one of {', '.join(_NUMBERS)}.",
            )
        for each in one.filters:
            if each.operator not in COHORT_OPERATORS:
                _check_field(each.name, f"{place}.filters.name")
            _check_filter(each, f"{place}.filters.{each.name}")
            _check_chart_filter(each, f"{place}.filters.{each.name}")


def _check_funnel(funnel: Funnel, where: str) -> None:
    if not 2 <= len(funnel.steps) <= 10:
        raise SettingsError(f"{where}.steps", f"has {len(funnel.steps)} events", next_step="name 2 to 10 events.")
    if not 1 <= funnel.window_hours <= 720:
        raise SettingsError(f"{where}.window_hours", f"is {funnel.window_hours}", next_step="write 1 to 720.")
    _one_of(funnel.group_by, GROUP_BY, f"{where}.group_by")


def _check_filter(one: Filter, where: str) -> None:
    _one_of(one.operator, OPERATORS, f"{where}.operator")
    if not one.value and one.operator not in _NO_VALUE:
        # The server ignores a filter without a value: the answer would be unfiltered.
        raise SettingsError(f"{where}.value", "is empty", next_step="give at least one value.")


def _check_chart_filter(one: Filter, where: str) -> None:
    """Refuse what charts answer with 500, or ignore."""
    problem = ""
    if one.name.startswith("properties.") and "*" in one.name:
        problem = "has a wildcard, to which the server answers 500"
    elif one.name in _NO_TEXT and one.operator in _TEXT_OPERATORS:
        problem = f"has the operator {one.operator}, to which the server answers 500 as the field is no text"
    elif one.name == "imported_at" and one.operator in _NO_VALUE:
        problem = f"has the operator {one.operator}, to which the server answers 500"
    elif one.name.startswith("group.properties.") and one.operator in _ORDERINGS:
        problem = f"has the operator {one.operator}, which the server ignores for properties of groups"
    if problem:
        usable = [name for name in OPERATORS if name not in (*_TEXT_OPERATORS, *COHORT_OPERATORS)]
        raise SettingsError(where, problem, next_step=f"name one property, and use one of {', '.join(usable)}.")


def _check_field(name: str, where: str) -> None:
    if name not in _EVENT_FIELDS and name not in _UTM and not _OPEN_FIELDS.fullmatch(name):
        raise SettingsError(
            where,
            f"is {name!r}, which the server would ignore without a word",
            next_step=f"write properties.<key>, profile.properties.<key>, or one of {', '.join(_EVENT_FIELDS)}.",
        )


def _one_of(value: str, allowed: Sequence[str], where: str) -> None:
    if value not in allowed:
        raise SettingsError(where, f"is {value!r}", next_step=f"use one of {', '.join(allowed)}.")


def _unique(names: Sequence[str], where: str) -> None:
    for name in names:
        if not name or names.count(name) > 1:
            raise SettingsError(where, f"has the name {name!r} {names.count(name)} times", next_step="name each once.")


def questions_of(stream: Stream) -> list[str]:
    """Names of the charts or funnels that a stream asks for; none for all other streams."""
    match stream.query:
        case ChartsQuery(charts=charts):
            return [chart.name for chart in charts]
        case FunnelsQuery(funnels=funnels):
            return [funnel.name for funnel in funnels]
    return []


def asked_for(stream: Stream) -> bool:
    """Whether a stream has anything to ask: charts and funnels have not, until a file configures some."""
    return stream.query not in (ChartsQuery(), FunnelsQuery())


def streams(questions: Questions | None = None) -> tuple[Stream, ...]:
    """The streams of the catalogue with the report config in their queries; what it asks for is ``by_default``."""
    config = questions or Questions()

    def configured(query: Query) -> Query:
        match query:
            case EventsQuery():
                return replace(query, names=config.events)
            case MetricsQuery():
                return replace(query, filters=config.filters)
            case ListQuery(dimensions=dimensions):
                chosen = config.dimensions if config.dimensions and dimensions == DIMENSIONS else dimensions
                return replace(query, filters=config.filters, dimensions=chosen)
            case ChartsQuery():
                return replace(query, charts=config.charts)
            case FunnelsQuery():
                return replace(query, funnels=config.funnels)
        return query

    found = [replace(stream, query=configured(stream.query)) for stream in STREAMS]
    return tuple(
        replace(stream, by_default=(stream.by_default and asked_for(stream)) or stream.name in config.also)
        for stream in found
    )
