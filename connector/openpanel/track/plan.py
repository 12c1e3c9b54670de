"""Turns rows of the warehouse into Track messages, and says which rows cannot be sent and why. Pure: asks nothing."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from connector.errors import SettingsError
from connector.openpanel.track.journal import Outcome
from connector.redaction import excerpt
from connector.settings import read_yaml, shaped

Kind = Literal["identify", "group", "assign_group", "track", "increment", "decrement"]
KINDS: tuple[Kind, ...] = ("identify", "group", "assign_group", "track", "increment", "decrement")
# Sending one of these twice leaves the same state.
UPSERTS = ("identify", "group", "assign_group")
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "identify": ("profile_id",),
    "group": ("id", "type", "name"),
    "assign_group": ("profile_id", "group_ids"),
    "track": ("key", "name"),
    "increment": ("key", "profile_id", "property"),
    "decrement": ("key", "profile_id", "property"),
}
_NAMES = {
    "profile_id": "profileId",
    "first_name": "firstName",
    "last_name": "lastName",
    "group_ids": "groupIds",
}
_OWN = {
    "identify": ("profile_id", "first_name", "last_name", "email", "avatar", "properties"),
    "group": ("id", "type", "name", "properties"),
    "assign_group": ("profile_id", "group_ids"),
    "track": ("name", "profile_id", "groups", "properties"),
}


@dataclass(frozen=True, kw_only=True)
class Outbox:
    """What is sent: a name to remember it by, its kind, and the query whose rows become requests.

    Attributes:
        name: what was sent is remembered under it.
        kind: ``identify``, ``group``, ``assign_group``, ``track``, ``increment`` or ``decrement``.
        query: SELECT in the warehouse. Columns by kind: identify ``profile_id`` (first_name, last_name, email, avatar,
            properties); group ``id, type, name`` (properties); assign_group ``profile_id, group_ids``; track ``key,
            name`` (profile_id, groups, properties, timestamp, revenue); increment and decrement ``key, profile_id,
            property`` (value: a number above 0; 1 if it is null or left out). ``key`` identifies what is counted
            once, such as an order's id. Any other column becomes a property. A row that cannot be sent is rejected,
            with the reason in ``connector.rejected``; the others are sent.
    """

    name: str
    kind: Kind
    query: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingsError(
                f"outbox {self.name}.kind", f"is {self.kind!r}", next_step=f"use one of {', '.join(KINDS)}."
            )
        if not self.name or len(self.name) > 100:
            raise SettingsError("outbox name", f"is {self.name!r}", next_step="give it a name of up to 100 characters.")

    @property
    def upserts(self) -> bool:
        return self.kind in UPSERTS


class _Entry(msgspec.Struct, frozen=True):
    kind: str
    query: str


def load_outboxes(file: Path) -> list[Outbox]:
    """Outboxes of a YAML file: ``name: {kind: identify, query: select ...}``.

    Raises:
        SettingsError: names the file, the path in it, and what is due there.
    """
    bodies = shaped(read_yaml(file) or {}, dict[str, Any], file.name)
    if not bodies:
        raise SettingsError(
            file.name, "holds no outboxes", next_step="write name: {kind: identify, query: select ...} for each."
        )
    entries = {name: shaped(body, _Entry, f"{file.name}.{name}") for name, body in bodies.items()}
    return [Outbox(name=name, kind=cast("Kind", entry.kind), query=entry.query) for name, entry in entries.items()]


@dataclass(frozen=True)
class Message:
    """One request: the keys of the rows it stands for, and its body."""

    keys: tuple[str, ...]
    hashes: tuple[str, ...]
    body: Mapping[str, Any]
    profile: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run would send, and what it would not, with the reason."""

    messages: tuple[Message, ...]
    unchanged: int
    refused: tuple[Outcome, ...]


def plan(outbox: Outbox, rows: Iterable[Mapping[str, Any]], sent: Mapping[str, str]) -> Plan:
    """Compare rows with what was sent before.

    Args:
        rows: of the outbox's query.
        sent: key -> content hash of everything sent (or of unknown fate) under this outbox's name.
    """
    messages: list[Message] = []
    refused: list[Outcome] = []
    unchanged = 0
    seen: set[str] = set()
    for row in rows:
        clean = {name: _plain(value) for name, value in row.items()}
        key, digest = _key(outbox, clean), _digest(outbox, clean)
        if problem := _problem(outbox, clean):
            refused.append(Outcome(key, digest, "rejected", problem))
        elif key in seen:
            refused.append(Outcome(key, digest, "rejected", "the query returned this key twice"))
        elif sent.get(key) == digest:
            unchanged += 1
        elif key in sent and not outbox.upserts:
            refused.append(
                Outcome(key, digest, "rejected", "this key was sent before with other content and is never sent again")
            )
        else:
            messages.append(Message((key,), (digest,), _body(outbox, clean), str(clean.get("profile_id", ""))))
        seen.add(key)
    if outbox.kind in ("increment", "decrement"):
        messages = _summed(outbox, messages)
    return Plan(tuple(messages), unchanged, tuple(refused))


def _digest(outbox: Outbox, row: Mapping[str, Any]) -> str:
    # Halves of a pair have no UTF-8: such a row is refused, and needs a digest all the same.
    content = json.dumps([outbox.kind, row], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()


def _problem(outbox: Outbox, row: Mapping[str, Any]) -> str:
    """Why a row cannot be sent, or nothing: one such row must not keep the others from being sent."""
    missing = [name for name in _NEEDED[outbox.kind] if row.get(name) in (None, "", [])]
    if missing:
        return f"{', '.join(missing)} is missing"
    for name, value in row.items():
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except ValueError:
            return f"{name} holds what JSON cannot carry (NaN, infinity or half a character): {excerpt(str(value), 60)}"
    if not isinstance(row.get("properties") or {}, dict):
        return f"properties is {excerpt(str(row['properties']), 60)!r}, not an object"
    return _miscounted(row) if outbox.kind in ("increment", "decrement") else ""


def _miscounted(row: Mapping[str, Any]) -> str:
    if not isinstance(row["property"], str):
        return f"property is {excerpt(str(row['property']), 60)!r}, not a name"
    value = row.get("value")
    if value is None:
        return ""  # the vendor's default, 1
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"value is {excerpt(str(value), 60)!r}, not a number; cast it in the query"
    return "" if value > 0 else f"value is {value} and must be more than 0; leave such rows out of the query"


def _body(outbox: Outbox, row: Mapping[str, Any]) -> dict[str, Any]:
    if outbox.kind in ("increment", "decrement"):
        value = 1 if row.get("value") is None else row["value"]
        payload = {"profileId": str(row["profile_id"]), "property": row["property"], "value": value}
        return {"type": outbox.kind, "payload": payload}
    own = _OWN[outbox.kind]
    payload = {_NAMES.get(name, name): row[name] for name in own if row.get(name) is not None and name != "properties"}
    properties = dict(row.get("properties") or {})
    special = {"timestamp": "__timestamp", "revenue": "__revenue"} if outbox.kind == "track" else {}
    for name, value in row.items():
        if name not in own and name != "key" and value is not None:
            properties[special.get(name, name)] = value
    if "profileId" in payload:
        payload["profileId"] = str(payload["profileId"])
    if properties and outbox.kind != "assign_group":
        payload["properties"] = properties
    return {"type": outbox.kind, "payload": payload}


def _summed(outbox: Outbox, messages: Sequence[Message]) -> list[Message]:
    """One request per profile and property: two in a row would both start from the old value."""
    groups: dict[tuple[str, str], list[Message]] = {}
    for message in messages:
        payload = message.body["payload"]
        groups.setdefault((payload["profileId"], payload["property"]), []).append(message)
    return [
        Message(
            tuple(key for message in group for key in message.keys),
            tuple(digest for message in group for digest in message.hashes),
            {
                "type": outbox.kind,
                "payload": {
                    "profileId": profile,
                    "property": name,
                    "value": sum(message.body["payload"]["value"] for message in group),
                },
            },
            profile,
        )
        for (profile, name), group in groups.items()
    ]


def _key(outbox: Outbox, row: Mapping[str, Any]) -> str:
    match outbox.kind:
        case "group":
            return str(row.get("id"))
        case "identify" | "assign_group":
            return str(row.get("profile_id"))
        case _:
            return str(row.get("key"))


def _plain(value: Any) -> Any:
    """A warehouse value as JSON can carry it."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case str() if value[:1] in "{[":
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                return value
        case dict():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case bool() | int() | float() | str() | None:
            return value
        case _:
            return str(value)
