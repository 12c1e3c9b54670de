"""The undocumented ``filters`` of the event export, compiled to a function that gives how often a row is returned.

A row that belongs to two matching groups is returned and counted twice. Names the vendor does not know are ignored
silently. So are cohorts, which this module does not simulate.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from connector.sandbox.messages import RefusalError
from connector.sandbox.openpanel.answers import server_error
from connector.sandbox.openpanel.event_query import Filter
from connector.sandbox.openpanel.store import REFERRER, SYSTEM, UTM, Event, Group, Project, flat, uuid_order
from connector.sandbox.openpanel.timestamps import clickhouse_time

Times = Callable[[Event], int]
Test = Callable[[Any], bool]

NUMBERS = frozenset({"revenue", "duration", "longitude", "latitude"})
MOMENTS = {"created_at": "at", "createdAt": "at", "imported_at": "imported_at"}
TEXTS = frozenset({"name", "path", "origin", *REFERRER, "country", "region", "city", *SYSTEM})
TEXTS |= {"session_id", "device_id", "profile_id", "id", "sdk_name", "sdk_version"}
ALIASES = {
    "deviceId": "device_id",
    "profileId": "profile_id",
    "sessionId": "session_id",
    "osVersion": "os_version",
    "browserVersion": "browser_version",
    "referrerName": "referrer_name",
    "referrerType": "referrer_type",
}
_PLAIN = ("isNull", "isNotNull")


def compile_filters(filters: list[Filter], project: Project) -> Times | None:
    """One function for all the filters together; None if all of them are ignored."""
    known = [found for item in filters if (found := _one(item, project)) is not None]
    by_group = [test for item in filters if (test := _group_test(item)) is not None]
    if by_group:
        known.append(lambda event: sum(_in(project, name, by_group) for name in event.groups))
    if not known:
        return None

    def times(event: Event) -> int:
        result = 1
        for one in known:
            result *= one(event)
            if not result:
                return 0
        return result

    return times


def _one(item: Filter, project: Project) -> Times | None:
    name = ALIASES.get(item.name, item.name)
    if item.operator in ("inCohort", "notInCohort"):
        return None
    if name in MOMENTS:
        return _moment(item, MOMENTS[name])
    if not item.value and item.operator not in _PLAIN:
        return None
    if name in NUMBERS:
        test = _number_test(item)
        return lambda event: test(getattr(event, name))
    if name == "id" and item.operator in ("gt", "gte", "lt", "lte"):
        compare, bound = _ORDERINGS[item.operator], uuid_order(str(item.value[0]))
        return lambda event: compare(uuid_order(event.id), bound)
    if name in TEXTS:
        test = _text_test(item)
        return lambda event: test(getattr(event, name).strip("\0"))
    if name == "has_profile":
        wanted = str(item.value[0]).lower() == "true"
        return lambda event: (event.profile_id != event.device_id) == wanted
    if name in UTM:
        return _property(item, f"__query.{name}", lambda event: event.properties)
    if name.startswith("properties."):
        return _property(item, name.removeprefix("properties."), lambda event: event.properties)
    if name.startswith("profile.properties."):
        return _property(item, name.removeprefix("profile.properties."), lambda event: _person(project, event))
    return None


def _person(project: Project, event: Event) -> Mapping[str, str]:
    profile = project.profiles.get(event.profile_id)
    return flat(profile.properties) if profile else {}


def _property(item: Filter, key: str, values: Callable[[Event], Mapping[str, str]]) -> Times:
    test = _property_test(item)
    if "*" not in key:
        return lambda event: test(values(event).get(key, ""))
    pattern = re.compile(".*".join(map(re.escape, key.split("*"))))
    return lambda event: any(test(value) for name, value in values(event).items() if pattern.fullmatch(name))


def _group_test(item: Filter) -> Callable[[Group], bool] | None:
    if not item.value and item.operator not in _PLAIN:
        return None
    test = _property_test(item)
    if item.name in ("group.name", "group.type"):
        column = item.name.removeprefix("group.")
        return lambda group: test(getattr(group, column))
    if item.name.startswith("group.properties."):
        key = item.name.removeprefix("group.properties.")
        return lambda group: test(group.properties.get(key, ""))
    return None


def _in(project: Project, name: str, tests: list[Callable[[Group], bool]]) -> bool:
    group = project.groups.get(name)
    return group is not None and all(test(group) for test in tests)


def _moment(item: Filter, column: str) -> Times | None:
    if item.operator in _PLAIN:
        if column == "imported_at":
            raise RefusalError(server_error())
        wanted = item.operator == "isNotNull"
        return lambda _: wanted
    if not item.value:
        return None
    bounds = [clickhouse_time(str(value)) for value in item.value]
    if None in bounds or item.operator not in (*_ORDERINGS, "is", "isNot"):
        raise RefusalError(server_error())
    step = 1000 if item.cast == "datetime" else 1
    known = [bound // step for bound in bounds if bound is not None]

    def read(event: Event) -> int | None:
        value: int | None = getattr(event, column)
        return None if value is None else value // step

    if item.operator in _ORDERINGS:
        compare, bound = _ORDERINGS[item.operator], known[0]
        return lambda event: (value := read(event)) is not None and compare(value, bound)
    inside = item.operator == "is"
    return lambda event: (value := read(event)) is not None and (value in known) == inside


_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def _number_test(item: Filter) -> Test:
    bounds = [_float(value) for value in item.value]
    if item.operator in _ORDERINGS:
        compare = _ORDERINGS[item.operator]
        return lambda value: value is not None and compare(value, bounds[0])
    if item.operator == "is":
        return lambda value: value in bounds
    if item.operator == "isNot":
        return lambda value: value is not None and value not in bounds
    if item.operator in _PLAIN:
        return lambda value: (not value) == (item.operator == "isNull")
    text = _text_test(item)
    return lambda value: text("" if value is None else str(value))


def _property_test(item: Filter) -> Test:
    """Properties are text. Only the orderings read a number from it; text without a number counts as 0."""
    if item.operator in _ORDERINGS:
        compare, bound = _ORDERINGS[item.operator], _float(item.value[0])
        return lambda value: compare(_float(value), bound)
    return _text_test(item)


def _text_test(item: Filter) -> Test:
    values = [_said(value) for value in item.value]
    match item.operator:
        case "is":
            return lambda text: text in values
        case "isNot":
            return lambda text: text not in values
        case "contains":
            return lambda text: any(value in text for value in values)
        case "doesNotContain":
            return lambda text: not any(value in text for value in values)
        case "startsWith":
            return lambda text: text.startswith(tuple(values))
        case "endsWith":
            return lambda text: text.endswith(tuple(values))
        case "regex":
            patterns = [re.compile(value) for value in values]
            return lambda text: any(pattern.search(text) for pattern in patterns)
        case "isNull":
            return lambda text: not text
        case "isNotNull":
            return lambda text: bool(text)
    compare = _ORDERINGS[item.operator]
    return lambda text: compare(text, values[0])


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
