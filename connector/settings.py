"""Reads the environment and config files. Every error names the wrong variable or key in one sentence.

Each vendor's own variables are in ``<vendor>/settings.py``. This module reads any variable or YAML file, and the three
variables that both vendors share: the warehouse, the first day and the spool.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from connector.errors import SettingsError
from connector.redaction import conceal, excerpt

DEFAULTS = {"WAREHOUSE": "warehouse.duckdb", "START_DATE": "2024-01-01", "SPOOL_DIR": ".spool"}
_YES = {"1", "true", "yes", "on"}
Shape = TypeVar("Shape")


class Secret:
    """A value that prints as stars. Only ``reveal()`` returns the text, and redaction cuts it out of every message."""

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
    """Typed access to a mapping of variables; a SettingsError names the variable and its valid form."""

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
        """Whether plain HTTP may leave this machine: only with 1, true, yes or on."""
        return self.values.get("CONNECTOR_ALLOW_HTTP", "").strip().lower() in _YES

    def folder(self, name: str, default: str) -> Path:
        try:
            return Path(self.text(name, default)).expanduser()
        except RuntimeError:
            raise SettingsError(
                name, "names a user that does not exist", next_step=f"write {name} as a full path."
            ) from None

    def switch(self, name: str) -> str:
        """``on``, ``off``, or an empty text if the variable is not set."""
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

    Scheme and host are returned in lower case, so that equal addresses are equal texts. Plain HTTP is accepted on
    loopback, and elsewhere only with CONNECTOR_ALLOW_HTTP=1, because the key is sent in a header.

    Args:
        name: the variable, for messages.
        insecure: whether plain HTTP is allowed; read from the process environment by default.

    Raises:
        SettingsError: it is no base URL, or plain HTTP that is not allowed.
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
    """The process environment as it is now, with what Dagster, the command line or the shell loaded from ``.env``."""
    return Environment(dict(os.environ))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The warehouse, the first day and the spool folder.

    Attributes:
        warehouse: a file path. ``md:`` and ``ducklake:`` are refused, see :class:`Warehouse`.
        start_date: the first partition.
        spool_dir: folder for files that are not landed yet.
    """

    warehouse: str
    start_date: date
    spool_dir: Path

    @classmethod
    def load(cls, env: Environment | None = None) -> "Settings":
        env = env or environment()
        return cls(
            warehouse=env.text("WAREHOUSE", DEFAULTS["WAREHOUSE"]),
            start_date=env.day("START_DATE", DEFAULTS["START_DATE"]),
            spool_dir=env.folder("SPOOL_DIR", DEFAULTS["SPOOL_DIR"]),
        )


def read_yaml(file: Path, *, texts_only: bool = False, about: str = "", next_step: str = "") -> Any:
    """The document of a YAML file; None if it is empty.

    Args:
        texts_only: read every scalar as a text, also ``NO`` and ``1.0``.
        about, next_step: for the message; by default the file's name, and "fix the file or its path."

    Raises:
        SettingsError: the file cannot be read, or is not YAML.
    """
    import yaml

    loader = yaml.BaseLoader if texts_only else yaml.SafeLoader
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  neither builds objects
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise SettingsError(
            about or file.name,
            f"cannot be read: {excerpt(str(fault), 200)}",
            next_step=next_step or "fix the file or its path.",
        ) from None


def shaped(body: object, shape: type[Shape], where: str) -> Shape:
    """A part of a config file as an object of type ``shape``; texts become numbers and booleans where needed.

    Raises:
        SettingsError: names the path in the file, what is wrong there, and the allowed keys.
    """
    try:
        return msgspec.convert(body, shape, strict=False)
    except msgspec.ValidationError as fault:
        problem, _, path = str(fault).partition(" - at `$")
        place = where + path.rstrip("`")
        if unknown := re.match(r"Object contains unknown field `(.*)`", problem):
            keys = ", ".join(field for field in _fields(shape, path) if field != "name" or "[" in path)
            raise SettingsError(f"{place}: key", f"is {unknown[1]!r}", next_step=f"use one of {keys}.") from None
        raise SettingsError(place, f"does not fit: {excerpt(problem, 160)}", next_step=_hint(problem)) from None


def _fields(shape: Any, path: str) -> tuple[str, ...]:
    """The allowed keys at a path such as ``.series[0]``."""
    for name in re.findall(r"\.(\w+)", path):
        field = next(field for field in msgspec.structs.fields(shape) if field.encode_name == name)
        shape = next((one for one in (field.type, *get_args(field.type)) if hasattr(one, "__struct_fields__")), shape)
    inner = next((one for one in (shape, *get_args(shape)) if hasattr(one, "__struct_fields__")), None)
    return tuple(field.encode_name for field in msgspec.structs.fields(inner)) if inner else ()


def _hint(problem: str) -> str:
    expected = re.match(r"Expected `(\w+)", problem)
    kinds = {
        "bool": "write true or false.",
        "array": "write a list.",
        "object": "write a mapping, key: value.",
        "int": "write a whole number.",
        "str": "write a text.",
    }
    return kinds.get(expected[1], "fix the value.") if expected else "add what is missing."
