"""The bodies that Track accepts, and the validator's messages about the others.

Only the shape of a body is checked here, not whether a profile exists or a client may send.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from connector.sandbox.messages import RefusalError, Request
from connector.sandbox.openpanel.answers import as_json
from connector.sandbox.openpanel.event_query import Problems, expected

RESERVED = ("session_start", "session_end")
_ATTACK = re.compile(r"<script|javascript:|union\s+select|\.\./\.\./|\$\{jndi|;\s*drop\s+table", re.IGNORECASE)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]{2,}")
_URL = re.compile(r"[a-z][a-z0-9+.-]*:\S+", re.IGNORECASE)

Check = Callable[[Any, str, Problems], None]


def body_of(request: Request) -> Any:
    """The JSON body, or a 400."""
    if not request.body:
        raise RefusalError(_unreadable("Body cannot be empty when content-type is set to 'application/json'"))
    try:
        return json.loads(request.body)
    except ValueError as error:
        text = "Body is not valid JSON but content-type is set to 'application/json'"
        raise RefusalError(_unreadable(text)) from error


def _unreadable(message: str) -> Any:
    return as_json({"status": 400, "error": "FastifyError", "message": message}, 400)


def problems_of(body: Any) -> Problems:
    """All problems of a body of ``POST /track``; empty if it is valid."""
    problems: Problems = []
    if not isinstance(body, dict):
        return [("", expected("object", body))]
    kind = body.get("type")
    fields = FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        return [("type", "Invalid input")]
    payload = body.get("payload")
    if not isinstance(payload, dict):
        return [("payload", expected("object", payload))]
    for name, (required, check) in fields.items():
        value = payload.get(name)
        if name in payload or required:
            check(value, f"payload/{name}", problems)
    if kind == "track" and not problems:
        _event_rules(payload, problems)
    return problems


def _event_rules(payload: dict[str, Any], problems: Problems) -> None:
    name = payload["name"]
    if name in RESERVED:
        text = f"Event name cannot be one of the reserved names: {', '.join(RESERVED)}"
        problems.append(("payload/name", text))
    if _ATTACK.search(name):
        problems.append(("payload/name", "Event name contains blocked content"))
    revenue = (payload.get("properties") or {}).get("__revenue")
    if name == "revenue" and revenue is not None and not _whole(revenue):
        text = "__revenue must be an integer (no floats or strings)"
        problems.append(("payload/properties/__revenue", text))


def _whole(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and value >= 0 and float(value).is_integer()


def _string(least: int = 0, most: int | None = None) -> Check:
    def check(value: Any, path: str, problems: Problems) -> None:
        if not isinstance(value, str):
            problems.append((path, expected("string", value)))
        elif len(value) < least:
            problems.append((path, f"Too small: expected string to have >={least} characters"))
        elif most is not None and len(value) > most:
            problems.append((path, f"Too big: expected string to have <={most} characters"))

    return check


def _matching(pattern: re.Pattern[str], text: str) -> Check:
    def check(value: Any, path: str, problems: Problems) -> None:
        if not isinstance(value, str):
            problems.append((path, expected("string", value)))
        elif not pattern.fullmatch(value):
            problems.append((path, text))

    return check


def _profile(value: Any, path: str, problems: Problems) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number and not (isinstance(value, str) and value):
        problems.append((path, "Invalid input"))


def _record(value: Any, path: str, problems: Problems) -> None:
    if not isinstance(value, dict):
        problems.append((path, expected("record", value)))


def _strings(value: Any, path: str, problems: Problems) -> None:
    if not isinstance(value, list):
        problems.append((path, expected("array", value)))
        return
    for at, item in enumerate(value):
        _string(1)(item, f"{path}/{at}", problems)


def _strings_or_null(value: Any, path: str, problems: Problems) -> None:
    if value is not None:
        _strings(value, path, problems)


def _positive(value: Any, path: str, problems: Problems) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        problems.append((path, expected("number", value)))
    elif value <= 0:
        problems.append((path, "Too small: expected number to be >0"))


def _whole_from(least: int) -> Check:
    def check(value: Any, path: str, problems: Problems) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            problems.append((path, expected("number", value)))
        elif not float(value).is_integer():
            problems.append((path, "Invalid input: expected int, received number"))
        elif value < least:
            problems.append((path, f"Too small: expected number to be >={least}"))

    return check


def _boolean(value: Any, path: str, problems: Problems) -> None:
    if not isinstance(value, bool):
        problems.append((path, expected("boolean", value)))


_STEP: dict[str, tuple[bool, Check]] = {
    "profileId": (True, _profile),
    "property": (True, _string(1)),
    "value": (False, _positive),
}
FIELDS: dict[str, dict[str, tuple[bool, Check]]] = {
    "track": {
        "name": (True, _string(1, 80)),
        "properties": (False, _record),
        "profileId": (False, _profile),
        "groups": (False, _strings_or_null),
    },
    "identify": {
        "profileId": (True, _profile),
        "firstName": (False, _string()),
        "lastName": (False, _string()),
        "email": (False, _matching(_EMAIL, "Invalid email address")),
        "avatar": (False, _matching(_URL, "Invalid URL")),
        "properties": (False, _record),
    },
    "increment": _STEP,
    "decrement": _STEP,
    "alias": {"profileId": (True, _profile), "alias": (True, _string(1))},
    "group": {
        "id": (True, _string(1)),
        "type": (True, _string(1)),
        "name": (True, _string(1)),
        "properties": (False, _record),
    },
    "assign_group": {"groupIds": (True, _strings), "profileId": (False, _profile)},
    "replay": {
        "chunk_index": (True, _whole_from(0)),
        "events_count": (True, _whole_from(1)),
        "is_full_snapshot": (True, _boolean),
        "started_at": (True, _string()),
        "ended_at": (True, _string()),
        "payload": (True, _string(most=2 * 1024 * 1024)),
    },
}
