"""``GET /documentation/json``: the part of the server's own description a client can use to learn its abilities.

It lists routes and parameters, no schemas of bodies.
"""

from typing import Any

_EVENTS = ("project_id", "projectId", "profileId", "event", "start", "end", "page", "limit", "includes", "filters")


def openapi() -> dict[str, Any]:
    """An OpenAPI 3.1 description of the routes this server has."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "OpenPanel API", "version": "1.0.0"},
        "paths": {
            "/export/events": {"get": _route("Export", "Export raw events", _EVENTS)},
            "/import/events": {"post": _route("Import", "Import historical events")},
            "/track/": {"post": _route("Track", "Track events and sessions")},
            "/track/device-id": {"get": _route("Track", "Device and session of this visitor")},
        },
    }


def _route(tag: str, summary: str, parameters: tuple[str, ...] = ()) -> dict[str, Any]:
    listed = [{"name": name, "in": "query", "required": False, "schema": {}} for name in parameters]
    return {"tags": [tag], "summary": summary, "parameters": listed, "responses": {"200": {"description": "OK"}}}
