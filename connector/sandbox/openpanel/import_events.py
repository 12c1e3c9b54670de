"""``POST /import/events``: raw rows straight into the event store, readable at once.

Nothing is validated: a row that cannot be stored makes the whole request a 500. It makes no sessions and no
profiles, and it cuts milliseconds.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connector.sandbox.openpanel import auth
from connector.sandbox.openpanel.answers import RefusalError, as_text, server_error
from connector.sandbox.openpanel.store import COLUMNS, flat
from connector.sandbox.openpanel.timestamps import as_ms, js_date
from connector.sandbox.openpanel.track_validation import body_of
from connector.sandbox.wire import Answer, Request

if TYPE_CHECKING:
    from connector.sandbox.openpanel.vendor import OpenPanel


def import_events(vendor: "OpenPanel", request: Request) -> Answer:
    """Store every row of a JSON array, or none."""
    body = body_of(request)
    client = auth.reader("Import", "import", vendor.clients, request.headers, vendor.say)
    if client.project is None or not isinstance(body, list) or vendor.event_store_down:
        raise RefusalError(server_error())
    project = vendor.projects[client.project]
    stamp = vendor.now() // 1000 * 1000
    try:
        events = [project.event(_row(row, stamp) | {"id": row.get("id") or vendor.new_id()}) for row in body]
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
