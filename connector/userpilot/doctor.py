"""Checks Userpilot: its variables, the key and its plan, the clock, the export slot. Sends one request, or none."""

from collections.abc import Iterator

from connector.errors import ConnectorError, SettingsError
from connector.health import Finding, clock_skew, failed, ok, own_name, variables, warn
from connector.settings import Environment
from connector.userpilot.client import Userpilot
from connector.userpilot.settings import API_URL, UserpilotSettings

ABOUT = "userpilot"
_SECRET = "USERPILOT_API_KEY"  # noqa: S105  a variable's name


def is_configured(env: Environment) -> bool:
    """Whether there is a key."""
    return bool(env.values.get(_SECRET, "").strip())


def examine(env: Environment, *, ask: bool = True) -> Iterator[Finding]:
    """Findings about Userpilot; a single one if it is not configured.

    Args:
        ask: send the request.
    """
    if not is_configured(env):
        yield ok(ABOUT, "is not configured.")
        return
    yield from variables(
        env, ("USERPILOT_API_URL", _SECRET), secret=(_SECRET,), defaults={"USERPILOT_API_URL": API_URL}
    )
    yield from own_name(env, ABOUT)
    try:
        client = Userpilot.from_settings(UserpilotSettings.load(env))
    except SettingsError as error:
        yield failed(error.variable, error)
        return
    if not ask:
        client.close()
        return
    with client:
        try:
            jobs = client.list_jobs(where=ABOUT)
        except ConnectorError as error:
            yield failed(ABOUT, error)
            if client.last_headers:
                yield clock_skew(f"{ABOUT} clock", client.last_headers)
            return
    yield ok(ABOUT, f"the key works and the plan includes exports: {len(jobs)} jobs in the last three days.")
    yield clock_skew(f"{ABOUT} clock", client.last_headers)
    running = [job for job in jobs if not job.ended and not job.links]
    if running:
        yield warn(
            f"{ABOUT} slot",
            f"job {running[0].job_id[:8]} is {running[0].status or 'under way'}; one export can run at a time.",
            "nothing: the connector waits for it.",
        )
    else:
        yield ok(f"{ABOUT} slot", "no export is under way.")
