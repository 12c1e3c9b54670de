"""``POST /import/events``: raw rows go directly into the event store and can be read at once.

The rows are not validated: one that cannot be stored makes the whole request a 500. An import creates no sessions and
no profiles, and it drops milliseconds.
"""

import json
from collections.abc import Mapping
from typing import Any

from connector.sandbox.messages import Answer, RefusalError, Request
from connector.sandbox.openpanel.answers import as_text, server_error
from connector.sandbox.openpanel.auth import reader
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import COLUMNS, flat
from connector.sandbox.openpanel.timestamps import as_ms, js_date
from connector.sandbox.openpanel.track_validation import body_of


def import_events(state: State, request: Request) -> Answer:
    """Store all rows of a JSON array, or none of them."""
    body = body_of(request)
    client = reader(state, request, "Import")
    if client.project is None or not isinstance(body, list) or state.event_store_down:
        raise RefusalError(server_error())
    project = state.projects[client.project]
    stamp = state.now() // 1000 * 1000
    try:
        events = [project.event(_row(row, stamp) | {"id": row.get("id") or state.new_id()}) for row in body]
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise RefusalError(server_error()) from error
    for event in events:
        project.events.add(event)
    return as_text("OK")


def _row(row: Mapping[str, Any], stamp: int) -> dict[str, Any]:
    known = {
        name: value for name, value in row.items() if name in COLUMNS and name not in ("project_id", "imported_at")
    }
    known["properties"] = {key: text.strip() for key, text in flat(row["properties"]).items()}
    return {**known, "created_at": _second(row["created_at"]), "imported_at": stamp}


def _second(value: Any) -> int:
    moment = js_date(value) if isinstance(value, str) else as_ms(int(value))
    if moment is None:
        raise ValueError(json.dumps(value))
    return moment // 1000 * 1000
