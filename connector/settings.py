"""Typed access to environment variables; a wrong one is one sentence that names it.

Each vendor has its variables in ``<vendor>/settings.py``. This module reads the three that all share: the warehouse,
the first day, the spool. Nothing is looked up outside the environment.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from connector.errors import SettingsError
from connector.redaction import conceal

_YES = {"1", "true", "yes", "on"}


class Secret:
    """A value that prints as stars; ``reveal()`` is the only way to the text, and no message of ours repeats it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        conceal(value)

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is never pickled: pass the name of the variable that holds it instead")


@dataclass(frozen=True)
class Environment:
    """Typed access to a mapping of variables; every failure names the variable and the valid form."""

    values: Mapping[str, str]

    def text(self, name: str, default: str | None = None) -> str:
        value = self.values.get(name, "").strip() or default
        if value is None:
            raise SettingsError(name, "is not set", next_step=f"set {name} in the environment or in .env.")
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
            raise SettingsError(name, "holds a control character", next_step=f"retype the value of {name}.")
        return value

    def secret(self, name: str) -> Secret:
        value = Secret(self.text(name))
        if not value.reveal().isascii():
            raise SettingsError(
                name, "holds a character that no HTTP header can carry", next_step=f"copy {name} once more."
            )
        return value

    def day(self, name: str, default: str) -> date:
        value = self.text(name, default)
        try:
            if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
                raise ValueError
            return date.fromisoformat(value)
        except ValueError:
            raise SettingsError(
                name, f"is {value!r}, not a date", next_step=f"write {name} as YYYY-MM-DD, for example 2024-01-01."
            ) from None

    def url(self, name: str, default: str) -> str:
        return checked_url(name, self.text(name, default), insecure=self.allows_http)

    @property
    def allows_http(self) -> bool:
        """Whether plain HTTP may leave this machine; anything but a yes is a no."""
        return self.values.get("CONNECTOR_ALLOW_HTTP", "").strip().lower() in _YES

    def folder(self, name: str, default: str) -> Path:
        try:
            return Path(self.text(name, default)).expanduser()
        except RuntimeError:
            raise SettingsError(
                name, "names a user that does not exist", next_step=f"write {name} as a full path."
            ) from None

    def switch(self, name: str) -> str:
        """``on``, ``off``, or nothing if it is left out."""
        value = self.text(name, "").lower()
        if value not in {"", "on", "off"}:
            raise SettingsError(name, f"is {value!r}", next_step="set it to on or off, or leave it out.")
        return value

    def timezone(self, name: str, default: str) -> str:
        value = self.text(name, default)
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise SettingsError(
                name, f"is {value!r}, not a timezone", next_step=f"set {name} to an IANA name such as Europe/Berlin."
            ) from None
        return value


def checked_url(name: str, value: str, *, insecure: bool | None = None) -> str:
    """A base URL without trailing slash; a path prefix is fine, credentials and plain HTTP are not.

    Scheme and host come back in lower case, so that every spelling of them is treated alike.
    Plain HTTP is accepted on loopback, and elsewhere only with CONNECTOR_ALLOW_HTTP=1: the key travels in a header.

    Args:
        insecure: whether that is allowed, if it is known without asking the process environment.
    """
    if insecure is None:
        insecure = environment().allows_http
    try:
        parts = urlsplit(value.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or "@" in parts.netloc:
        raise SettingsError(
            name, "is not a base URL", next_step=f"set {name} to something like https://panel.example.com/api."
        )
    if parts.scheme == "http" and not is_loopback(host) and not insecure:
        raise SettingsError(
            name,
            f"is plain HTTP to {host}, which would show the key to the network",
            next_step=f"use https:// in {name}, or set CONNECTOR_ALLOW_HTTP=1 if the network is yours.",
        )
    return parts._replace(netloc=parts.netloc.lower()).geturl().rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: ``localhost`` and names below it, ``127.x`` in any spelling, ``::1``."""
    host = host.lower().strip("[]").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:  # 127.1 and 0x7f.0.0.1 reach this machine, too
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def environment() -> Environment:
    """The process environment, read now: a ``.env`` that Dagster, ``cli.py`` or the shell loaded is part of it."""
    return Environment(dict(os.environ))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where rows land, from which day on, and where files wait.

    Attributes:
        warehouse: a file path, ``md:<database>`` or ``ducklake:<catalogue>``.
        start_date: the first partition.
        spool_dir: staged files before they are landed.
    """

    warehouse: str
    start_date: date
    spool_dir: Path

    @classmethod
    def load(cls, env: Environment | None = None) -> "Settings":
        env = env or environment()
        return cls(
            warehouse=env.text("WAREHOUSE", "warehouse.duckdb"),
            start_date=env.day("START_DATE", "2024-01-01"),
            spool_dir=env.folder("SPOOL_DIR", ".spool"),
        )
