"""The query string as the vendor rewrites and validates it.

Every value is rewritten before it is validated: text that looks like a number becomes a number, and JSON is decoded.
That is why an id of digits is refused unless it is sent in JSON quotes.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.sandbox.messages import Params, RefusalError
from connector.sandbox.openpanel.answers import ServerWording

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_JS_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)
OPERATORS = [
    *("is", "isNot", "contains", "doesNotContain", "startsWith", "endsWith", "regex", "isNull", "isNotNull"),
    *("gt", "lt", "gte", "lte", "inCohort", "notInCohort"),
]
CASTS = ("string", "number", "date", "datetime", "boolean")

Problems = list[tuple[str, str]]


@dataclass(frozen=True)
class Filter:
    """One item of ``filters``."""

    name: str
    operator: str
    value: list[Any]
    cast: str | None = None


@dataclass(frozen=True, kw_only=True)
class EventQuery:
    """A validated query of ``/export/events``; ``page`` and ``limit`` are clamped but may still be fractions."""

    project: str | None = None
    profile: str | None = None
    names: list[str] | None = None
    start: str | None = None
    end: str | None = None
    page: float = 1
    limit: float = 50
    includes: frozenset[str] = field(default_factory=frozenset)
    filters: list[Filter] = field(default_factory=list)


def rewritten(params: Params) -> dict[str, Any]:
    """Every value as the vendor reads it."""
    return {
        name: [_rewrite(item) for item in value] if isinstance(value, list) else _rewrite(value)
        for name, value in params.items()
    }


def _rewrite(text: str) -> Any:
    if _NUMBER.fullmatch(text):
        number = float(text)
        return int(number) if number.is_integer() else number
    if text in ("true", "false"):
        return text == "true"
    try:
        value = json.loads(text, parse_constant=_not_json)
    except ValueError:
        return text
    return text if value is None else value


def _not_json(constant: str) -> Any:
    raise ValueError(constant)


def event_query(params: Params, most: int, wording: ServerWording) -> EventQuery:
    """The query of ``/export/events``, or a 400. Unknown parameters are ignored silently."""
    given = rewritten(params)
    problems: Problems = []
    snake = text_of(given, "project_id", problems)
    project = text_of(given, "projectId", problems) or snake
    profile = text_of(given, "profileId", problems)
    names = _names(given, problems)
    page = _number(given, "page", 1, problems)
    limit = _number(given, "limit", 50, problems)
    includes = _includes(given, problems)
    filters = filters_of(given, problems)
    if problems:
        raise RefusalError(wording.invalid("querystring", problems))
    return EventQuery(
        project=project,
        profile=profile,
        names=names,
        start=_coerced(given.get("start")),
        end=_coerced(given.get("end")),
        page=max(page, 1),
        limit=max(min(limit, most), 1),
        includes=includes,
        filters=filters,
    )


def documented_query(params: Params, most: int, wording: ServerWording) -> EventQuery:
    """The query as documented. Texts are not rewritten.

    Lists may be JSON, repeated or, for ``includes``, separated by commas.
    """
    problems: Problems = []

    def words(name: str) -> list[str] | None:
        value = params.get(name)
        if value is None or isinstance(value, list):
            return value
        parsed = _rewrite(value)
        return [str(item) for item in parsed] if isinstance(parsed, list) else [value]

    def whole(name: str, default: int) -> int:
        value = _last(params, name)
        if value is None:
            return default
        if not re.fullmatch(r"\d+", value) or int(value) < 1:
            problems.append((name, "Expected a positive integer"))
            return default
        return int(value)

    page, limit = whole("page", 1), min(whole("limit", 50), most)
    if problems:
        raise RefusalError(wording.invalid("querystring", problems))
    return EventQuery(
        project=_last(params, "projectId") or _last(params, "project_id"),
        profile=_last(params, "profileId"),
        names=words("event"),
        start=_last(params, "start") or _last(params, "startDate"),
        end=_last(params, "end") or _last(params, "endDate"),
        page=page,
        limit=limit,
        includes=frozenset(name for item in words("includes") or [] for name in item.split(",")),
    )


def _last(params: Params, name: str) -> str | None:
    value = params.get(name)
    return value[-1] if isinstance(value, list) else value


def kind_of(value: Any) -> str:
    """The validator's word for the type of a value."""
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def expected(wanted: str, value: Any) -> str:
    """The validator's message about a value of the wrong type."""
    return f"Invalid input: expected {wanted}, received {kind_of(value)}"


def text_of(given: Mapping[str, Any], name: str, problems: Problems) -> str | None:
    """A text; None if it is missing or wrong, which is noted in ``problems``."""
    value = given.get(name)
    if value is None or isinstance(value, str):
        return value
    problems.append((name, expected("string", value)))
    return None


def _names(given: Mapping[str, Any], problems: Problems) -> list[str] | None:
    value = given.get("event")
    if value is None:
        return None
    names = value if isinstance(value, list) else [value]
    if all(isinstance(name, str) for name in names):
        return names
    problems.append(("event", "Invalid input"))
    return None


def _number(given: Mapping[str, Any], name: str, default: float, problems: Problems) -> float:
    value = given.get(name)
    if value is None:
        return default
    number = _js_number(value)
    if math.isnan(number):
        problems.append((name, "Invalid input: expected number, received NaN"))
    return number


def _js_number(value: Any) -> float:
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, list):
        return _js_number(_coerced(value))
    if not isinstance(value, str):
        return math.nan
    if not value.strip():
        return 0
    return float(value) if _JS_NUMBER.fullmatch(value) else math.nan


def _includes(given: Mapping[str, Any], problems: Problems) -> frozenset[str]:
    value = given.get("includes")
    if value is None:
        return frozenset()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        problems.append(("includes", expected("array", value)))
        return frozenset()
    wrong = [(f"includes/{at}", expected("string", item)) for at, item in enumerate(value) if not isinstance(item, str)]
    if wrong:
        problems.extend(wrong)
        return frozenset()
    return frozenset(name for item in value for name in item.split(","))


def filters_of(given: Mapping[str, Any], problems: Problems, path: str = "filters") -> list[Filter]:
    """The filters of a query, or those of one item at ``path`` in it."""
    items = given.get("filters")
    if items is None:
        return []
    if not isinstance(items, list):
        problems.append((path, expected("array", items)))
        return []
    return [found for at, item in enumerate(items) if (found := _filter(item, f"{path}/{at}", problems))]


def _filter(item: Any, path: str, problems: Problems) -> Filter | None:
    if not isinstance(item, dict):
        problems.append((path, expected("object", item)))
        return None
    before = len(problems)
    name, operator, value, cast = (item.get(key) for key in ("name", "operator", "value", "type"))
    if not isinstance(name, str):
        problems.append((f"{path}/name", expected("string", name)))
    if operator not in OPERATORS:
        problems.append((f"{path}/operator", one_of(OPERATORS)))
    if not isinstance(value, list):
        problems.append((f"{path}/value", expected("array", value)))
    elif any(isinstance(part, (dict, list)) for part in value):
        problems.append((f"{path}/value", "Invalid input"))
    if cast is not None and cast not in CASTS:
        problems.append((f"{path}/type", one_of(CASTS)))
    if len(problems) > before:
        return None
    return Filter(str(name), str(operator), value if isinstance(value, list) else [], cast)


def one_of(names: list[str] | tuple[str, ...]) -> str:
    """The validator's message about a value that is not one of these."""
    listed = "|".join(f'"{name}"' for name in names)
    return f"Invalid option: expected one of {listed}"


def _coerced(value: Any) -> str | None:
    """``String(value)``; an empty text counts as not given."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_coerced(item) or "" for item in value)
    if isinstance(value, dict):
        return "[object Object]"
    return None if value in (None, "") else str(value)
