"""Examines everything a run needs, and says for each part whether it is well and what to do if not.

This module knows the machine: settings, proxies, disks, spool, warehouse, request budget. What a vendor needs is
checked in the vendor's own ``doctor.py``, Dagster's settings in ``dagster_settings.py``. Nothing is repaired, no secret
is shown.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from connector.catalogue.tables import every_stream
from connector.errors import ConnectorError, SettingsError
from connector.health import Finding, fail, failed, ok, variables, warn
from connector.http.connection import CERTIFICATES, certificates
from connector.http.proxies import Proxies
from connector.http.webhook import VARIABLE as WEBHOOK
from connector.http.webhook import Webhook
from connector.openpanel import doctor as openpanel
from connector.privacy.policy import Privacy
from connector.settings import DEFAULTS, Environment, Settings, environment
from connector.state.kinds import VARIABLE
from connector.state.place import in_database
from connector.upkeep import dagster_settings
from connector.userpilot import doctor as userpilot
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import TWO_NIGHTS, landed_tables, under_other_rules

# Bytes. With less, a day of a million events may not fit on the disk as files and in the warehouse at the same time.
LITTLE_SPACE = 2 * 2**30
NO_SPACE = 200 * 2**20
# Seconds. A run takes minutes, at most hours, so older folders were left by a run that died.
LEFT_BEHIND = 86_400.0


def doctor(env: Environment | None = None, *, offline: bool = False) -> Iterator[Finding]:
    """Findings about this machine and every configured vendor, one after the other.

    Args:
        env: the environment to check; by default this process's.
        offline: check only the vendors' variables, and send no request.
    """
    env = env or environment()
    yield from examine(env)
    yield from openpanel.examine(env, ask=not offline)
    yield from userpilot.examine(env, ask=not offline)
    if not openpanel.is_configured(env) and not userpilot.is_configured(env):
        yield warn(
            "vendors",
            "nothing is configured: there is no vendor to read from.",
            "run: cp .env.example .env, fill it in, and run doctor again in its folder; or set the variables.",
        )


def examine(env: Environment) -> Iterator[Finding]:
    """Findings about this machine; no request is sent."""
    settings, findings = _settings(env)
    yield from findings
    yield from _privacy(env)
    yield _webhook(env)
    yield from _network()
    yield _clock()
    yield from _shared_state(env)
    if settings is not None:
        yield from _spool(settings.spool_dir)
        yield from _warehouse(settings.warehouse)
        yield from _changed_rules(env, settings.warehouse)
        yield from _missing(settings)
    yield from dagster_settings.examine(env)


def _settings(env: Environment) -> tuple[Settings | None, list[Finding]]:
    found: list[Finding] = []
    for name, read in _READERS.items():
        try:
            read(env)
            found += variables(env, [name], defaults=DEFAULTS)
        except SettingsError as error:
            found.append(failed(name, error))
    try:
        return Settings.load(env), found
    except SettingsError:
        return None, found


_READERS: Mapping[str, Callable[[Environment], object]] = {
    "WAREHOUSE": lambda env: Warehouse(env.text("WAREHOUSE", DEFAULTS["WAREHOUSE"])),
    "START_DATE": lambda env: env.day("START_DATE", DEFAULTS["START_DATE"]),
    "SPOOL_DIR": lambda env: env.folder("SPOOL_DIR", DEFAULTS["SPOOL_DIR"]),
    "CONNECTOR_DBT": lambda env: env.switch("CONNECTOR_DBT"),
}


def _webhook(env: Environment) -> Finding:
    try:
        webhook = Webhook.from_environment(env)
    except SettingsError as error:
        return failed(WEBHOOK, error)
    if webhook is None:
        return ok(WEBHOOK, "is not set; failures are told to no webhook.")
    with webhook:
        return ok(WEBHOOK, f"is an address at {webhook.host}; nothing was sent to it.")


def _network() -> Iterator[Finding]:
    """Proxies and certificates. A wrong one is a warning: where it matters, the vendor or the webhook fails, too."""
    proxies = Proxies()
    variables = proxies.variables()
    for scheme, variable in variables.items():
        try:
            proxy = proxies.named(scheme)
            unused = scheme == "all" and {"http", "https"} <= variables.keys()
            used = "is not used, as the others come first" if unused else "this machine itself is asked directly"
            yield ok(variable, f"names the proxy {proxy.place if proxy else ''}; {used}.")
        except SettingsError as error:
            yield warn(variable, error.what, error.next_step)
    if not variables:
        yield ok("proxy", "none is set; vendors are asked directly.")
    for variable in filter(os.environ.get, CERTIFICATES):
        try:
            certificates(variable)
            yield ok(variable, "can be used.")
        except SettingsError as error:
            yield warn(variable, error.what, error.next_step)


def _privacy(env: Environment) -> Iterator[Finding]:
    about = "personal data"
    try:
        rules = Privacy.from_environment(env)
    except SettingsError as error:
        yield failed(about, error)
        return
    if rules is None:
        yield ok(about, "is landed as the vendors send it; no rules are set.")
    else:
        yield ok(about, f"has {sum(rules.tables.values())} rules, for {', '.join(sorted(rules.tables)) or 'no table'}.")


def _clock() -> Finding:
    return ok("timezone", f"this machine is in {time.tzname[0]}; days are counted in UTC whatever it is.")


def _shared_state(env: Environment) -> Iterator[Finding]:
    """Whether machines share the request budget, the export slot and Track's journals, or each has its own."""
    about = "shared state"
    try:
        state = in_database("doctor", env)
        if state is None:
            yield ok(
                about,
                f"{VARIABLE} is not set: the request budget, the export slot and Track's journals are this machine's.",
            )
            yield from _budget()
            return
        with state.locked("doctor", patience=2.0) as held:
            apart = abs(held.ahead)
    except TimeoutError:
        yield warn(about, "another doctor holds its lock.", "wait for it, then run this once more.")
    except ConnectorError as error:
        yield failed(about, error)
    else:
        yield ok(about, f"{VARIABLE} names a database that all machines share; its clock is {apart:.1f} s from ours.")


def _budget() -> Iterator[Finding]:
    folder = Path(tempfile.gettempdir())
    about = "request budget"
    own = folder / f"connector-{os.getuid()}"
    try:
        if not own.exists():
            yield ok(about, "no process of this user has asked a vendor yet.")
            return
        mode = own.stat()
    except OSError as fault:
        yield fail(about, f"{own.name} cannot be looked at: {fault.strerror}.", f"make {folder} readable.")
        return
    if mode.st_uid != os.getuid():
        yield fail(
            about, f"the folder {own.name} belongs to another user.", "remove it, or set TMPDIR to a folder of yours."
        )
    elif not os.access(own, os.W_OK):
        yield fail(
            about, f"the folder {own.name} is not writable.", "make it writable, or set TMPDIR to another folder."
        )
    elif mode.st_mode & 0o077:
        yield warn(about, f"the folder {own.name} can be read by others.", "run: chmod 700 on it.")
    else:
        files = len(list(own.glob("budget-*.json")))
        yield ok(about, f"{files} client ids share their requests through files of this user.")


def _spool(spool: Path) -> Iterator[Finding]:
    about = "spool"
    place = _existing(spool)
    if not os.access(place, os.W_OK | os.X_OK):
        yield fail(about, f"{place} is not writable.", "make it writable, or point SPOOL_DIR to another folder.")
        return
    yield _disk(f"{about} disk", place, "SPOOL_DIR")
    if not spool.exists():
        yield ok(about, "nothing was ever spooled here.")
        return
    if spool.stat().st_mode & 0o077 and any(spool.iterdir()):
        # The folders inside are private, but the names of tables and jobs are not.
        yield warn(about, "others can list the spool folder, though not read what is in it.", "run: chmod 700 on it.")
    old = [
        folder
        for folder in (*spool.glob("*/*-????????????"), *spool.glob("*.exports/*.chunks"))
        if _age(folder) > LEFT_BEHIND
    ]
    if old:
        size = sum(file.stat().st_size for folder in old for file in folder.rglob("*") if file.is_file())
        yield warn(
            about,
            f"{len(old)} folders with {size / 2**20:,.0f} MiB are older than a day.",
            "run: connector prune; what a job still needs is kept.",
        )
    else:
        yield ok(about, "nothing was left behind.")


def _warehouse(name: str) -> Iterator[Finding]:
    about = "warehouse"
    try:
        warehouse = Warehouse(name, lock_wait=2.0)
    except SettingsError:
        return  # reported with the settings
    if warehouse.place is not None:
        yield _disk(f"{about} disk", _existing(warehouse.place), "WAREHOUSE")
    for one in warehouse.remarks():
        yield Finding(about=about, level=one.level, said=one.said, todo=one.todo)


def _changed_rules(env: Environment, name: str) -> Iterator[Finding]:
    """Findings about rows that were landed under other rules. A changed rule applies to later landings only."""
    with contextlib.suppress(ConnectorError):  # errors of the rules or the file were reported before
        rules = Privacy.from_environment(env)
        wanted = {stream.table: rules.fingerprint(stream) if rules else "" for stream in every_stream()}
        for table, (rows, first, last) in under_other_rules(Warehouse(name, lock_wait=2.0), wanted).items():
            yield warn(
                "personal data",
                f"{rows:,} rows of {table} ({first} to {last}) were landed under other rules than today's.",
                "land these days again; rows that a list no longer has (_current is false) can only be deleted.",
            )


def _missing(settings: Settings) -> Iterator[Finding]:
    """Closed days that never landed, though days before them did."""
    by_day = {(stream.vendor, stream.name) for stream in every_stream() if stream.days != "none"}
    with contextlib.suppress(ConnectorError):  # what is wrong with the file has been said
        tables = landed_tables(Warehouse(settings.warehouse, lock_wait=2.0))
        for table, landed in tables.items():
            schema, _, name = table.partition(".")
            if (schema.split("_")[0], name) not in by_day:
                continue
            days = [day for day in landed.missing("UTC", datetime.now(UTC) - TWO_NIGHTS) if day >= settings.start_date]
            if days:
                yield warn(
                    "days",
                    f"{len(days)} days of {table} between {days[0]} and {days[-1]} ended and never landed.",
                    "land them again, and see whether the nightly schedule is switched on and the daemon runs.",
                )


def _disk(about: str, place: Path, variable: str) -> Finding:
    try:
        free = shutil.disk_usage(place).free
    except OSError as fault:
        return fail(about, f"{place} cannot be looked at: {fault.strerror}.", f"check {variable}.")
    said = f"{free / 2**30:,.1f} GiB are free."
    if free < NO_SPACE:
        return fail(about, said, f"free space, or point {variable} to another disk; landings fail before they begin.")
    if free < LITTLE_SPACE:
        return warn(about, said, f"free space, or point {variable} to another disk: a large day may not fit.")
    return ok(about, said)


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _age(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return time.time() - folder.stat().st_mtime
    return 0.0
