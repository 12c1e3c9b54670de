"""Who may ask: credentials, client types, and which project a request is about.

The checks stand in the vendor's order, because a request with two faults shows which came first. Secrets are
compared as text (the vendor hashes them, slowly), and changes of a client are seen at once (the vendor caches).
"""

# ruff: noqa: S106 - these secrets open nothing but the simulated server

import re
from collections.abc import Mapping
from typing import Any

from connector.sandbox.openpanel.answers import RefusalError, Server
from connector.sandbox.openpanel.store import Client, Project

READ = Client(id="3f0d4a52-6c1e-4b57-9d0a-5b9a2f6c7e01", secret="sec_3b1f8e5a7c2d4960a1b2", type="read")
ROOT = Client(id="8b2c9e14-0d3f-4f6a-8e57-1c4d7a9b2f02", secret="sec_9d8c7b6a5f4e3d2c1b0a", type="root")
WRITE = Client(id="c5a7e1d9-4b8f-4c23-a6d1-7e9f0b3c5d03", secret="sec_5e4d3c2b1a0f9e8d7c6b", type="write")

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def reader(family: str, deed: str, clients: Mapping[str, Client], headers: Mapping[str, str], say: Server) -> Client:
    """The client of an Export, Insights or Import request, or a 401."""
    client = _known(family, clients, headers, say)
    if client.type == "write":
        raise RefusalError(say.unauthorized(f"{family}: Client is not allowed to {deed}"))
    return _proven(family, client, headers, say)


def manager(clients: Mapping[str, Client], headers: Mapping[str, str], say: Server) -> Client:
    """The client of a Manage request, or a 401."""
    client = _known("Manage", clients, headers, say)
    if client.type != "root":
        raise RefusalError(say.unauthorized("Manage: Only root clients are allowed to manage resources"))
    return _proven("Manage", client, headers, say)


def _known(family: str, clients: Mapping[str, Client], headers: Mapping[str, str], say: Server) -> Client:
    client_id = headers.get("openpanel-client-id", "")
    if not _ID.fullmatch(client_id):
        raise RefusalError(say.unauthorized(f"{family}: Client ID must be a valid UUIDv4"))
    client = clients.get(client_id)
    if client is None:
        raise RefusalError(say.unauthorized(f"{family}: Invalid client id"))
    if client.secret is None:
        raise RefusalError(say.unauthorized(f"{family}: Client has no secret"))
    return client


def _proven(family: str, client: Client, headers: Mapping[str, str], say: Server) -> Client:
    if headers.get("openpanel-client-secret", "") != client.secret:
        raise RefusalError(say.unauthorized(f"{family}: Invalid client secret"))
    return client


def project_of(client: Client, asked: str | None, projects: Mapping[str, Project], say: Server) -> Project:
    """The project an Export request is about, or a 400, 403 or 404."""
    if asked:
        if client.type == "read" and client.project != asked:
            raise RefusalError(say.project(403, "You do not have access to this project"))
        project = projects.get(asked)
        if project is None or project.organisation.id != client.organisation:
            raise RefusalError(say.project(404, "Project not found"))
        return project
    if client.project is None:
        raise RefusalError(say.project(400, "project_id or projectId is required"))
    return projects[client.project]


def sender(
    clients: Mapping[str, Client], projects: Mapping[str, Project], headers: Mapping[str, str], body: Any, say: Server
) -> tuple[Client, Project, bool]:
    """The client and project of a Track request and whether it showed a secret, or a 401."""
    given: Mapping[str, Any] = body if isinstance(body, dict) else {}
    client_id = headers.get("openpanel-client-id") or headers.get("mixan-client-id") or given.get("clientId")
    secret = headers.get("openpanel-client-secret") or headers.get("mixan-client-secret") or given.get("clientSecret")
    origin = headers.get("origin", "")
    if not client_id:
        raise RefusalError(say.not_ingested("Ingestion: Missing client id"))
    if not _ID.fullmatch(str(client_id)):
        raise RefusalError(say.not_ingested("Ingestion: Client ID must be a valid UUIDv4"))
    client = clients.get(str(client_id))
    if client is None:
        raise RefusalError(say.not_ingested("Ingestion: Invalid client id"))
    project = projects.get(client.project or "")
    if project is None:
        raise RefusalError(say.not_ingested("Ingestion: Client has no project"))
    if not secret and not project.allow_unsafe_revenue and _revenue(given) is not None:
        raise RefusalError(say.not_ingested("Ingestion: Revenue tracking is not allowed without a client secret"))
    by_origin = bool(origin) and ("*" in project.cors or _bare(origin) in map(_bare, project.cors))
    if client.ignore_cors_and_secret or by_origin or (client.secret is not None and secret == client.secret):
        return client, project, bool(secret)
    raise RefusalError(say.not_ingested("Ingestion: Invalid cors or secret"))


def _revenue(body: Mapping[str, Any]) -> Any:
    for holder in (body.get("payload"), body):
        properties = holder.get("properties") if isinstance(holder, dict) else None
        if isinstance(properties, dict) and "__revenue" in properties:
            return properties["__revenue"]
    return None


def _bare(domain: str) -> str:
    return re.sub(r"https?://", "", domain.replace("www.", "")).rstrip("/")
