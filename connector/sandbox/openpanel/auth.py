"""Credentials: which client may ask what, and which project a request is about.

The checks are in the vendor's order, because a request with two faults shows which check comes first. Secrets are
compared as text (the vendor hashes them, slowly), and a changed client counts at once (the vendor caches clients).
"""

# ruff: noqa: S106 - these secrets open nothing but the simulated server

import re
from collections.abc import Mapping
from typing import Any

from connector.sandbox.messages import RefusalError, Request
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import Client, Project

READ = Client(id="3f0d4a52-6c1e-4b57-9d0a-5b9a2f6c7e01", secret="sec_3b1f8e5a7c2d4960a1b2", type="read")
ROOT = Client(id="8b2c9e14-0d3f-4f6a-8e57-1c4d7a9b2f02", secret="sec_9d8c7b6a5f4e3d2c1b0a", type="root")
WRITE = Client(id="c5a7e1d9-4b8f-4c23-a6d1-7e9f0b3c5d03", secret="sec_5e4d3c2b1a0f9e8d7c6b", type="write")

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def reader(state: State, request: Request, family: str) -> Client:
    """The client of an Export, Insights or Import request, or a 401."""
    client = _known(state, request, family)
    if client.type == "write":
        raise RefusalError(state.wording.unauthorized(f"{family}: Client is not allowed to {family.lower()}"))
    return _proven(state, request, family, client)


def manager(state: State, request: Request) -> Client:
    """The client of a Manage request, or a 401."""
    client = _known(state, request, "Manage")
    if client.type != "root":
        refusal = state.wording.unauthorized("Manage: Only root clients are allowed to manage resources")
        raise RefusalError(refusal)
    return _proven(state, request, "Manage", client)


def _known(state: State, request: Request, family: str) -> Client:
    client_id = request.headers.get("openpanel-client-id", "")
    client = state.clients.get(client_id)
    if not _ID.fullmatch(client_id):
        problem = "Client ID must be a valid UUIDv4"
    elif client is None:
        problem = "Invalid client id"
    elif client.secret is None:
        problem = "Client has no secret"
    else:
        return client
    raise RefusalError(state.wording.unauthorized(f"{family}: {problem}"))


def _proven(state: State, request: Request, family: str, client: Client) -> Client:
    if request.headers.get("openpanel-client-secret", "") != client.secret:
        raise RefusalError(state.wording.unauthorized(f"{family}: Invalid client secret"))
    return client


def export_project(state: State, request: Request, asked: str | None) -> Project:
    """The project an Export request is about, or a 400, 401, 403 or 404."""
    client = reader(state, request, "Export")
    if asked:
        if client.type == "read" and client.project != asked:
            raise RefusalError(state.wording.project(403, "You do not have access to this project"))
        project = state.projects.get(asked)
        if project is None or project.organisation.id != client.organisation:
            raise RefusalError(state.wording.project(404, "Project not found"))
        return project
    if client.project is None:
        raise RefusalError(state.wording.project(400, "project_id or projectId is required"))
    return state.projects[client.project]


def sender(state: State, headers: Mapping[str, str], body: Any) -> tuple[Project, bool]:
    """The project of a Track request and whether the request carries a secret, or a 401."""
    given: Mapping[str, Any] = body if isinstance(body, dict) else {}
    client_id = headers.get("openpanel-client-id") or headers.get("mixan-client-id") or given.get("clientId")
    secret = headers.get("openpanel-client-secret") or headers.get("mixan-client-secret") or given.get("clientSecret")
    origin = headers.get("origin", "")
    client = state.clients.get(str(client_id))
    project = state.projects.get((client and client.project) or "")
    if not client_id:
        problem = "Missing client id"
    elif not _ID.fullmatch(str(client_id)):
        problem = "Client ID must be a valid UUIDv4"
    elif client is None:
        problem = "Invalid client id"
    elif project is None:
        problem = "Client has no project"
    elif not secret and not project.allow_unsafe_revenue and _revenue(given) is not None:
        problem = "Revenue tracking is not allowed without a client secret"
    else:
        by_origin = bool(origin) and ("*" in project.cors or _bare(origin) in map(_bare, project.cors))
        if client.ignore_cors_and_secret or by_origin or (client.secret is not None and secret == client.secret):
            return project, bool(secret)
        problem = "Invalid cors or secret"
    raise RefusalError(state.wording.not_ingested(f"Ingestion: {problem}"))


def _revenue(body: Mapping[str, Any]) -> Any:
    for holder in (body.get("payload"), body):
        properties = holder.get("properties") if isinstance(holder, dict) else None
        if isinstance(properties, dict) and "__revenue" in properties:
            return properties["__revenue"]
    return None


def _bare(domain: str) -> str:
    return re.sub(r"https?://", "", domain.replace("www.", "")).rstrip("/")
