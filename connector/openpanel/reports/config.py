"""What a user asks of insights, charts and funnels, by name; checked before anything is sent.

The server ignores what it does not know and answers something else with status 200, so every word is compared with
what it understands here. Nothing in this room asks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from connector.catalogue.openpanel import (
    DIMENSIONS,
    STREAMS,
    ChartsQuery,
    EventsQuery,
    FunnelsQuery,
    ListQuery,
    MetricsQuery,
)
from connector.catalogue.reports import Chart, Filter, Funnel, Series
from connector.errors import SettingsError
from connector.redaction import excerpt
from connector.settings import Environment
from connector.stream import Query, Stream

SEGMENTS = (
    "event", "user", "session", "group", "user_average", "one_event_per_user",
    "property_sum", "property_average", "property_max", "property_min",
)  # fmt: skip
INTERVALS = ("minute", "hour", "day", "week", "month")
# What a server knows as presets. Those that end now cannot be asked for a past day.
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
_OPEN_FIELDS = re.compile(r"(properties|profile\.properties|group\.properties)\..+|group\.(name|type)|utm_\w+")
# Names that Insights filter on; every other one is ignored there.
INSIGHT_FIELDS = (
    "os", "path", "city", "brand", "model", "origin", "region", "device", "revenue", "country", "browser", "referrer",
    "referrer_name", "referrer_type", "os_version", "browser_version", "utm_source", "utm_medium", "utm_campaign",
    "utm_term", "utm_content",
)  # fmt: skip
_NUMBERS = ("duration", "revenue", "longitude", "latitude")


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Everything configured for one project; checked when it is made.

    Attributes:
        events: only these events are landed; all if empty. Change it only together with landing all days again.
        charts, funnels: by name.
        dimensions: a subset of the 18 breakdowns; all if empty.
        filters: for all insights.

    Raises:
        SettingsError: names the chart, the key and the allowed values.
    """

    events: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    funnels: tuple[Funnel, ...] = ()
    dimensions: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
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

    @classmethod
    def from_environment(cls, env: Environment, *, dimensions: Sequence[str]) -> "Questions":
        """What the file named by OPENPANEL_REPORTS asks; without one, nothing of one's own.

        Args:
            dimensions: the allowed breakdowns.
        """
        file = env.text("OPENPANEL_REPORTS", "")
        return cls.load(Path(file), dimensions=dimensions) if file else cls()

    @classmethod
    def load(cls, file: Path, *, dimensions: Sequence[str]) -> "Questions":
        """Read a YAML file with the keys ``events``, ``charts``, ``funnels`` and ``insights``.

        Args:
            file: its path.
            dimensions: the allowed breakdowns.
        """
        import yaml

        where = file.name
        try:
            # Every scalar stays a text: YAML would read Norway's NO as false.
            document = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader) or {}  # noqa: S506  builds no objects
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
            raise SettingsError(
                where, f"cannot be read: {excerpt(str(fault), 200)}", next_step="fix the file or its path."
            ) from None
        top = _mapping(document, where, ("events", "charts", "funnels", "insights"))
        insights = _mapping(top.get("insights") or {}, f"{where}.insights", ("dimensions", "filters"))
        chosen = tuple(_texts(insights.get("dimensions", ()), f"{where}.insights.dimensions"))
        for one in chosen:
            _one_of(one, dimensions, f"{where}.insights.dimensions")
        return cls(
            events=tuple(_texts(top.get("events", ()), f"{where}.events")),
            charts=tuple(_chart(name, body, f"{where}.charts.{name}") for name, body in _named(top, "charts", where)),
            funnels=tuple(
                _funnel(name, body, f"{where}.funnels.{name}") for name, body in _named(top, "funnels", where)
            ),
            dimensions=chosen,
            filters=_filters(insights.get("filters", ()), f"{where}.insights.filters"),
            _where=where,
        )


def _chart(name: str, body: object, where: str) -> Chart:
    given = _mapping(body, where, ("series", "breakdowns", "interval", "range", "previous"))
    previous = str(given.get("previous", "false"))
    if previous not in ("true", "false"):
        raise SettingsError(f"{where}.previous", f"is {previous!r}", next_step="write true or false.")
    return Chart(
        name=name,
        series=tuple(_series(one, f"{where}.series[{n}]") for n, one in enumerate(_list(given.get("series"), where))),
        breakdowns=tuple(_texts(given.get("breakdowns", ()), f"{where}.breakdowns")),
        interval=str(given.get("interval", "day")),
        range=str(given.get("range", "")),
        previous=previous == "true",
    )


def _series(body: object, where: str) -> Series:
    if isinstance(body, str):
        return Series(event=body)
    given = _mapping(body, where, ("event", "name", "segment", "property", "filters"))
    if not isinstance(given.get("event"), str):
        raise SettingsError(f"{where}.event", "is missing", next_step="name an event, or * for any.")
    return Series(
        event=given["event"],
        name=str(given.get("name", "")),
        segment=str(given.get("segment", "event")),
        property_name=str(given.get("property", "")),
        filters=_filters(given.get("filters", ()), f"{where}.filters"),
    )


def _filters(body: object, where: str) -> tuple[Filter, ...]:
    filters = []
    for number, one in enumerate(_list(body, where)):
        given = _mapping(one, f"{where}[{number}]", ("name", "operator", "value"))
        value = given.get("value", ())
        filters.append(
            Filter(
                name=str(given.get("name", "")),
                operator=str(given.get("operator", "is")),
                value=tuple(str(item) for item in (value if isinstance(value, list | tuple) else [value])),
            )
        )
    return tuple(filters)


def _funnel(name: str, body: object, where: str) -> Funnel:
    given = _mapping(body, where, ("steps", "window_hours", "group_by"))
    hours = str(given.get("window_hours", "24"))
    if not hours.isdecimal():
        raise SettingsError(f"{where}.window_hours", f"is {hours!r}", next_step="write hours from 1 to 720.")
    return Funnel(
        name=name,
        steps=tuple(_texts(given.get("steps", ()), f"{where}.steps")),
        window_hours=int(hours),
        group_by=str(given.get("group_by", "session_id")),
    )


def _check_chart(chart: Chart, where: str) -> None:
    if not chart.series:
        raise SettingsError(f"{where}.series", "is empty", next_step="name at least one event.")
    _one_of(chart.interval, INTERVALS, f"{where}.interval")
    if chart.range:
        _one_of(chart.range, RANGES, f"{where}.range")
    if chart.range in ("30min", "lastHour", "last24h"):
        raise SettingsError(
            f"{where}.range",
            f"is {chart.range}, which ends now and cannot be asked for a day",
            next_step="leave it out, or use one of " + ", ".join(RANGES[3:]) + ".",
        )
    _unique([one.label for one in chart.series], f"{where}.series")
    for breakdown in chart.breakdowns:
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
            _check_field(each.name, f"{place}.filters.name")
            _check_filter(each, f"{place}.filters.{each.name}")


def _check_funnel(funnel: Funnel, where: str) -> None:
    if not 2 <= len(funnel.steps) <= 10:
        raise SettingsError(f"{where}.steps", f"has {len(funnel.steps)} events", next_step="name 2 to 10 events.")
    if not 1 <= funnel.window_hours <= 720:
        raise SettingsError(f"{where}.window_hours", f"is {funnel.window_hours}", next_step="write 1 to 720.")
    _one_of(funnel.group_by, GROUP_BY, f"{where}.group_by")


def _check_filter(one: Filter, where: str) -> None:
    _one_of(one.operator, OPERATORS, f"{where}.operator")
    if not one.value and one.operator not in _NO_VALUE:
        # An empty value is ignored by the server: the answer would be unfiltered.
        raise SettingsError(f"{where}.value", "is empty", next_step="give at least one value.")


def _check_field(name: str, where: str) -> None:
    if name not in _EVENT_FIELDS and not _OPEN_FIELDS.fullmatch(name):
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


def _mapping(body: object, where: str, allowed: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise SettingsError(where, f"is {type(body).__name__}", next_step=f"write a mapping of {', '.join(allowed)}.")
    for key in body:
        _one_of(str(key), allowed, f"{where}: key")
    return body


def _named(top: Mapping[str, Any], key: str, where: str) -> list[tuple[str, object]]:
    body = top.get(key) or {}
    if not isinstance(body, Mapping):
        raise SettingsError(f"{where}.{key}", f"is {type(body).__name__}", next_step="write name: {{...}} pairs.")
    return [(str(name), value) for name, value in body.items()]


def _list(body: object, where: str) -> Sequence[object]:
    if not isinstance(body, list | tuple):
        raise SettingsError(where, f"holds {type(body).__name__} where a list is due", next_step="write a list.")
    return body


def _texts(body: object, where: str) -> list[str]:
    return [str(item) for item in _list(body, where)]


def streams(questions: Questions | None = None) -> tuple[Stream, ...]:
    """The catalogue, with what a user asks of events, insights, charts and funnels written into its entries."""
    asked = questions or Questions()

    def configured(query: Query) -> Query:
        match query:
            case EventsQuery():
                return replace(query, names=asked.events)
            case MetricsQuery():
                return replace(query, filters=asked.filters)
            case ListQuery(dimensions=dimensions):
                chosen = asked.dimensions if asked.dimensions and dimensions == DIMENSIONS else dimensions
                return replace(query, filters=asked.filters, dimensions=chosen)
            case ChartsQuery():
                return replace(query, charts=asked.charts)
            case FunnelsQuery():
                return replace(query, funnels=asked.funnels)
        return query

    return tuple(replace(stream, query=configured(stream.query)) for stream in STREAMS)
