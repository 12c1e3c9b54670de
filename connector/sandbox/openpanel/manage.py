"""``GET /manage/...``: the two lists of an organisation's projects and clients that were recorded.

Root clients only, and a smaller share of the budget all families have in common. Nothing can be changed here.
"""

from typing import TYPE_CHECKING, Any

from connector.sandbox.openpanel import auth
from connector.sandbox.openpanel.answers import as_json
from connector.sandbox.openpanel.store import Client, Project
from connector.sandbox.openpanel.timestamps import iso
from connector.sandbox.wire import Answer, Request

if TYPE_CHECKING:
    from connector.sandbox.openpanel.vendor import OpenPanel

_MADE = iso(0)  # when things were made is not kept


def projects(vendor: "OpenPanel", request: Request) -> Answer:
    """The projects of the client's organisation."""
    client = auth.manager(vendor.clients, request.headers, vendor.say)
    found = [project for project in vendor.projects.values() if project.organisation.id == client.organisation]
    return as_json({"data": [_project(project) for project in reversed(found)]})


def clients(vendor: "OpenPanel", request: Request) -> Answer:
    """The clients of the client's organisation, newest first."""
    client = auth.manager(vendor.clients, request.headers, vendor.say)
    found = [other for other in vendor.clients.values() if other.organisation == client.organisation]
    return as_json({"data": [_client(other) for other in reversed(found)]})


def _project(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.id,
        "organizationId": project.organisation.id,
        "eventsCount": 0,  # a counter that another process updates now and then
        "types": ["website"],
        "domain": project.cors[0] if project.cors else None,
        "cors": project.cors,
        "crossDomain": False,
        "allowUnsafeRevenueTracking": project.allow_unsafe_revenue,
        "filters": [],
        "deleteAt": None,
        "createdAt": _MADE,
        "updatedAt": _MADE,
    }


def _client(client: Client) -> dict[str, Any]:
    return {
        "id": client.id,
        "name": client.id,
        "secret": None if client.secret is None else "0123456789abcdef.not-a-hash",
        "type": client.type,
        "projectId": client.project,
        "organizationId": client.organisation,
        "ignoreCorsAndSecret": client.ignore_cors_and_secret,
        "createdAt": _MADE,
        "updatedAt": _MADE,
    }
