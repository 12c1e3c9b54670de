"""``GET /manage/...``: the two lists of an organisation's projects and clients that were recorded.

They are for root clients only. All families of routes share one budget, but these routes refuse earlier.
"""

from typing import Any

from connector.sandbox.messages import Answer, Request
from connector.sandbox.openpanel.answers import as_json
from connector.sandbox.openpanel.auth import manager
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import Client, Project
from connector.sandbox.openpanel.timestamps import iso

_MADE = iso(0)  # the sandbox does not keep times of creation


def projects(state: State, request: Request) -> Answer:
    """The projects of the client's organisation."""
    client = manager(state, request)
    found = [project for project in state.projects.values() if project.organisation.id == client.organisation]
    return as_json({"data": [_project(project) for project in reversed(found)]})


def clients(state: State, request: Request) -> Answer:
    """The clients of the client's organisation, newest first."""
    client = manager(state, request)
    found = [other for other in state.clients.values() if other.organisation == client.organisation]
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
