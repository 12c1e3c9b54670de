"""Findings of `connector doctor`, and functions that create them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from connector.errors import ConnectorError, SettingsError
from connector.redaction import excerpt
from connector.settings import DEFAULTS, Environment
from connector.warehouse.connection import Warehouse

Level = Literal["ok", "warn", "fail"]
# Seconds. A clock that is further off ends days at the wrong moment and misjudges when links expire.
SKEW_MATTERS = 30.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        about: what was checked, such as ``warehouse`` or a variable's name.
        said: the result in one sentence.
        todo: what to do about it; empty if nothing.
    """

    about: str
    level: Level
    said: str
    todo: str = ""


def ok(about: str, said: str) -> Finding:
    return Finding(about=about, level="ok", said=said)


def warn(about: str, said: str, todo: str) -> Finding:
    return Finding(about=about, level="warn", said=said, todo=todo)


def fail(about: str, said: str, todo: str) -> Finding:
    return Finding(about=about, level="fail", said=said, todo=todo)


def failed(about: str, error: ConnectorError) -> Finding:
    """A ConnectorError as a finding of level ``fail``, with its sentence and its next step."""
    return fail(about, error.what.rstrip(".") + ".", error.next_step)


def variables(
    env: Environment, names: Iterable[str], *, secret: Iterable[str] = (), defaults: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """A finding for each variable: whether it is set, its value unless it is secret, else its default."""
    for name in names:
        value = env.values.get(name, "").strip()
        shown = f"is set, {len(value)} characters" if name in secret else f"is {excerpt(value, 80)!r}"
        default = (defaults or {}).get(name)
        yield ok(name, f"{shown}." if value else f"is not set; {default} is used." if default else "is not set.")


def own_name(env: Environment, schema: str) -> Iterator[Finding]:
    """A finding if the warehouse's file has the name of a schema in it, which DuckDB cannot tell apart."""
    try:
        Warehouse(env.text("WAREHOUSE", DEFAULTS["WAREHOUSE"])).must_not_be_named(schema)
    except SettingsError as error:
        yield failed(error.variable, error)


def clock_skew(about: str, headers: Mapping[str, str], *, now: datetime | None = None) -> Finding:
    """The difference between our clock and an answer's Date header."""
    try:
        theirs = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return warn(
            about, "the answer has no Date header to compare our clock with.", "make sure the clock is kept by NTP."
        )
    apart = ((now or datetime.now(UTC)) - theirs).total_seconds()
    if abs(apart) <= SKEW_MATTERS:
        return ok(about, f"our clock and the vendor's are at most {abs(apart) + 1:.0f} s apart.")
    return fail(
        about,
        f"our clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the vendor's.",
        "set the clock (NTP): days end at the wrong moment, and links seem to live longer or shorter than they do.",
    )
