"""Turns rows of the warehouse into Track messages, and tells which rows cannot be sent and why. Sends nothing."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from connector.errors import SettingsError
from connector.openpanel.track.checks import altered, instant, miscounted, unsendable
from connector.openpanel.track.journal import Outcome
from connector.settings import read_yaml, shaped

Kind = Literal["identify", "group", "assign_group", "track", "increment", "decrement"]
KINDS: tuple[Kind, ...] = ("identify", "group", "assign_group", "track", "increment", "decrement")
# Sending one of these twice has the same effect as once.
UPSERTS = ("identify", "group", "assign_group")
COUNTERS = ("increment", "decrement")
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
    """Rows to send to OpenPanel: a name, a kind, and the query whose rows become requests.

    Attributes:
        name: sent rows are remembered under this name.
        kind: ``identify``, ``group``, ``assign_group``, ``track``, ``increment`` or ``decrement``.
        query: SELECT in the warehouse. Columns by kind: identify ``profile_id`` (first_name, last_name, email, avatar,
            properties); group ``id, type, name`` (properties); assign_group ``profile_id, group_ids``; track ``key,
            name`` (profile_id, groups, properties, timestamp, revenue); increment and decrement ``key, profile_id,
            property`` (value: a whole number above 0; 1 if it is null or left out). ``key`` identifies what is counted
            once, such as an order's id. Any other column becomes a property. ``timestamp`` without a zone is UTC;
            ``revenue`` belongs to the event named ``revenue``. A row that cannot be sent, or that the server would
            not keep as it is, is rejected, with the reason in ``connector.rejected``; the others are sent.
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
        SettingsError: names the file, the path in it, and what is expected there.
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
    """One request: its body, and the keys and hashes of the rows in it."""

    keys: tuple[str, ...]
    hashes: tuple[str, ...]
    body: Mapping[str, Any]

    @property
    def profile(self) -> str:
        """The profile that it changes, or nothing; an event changes one only with ``__identify``."""
        payload = self.body["payload"]
        if self.body["type"] != "track":
            return str(payload.get("profileId", ""))
        identity = (payload.get("properties") or {}).get("__identify")
        return str(identity.get("profileId", "")) if isinstance(identity, dict) and len(identity) > 1 else ""

    @property
    def about(self) -> str:
        """What it changes, a profile or a group, or nothing; two changes of one thing must not be in flight at once."""
        if self.body["type"] == "group":
            return f"group {self.body['payload']['id']}"
        return f"profile {self.profile}" if self.profile else ""


@dataclass(frozen=True)
class Plan:
    """The messages to send, the number of unchanged rows, and the rows that are refused with the reason."""

    messages: tuple[Message, ...]
    unchanged: int
    refused: tuple[Outcome, ...]


def plan(
    outbox: Outbox, rows: Iterable[Mapping[str, Any]], sent: Mapping[str, str], *, now: datetime | None = None
) -> Plan:
    """Compare rows with what was sent before.

    Args:
        rows: of the outbox's query.
        sent: key -> content hash of everything sent (or of unknown fate) under this outbox's name.
        now: the time that a future timestamp is told by; the clock's if left out.
    """
    now = now or datetime.now(UTC)
    messages: list[Message] = []
    refused: list[Outcome] = []
    unchanged = 0
    seen: set[str] = set()
    for row in rows:
        clean = {name: _plain(value) for name, value in row.items()}
        key, digest = _key(outbox, clean), _digest(outbox, clean)
        if problem := _problem(outbox, clean, now):
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
            messages.append(Message((key,), (digest,), {"type": outbox.kind, "payload": _payload(outbox, clean)}))
        seen.add(key)
    if outbox.kind in COUNTERS:
        messages = _sum_per_property(outbox, messages)
    return Plan(tuple(messages), unchanged, tuple(refused))


def _digest(outbox: Outbox, row: Mapping[str, Any]) -> str:
    # Unpaired surrogates have no UTF-8. Such a row is refused, but needs a digest too.
    content = json.dumps([outbox.kind, row], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()


def _problem(outbox: Outbox, row: Mapping[str, Any], now: datetime) -> str:
    """Why a row cannot be sent or would not be kept as it is, or nothing."""
    problem = unsendable(row, _NEEDED[outbox.kind])
    if not problem and outbox.kind in COUNTERS:
        problem = miscounted(row)
    return problem or altered(outbox.kind, _payload(outbox, row), now)


def _payload(outbox: Outbox, row: Mapping[str, Any]) -> dict[str, Any]:
    if outbox.kind in COUNTERS:
        value = 1 if row.get("value") is None else row["value"]
        return {"profileId": str(row["profile_id"]), "property": row["property"], "value": value}
    own = _OWN[outbox.kind]
    payload = {_NAMES.get(name, name): row[name] for name in own if row.get(name) is not None and name != "properties"}
    properties = dict(row.get("properties") or {})
    special = {"timestamp": "__timestamp", "revenue": "__revenue"} if outbox.kind == "track" else {}
    for name, value in row.items():
        if name not in own and name != "key" and value is not None:
            properties[special.get(name, name)] = value
    if outbox.kind == "track" and (moment := instant(properties.get("__timestamp"))):
        properties["__timestamp"] = moment.isoformat()
    if "profileId" in payload:
        payload["profileId"] = str(payload["profileId"])
    if properties and outbox.kind != "assign_group":
        payload["properties"] = properties
    return payload


def _sum_per_property(outbox: Outbox, messages: Sequence[Message]) -> list[Message]:
    """One message for each profile and property. The server would start two messages from the same old value."""
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
    """A value of the warehouse as a JSON value."""
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
