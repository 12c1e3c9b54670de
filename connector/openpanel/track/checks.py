"""Why a row cannot be sent, or would not be kept as it is: what the server drops, cuts or rounds with a 200.

Pure: asks nothing. The facts are in ``connector/openpanel/CONTRACT.md``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.redaction import excerpt

# JavaScript has no exact whole numbers above this one.
LARGEST = 2**53
# The server takes a time up to this much ahead of its own; a later one it replaces by now.
AHEAD = timedelta(seconds=60)
LONGEST_DEVICE = 64
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?")
_ENDS = {"{": "}", "[": "]"}


def unsendable(row: Mapping[str, Any], needed: tuple[str, ...]) -> str:
    """Why a row makes no message, or nothing: one such row must not keep the others from being sent."""
    missing = [name for name in needed if row.get(name) in (None, "", [])]
    if missing:
        return f"{', '.join(missing)} is missing"
    for name, value in row.items():
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except ValueError:
            return f"{name} holds what JSON cannot carry (NaN, infinity or half a character): {excerpt(str(value), 60)}"
    if not isinstance(row.get("properties") or {}, dict):
        return f"properties is {excerpt(str(row['properties']), 60)!r}, not an object"
    return ""


def miscounted(row: Mapping[str, Any]) -> str:
    """Why a row is no change of a counter, or nothing."""
    if not isinstance(row["property"], str):
        return f"property is {excerpt(str(row['property']), 60)!r}, not a name"
    value = row.get("value")
    if value is None:
        return ""  # the vendor's default, 1
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"value is {excerpt(str(value), 60)!r}, not a number; cast it in the query"
    if value > 0 and not float(value).is_integer():
        return f"value is {value}, and the server keeps whole numbers only; count in a smaller unit"
    return "" if value > 0 else f"value is {value} and must be more than 0; leave such rows out of the query"


def altered(kind: str, payload: Mapping[str, Any], now: datetime) -> str:
    """What the server would keep otherwise than it is sent, or nothing.

    Args:
        payload: of the message, without a value that JSON cannot carry.
        now: the time that a future timestamp is told by.
    """
    properties: Mapping[str, Any] = payload.get("properties") or {}
    for name in [*properties, str(payload.get("property", ""))]:
        if name.startswith("__bot"):
            return f"{name} is a name of the server's own; rename the column"
    for name, value in _values(payload):
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST:
            return f"{name} is {value}; the server rounds whole numbers above 2^53: cast it to text or change the unit"
        if kind == "track" and isinstance(value, str) and _unfinished(value):
            return f"{name} begins like JSON and does not end so: the server drops it"
    return _event(payload, properties, now) if kind == "track" else ""


def instant(value: object) -> datetime | None:
    """A time as a warehouse writes it, or milliseconds since 1970; without a zone it is UTC. None for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
        if isinstance(value, str) and _TIME.fullmatch(value.strip()):
            moment = datetime.fromisoformat(value.strip())
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _event(payload: Mapping[str, Any], properties: Mapping[str, Any], now: datetime) -> str:
    revenue, asked = properties.get("__revenue"), properties.get("__timestamp")
    if revenue is not None:
        if isinstance(revenue, bool) or not isinstance(revenue, int | float) or revenue < 0 or revenue != int(revenue):
            return (
                f"revenue is {excerpt(str(revenue), 60)!r}; it must be a whole number of the smallest unit, 0 or more"
            )
        if revenue and payload["name"] != "revenue":
            return (
                f"revenue counts only on the event named revenue; on {excerpt(str(payload['name']), 60)!r} the server "
                "stores 0: send it as an event of its own"
            )
        if revenue > LARGEST:
            return f"revenue is {revenue:.0f}; the server rounds numbers above 2^53"
    if asked is not None:
        moment = instant(asked)
        if moment is None:
            return f"timestamp is {excerpt(str(asked), 60)!r}, which the server reads as now; cast it to TIMESTAMPTZ"
        if moment > now + AHEAD:
            return f"timestamp is {moment.isoformat()}, in the future, which the server would store as now"
    device = properties.get("__deviceId")
    if isinstance(device, str) and len(device) > LONGEST_DEVICE:
        return f"__deviceId is longer than {LONGEST_DEVICE} characters, and the server cuts it"
    return ""


def _unfinished(text: str) -> bool:
    stripped = text.strip()
    return stripped[:1] in _ENDS and stripped[-1:] != _ENDS[stripped[:1]]


def _values(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value inside, with its dotted name; without recursion, as JSON texts may be nested deeply."""
    left: list[tuple[str, Any]] = [(name, value) for name, value in payload.items() if name != "properties"]
    left += (payload.get("properties") or {}).items()
    while left:
        name, value = left.pop()
        if isinstance(value, dict):
            left += ((f"{name}.{key}", inner) for key, inner in value.items())
        elif isinstance(value, list):
            left += ((f"{name}.{number}", inner) for number, inner in enumerate(value))
        else:
            yield name, value
