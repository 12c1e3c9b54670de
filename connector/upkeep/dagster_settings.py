"""Checks the settings of a Dagster instance, its ``dagster.yaml``, without importing Dagster."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from connector.health import Finding, fail, ok, warn
from connector.redaction import excerpt
from connector.settings import Environment

_ABOUT = "dagster"
# Path in dagster.yaml, what is wrong without it, and the line to write.
_WANTED: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("concurrency", "pools", "default_limit"),
        "pools have no default limit, so they limit nothing",
        "default_limit: 4",
    ),
    (
        ("run_monitoring", "enabled"),
        "run monitoring is off: a run whose process died stays started",
        "enabled: true",
    ),
    (
        ("run_monitoring", "free_slots_after_run_end_seconds"),
        "a cancelled run can hold a pool's slot for ever",
        "free_slots_after_run_end_seconds: 60",
    ),
    (("run_monitoring", "max_runtime_seconds"), "a run that hangs is never ended", "max_runtime_seconds: 21600"),
    (("run_retries", "enabled"), "a run whose process died is not started again", "enabled: true"),
)


def examine(env: Environment) -> Iterator[Finding]:
    """Findings about the instance in DAGSTER_HOME."""
    home = env.values.get("DAGSTER_HOME", "").strip()
    if not home:
        yield ok(_ABOUT, "DAGSTER_HOME is not set; the command line needs none.")
    elif not Path(home).is_dir():
        yield fail(_ABOUT, "DAGSTER_HOME is not a folder.", "make it, or set DAGSTER_HOME to the instance's folder.")
    else:
        document = _read(Path(home) / "dagster.yaml")
        findings = [document] if isinstance(document, Finding) else list(_missing(document))
        yield from findings or [ok(_ABOUT, "pools, run monitoring and run retries are set.")]


def _read(file: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        return fail(_ABOUT, f"dagster.yaml cannot be read: {excerpt(str(fault), 160)}.", "fix the file.")


def _missing(document: Any) -> Iterator[Finding]:
    for path, said, line in _WANTED:
        if not _at(document, path):
            yield warn(_ABOUT, f"{said}.", f"write {line} below {': '.join(path[:-1])} in dagster.yaml.")
    retries_failures = _at(document, ("run_retries", "retry_on_asset_or_op_failure")) is not False
    if retries_failures and _at(document, ("run_retries", "enabled")):
        yield warn(
            _ABOUT,
            "runs whose step failed are run again, although the step was retried by its own policy.",
            "write retry_on_asset_or_op_failure: false below run_retries in dagster.yaml.",
        )


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
