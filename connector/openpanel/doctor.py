"""Examines OpenPanel: variables, credentials, the project, the clock, the timezone, and the age of the server.

Sends a handful of requests, or none.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from connector.catalogue.openpanel import DIMENSIONS, EVENTS
from connector.errors import ConnectorError, RejectedError, SettingsError
from connector.health import Finding, clock_skew, failed, ok, own_name, variables, warn
from connector.openpanel.client import OpenPanel
from connector.openpanel.reports.config import Questions
from connector.openpanel.reports.control import idle_filters
from connector.openpanel.settings import DEFAULTS, OpenPanelSettings
from connector.redaction import excerpt
from connector.settings import Environment

ABOUT = "openpanel"
_SECRET = "OPENPANEL_CLIENT_SECRET"  # noqa: S105  a variable's name
_NEEDED = ("OPENPANEL_CLIENT_ID", _SECRET, "OPENPANEL_PROJECT_ID")
_NAMES = ("OPENPANEL_API_URL", *_NEEDED)
_REPORTS = "OPENPANEL_REPORTS"


def is_configured(env: Environment) -> bool:
    """Whether any variable of a project is set."""
    return any(env.values.get(name, "").strip() for name in _NEEDED)


def examine(env: Environment, *, ask: bool = True) -> Iterator[Finding]:
    """Findings about OpenPanel; a single one if it is not configured.

    Args:
        ask: send requests.
    """
    if not is_configured(env):
        yield ok(ABOUT, "is not configured.")
        return
    yield from variables(env, _NAMES, secret=(_SECRET,), defaults=DEFAULTS)
    yield _zone(env)
    yield _reports(env)
    yield from own_name(env, ABOUT)
    try:
        client = OpenPanel.from_settings(OpenPanelSettings.load(env))
    except SettingsError as error:
        yield failed(error.variable, error)
        return
    if not ask:
        client.close()
        return
    with client:
        try:
            count = client.count_day(EVENTS, datetime.now(UTC).date())
        except ConnectorError as error:
            yield failed(ABOUT, error)
            if client.last_headers:
                yield clock_skew(f"{ABOUT} clock", client.last_headers)
            return
        yield ok(ABOUT, f"the credentials work: {count:,} events today in project {client.project_id}.")
        yield clock_skew(f"{ABOUT} clock", client.last_headers)
        yield from _timezone(client)
        yield from _filters(client, env)
        yield _limits(client)
        yield _server(client)


def _zone(env: Environment) -> Finding:
    if zone := env.values.get("OPENPANEL_TIMEZONE", "").strip():
        return ok("OPENPANEL_TIMEZONE", f"is {excerpt(zone, 80)!r}.")
    return warn(
        "OPENPANEL_TIMEZONE",
        "is not set, so the organization's days are taken for UTC days.",
        "if the organization has another timezone, set it, unless it is given in Python or YAML: insights and "
        "charts answer in it.",
    )


def _timezone(client: OpenPanel) -> Iterator[Finding]:
    try:
        client.verify_timezone()
    except ConnectorError as error:
        yield failed("OPENPANEL_TIMEZONE", error)


def _filters(client: OpenPanel, env: Environment) -> Iterator[Finding]:
    """Findings about filters that change nothing; none about a file that was refused before."""
    try:
        questions = Questions.from_environment(env, dimensions=DIMENSIONS)
        for one in idle_filters(client.reports, questions, datetime.now(UTC).date()):
            yield warn(
                _REPORTS,
                f"{one.place} has {one.filter.name} {one.filter.operator} {', '.join(one.filter.value)}".rstrip()
                + ", which changed nothing in the last seven days.",
                "check its name and value: the server ignores what it does not know; nothing, if all events match.",
            )
    except SettingsError:
        return
    except ConnectorError as error:
        yield failed(_REPORTS, error)


def _reports(env: Environment) -> Finding:
    try:
        config = Questions.from_environment(env, dimensions=DIMENSIONS)
    except SettingsError as error:
        return failed(_REPORTS, error)
    if not env.values.get(_REPORTS, "").strip():
        return ok(_REPORTS, "is not set: no charts, no funnels, all dimensions.")
    return ok(_REPORTS, f"asks for {len(config.charts)} charts and {len(config.funnels)} funnels.")


def _limits(client: OpenPanel) -> Finding:
    headers = client.last_headers
    limit, left = headers.get("x-ratelimit-limit"), headers.get("x-ratelimit-remaining")
    if limit is None:
        return ok(f"{ABOUT} limit", "this server counts no requests.")
    return ok(f"{ABOUT} limit", f"{left} of {limit} requests were left in this window.")


def _server(client: OpenPanel) -> Finding:
    about = f"{ABOUT} server"
    try:
        document = json.loads(client.describe())
        names = {one.get("name") for one in _parameters(document) if isinstance(one, dict)}
    except RejectedError as refused:
        if refused.status != 404:
            return failed(about, refused)
        return warn(
            about,
            "does not describe itself: it is from before 2026-04-09, or a proxy hides the description.",
            "if it is yours, update it: servers before 2026-03-03 can cut days, which then fail to land.",
        )
    except (ValueError, RecursionError, AttributeError):
        return warn(about, "describes itself in a way we do not know.", "nothing, as long as days land.")
    except ConnectorError as error:
        return failed(about, error)
    return ok(about, f"is from {'2026-05-18 or later' if 'filters' in names else '2026-04-09 or later'}.")


def _parameters(document: dict[str, object]) -> list[object]:
    paths = document.get("paths")
    routes = (
        [body for path, body in paths.items() if path.rstrip("/").endswith("/export/events")]
        if isinstance(paths, dict)
        else []
    )
    found = routes[0].get("get", {}).get("parameters", []) if routes else []
    return found if isinstance(found, list) else []
