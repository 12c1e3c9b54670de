"""``GET /documentation/json``: the server's own description, as far as a client can learn from it what a server has.

It lists routes and parameters, but no schemas of bodies.
"""

from collections.abc import Iterable
from typing import Any

_EVENTS = ("project_id", "projectId", "profileId", "event", "start", "end", "page", "limit", "includes", "filters")


_CHARTS = (
    *("project_id", "projectId", "series", "events", "breakdowns", "interval", "range", "previous"),
    *("startDate", "endDate"),
)
_PERIOD = ("startDate", "endDate", "range")
_REPORT = (*_PERIOD, "filters")
_PAGED = (*_REPORT, "cursor", "limit")


def openapi(dimensions: Iterable[str], newer: Iterable[str]) -> dict[str, Any]:
    """An OpenAPI 3.1 description of the routes.

    Args:
        dimensions: the documented Insights routes that list the values of a column.
        newer: the other Insights routes of servers that have this description.
    """
    insights = {"metrics": _REPORT, "live": (), **dict.fromkeys(["pages", *dimensions], _PAGED)}
    insights |= dict.fromkeys(newer, _PERIOD)
    return {
        "openapi": "3.1.0",
        "info": {"title": "OpenPanel API", "version": "1.0.0"},
        "paths": {
            "/export/events": {"get": _route("Export", "Export raw events", _EVENTS)},
            "/export/charts": {"get": _route("Export", "Chart data", _CHARTS)},
            **{
                f"/insights/{{projectId}}/{name}": {"get": _route("Insights", name, parameters)}
                for name, parameters in insights.items()
            },
            "/import/events": {"post": _route("Import", "Import historical events")},
            "/track/": {"post": _route("Track", "Track events and sessions")},
            "/track/device-id": {"get": _route("Track", "Device and session of this visitor")},
        },
    }


def _route(tag: str, summary: str, parameters: tuple[str, ...] = ()) -> dict[str, Any]:
    listed = [{"name": name, "in": "query", "required": False, "schema": {}} for name in parameters]
    return {"tags": [tag], "summary": summary, "parameters": listed, "responses": {"200": {"description": "OK"}}}
