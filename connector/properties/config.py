"""The file that says which properties become columns, checked as a whole before anything is written.

openpanel:
  above_percent: 50            # of every event that is not named: what so many percent of its rows have
  events:
    purchase:
      properties:
        total: decimal         # text, boolean, integer, decimal, decimal(12,2), double, date, timestamp or json
        currency:              # the type that all landed values fit
        items.0.sku: {type: text, column: first_sku}
userpilot:
  events:
    Order Completed: {model: order, above_percent: 20}
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from connector.errors import SettingsError
from connector.redaction import excerpt
from connector.settings import read_yaml, shaped

# Types by the words of the file, as DuckDB spells them.
TYPES = {
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "decimal": "DECIMAL(18,4)",
    "double": "DOUBLE",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "json": "JSON",
}
_DECIMAL = re.compile(r"decimal\((\d{1,2}), ?(\d{1,2})\)")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_MODEL = re.compile(r"[a-z][a-z0-9_]{0,59}")


@dataclass(frozen=True)
class Wanted:
    """A property that the file names; type and column are empty where the file leaves them open."""

    type: str
    column: str


@dataclass(frozen=True)
class WantedEvent:
    """An event that the file names, or the rule for all others.

    Attributes:
        model: the model's name behind ``stg_<vendor>__``; empty if it follows from the event's.
        above_percent: also every property that so many percent of the event's rows have; None for none.
    """

    model: str = ""
    above_percent: float | None = None
    properties: Mapping[str, Wanted] = field(default_factory=dict)


@dataclass(frozen=True)
class WantedVendor:
    """What the file says of one vendor's events."""

    events: Mapping[str, WantedEvent]
    above_percent: float | None = None


class _Property(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str = ""
    column: str = ""


class _Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str = ""
    above_percent: float | None = None
    properties: dict[str, Any] = {}


class _Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    above_percent: float | None = None
    events: dict[str, Any] = {}


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    openpanel: dict[str, Any] = {}
    userpilot: dict[str, Any] = {}


def load(file: Path) -> dict[str, WantedVendor]:
    """What the file wants, by vendor.

    Raises:
        SettingsError: the file cannot be read, or is wrong; the message names the place and what is possible.
    """
    # Every scalar stays a text: a property may be called NO or 2024.
    top = shaped(read_yaml(file, texts_only=True) or {}, _Document, file.name)
    bodies = {name: body for name in ("openpanel", "userpilot") if (body := getattr(top, name))}
    return {name: _vendor(body, f"{file.name}.{name}") for name, body in bodies.items()}


def _vendor(body: dict[str, Any], where: str) -> WantedVendor:
    given = shaped(body, _Vendor, where)
    events = {name: _event(one or {}, f"{where}.events.{excerpt(name, 40)}") for name, one in given.events.items()}
    return WantedVendor(events, _percent(given.above_percent, where))


def _event(body: Any, where: str) -> WantedEvent:
    given = shaped(body, _Event, where)
    if given.model and not _MODEL.fullmatch(given.model):
        raise SettingsError(
            f"{where}.model", f"is {given.model!r}", next_step="write small letters, digits and underscores."
        )
    wanted = {name: _property(one, f"{where}.properties.{excerpt(name, 40)}") for name, one in given.properties.items()}
    return WantedEvent(given.model, _percent(given.above_percent, where), wanted)


def _property(body: Any, where: str) -> Wanted:
    given = shaped({"type": body} if isinstance(body, str) else body or {}, _Property, where)
    if given.column and not _IDENTIFIER.fullmatch(given.column):
        raise SettingsError(
            f"{where}.column", f"is {excerpt(given.column, 40)!r}", next_step="write letters, digits and underscores."
        )
    return Wanted(_type(given.type, where) if given.type else "", given.column.lower())


def _type(word: str, where: str) -> str:
    if word in TYPES:
        return TYPES[word]
    digits = _DECIMAL.fullmatch(word)
    if digits and 1 <= int(digits[1]) <= 38 and int(digits[2]) <= int(digits[1]):
        return f"DECIMAL({digits[1]},{digits[2]})"
    raise SettingsError(
        f"{where}.type",
        f"is {excerpt(word, 40)!r}",
        next_step=f"use one of {', '.join(TYPES)}, or decimal(12,2) with your digits.",
    )


def _percent(value: float | None, where: str) -> float | None:
    if value is not None and not 0 <= value <= 100:
        raise SettingsError(f"{where}.above_percent", f"is {value:g}", next_step="write a number from 0 to 100.")
    return value
