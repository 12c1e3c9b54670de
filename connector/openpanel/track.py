"""The way back: rows of the warehouse to ``POST /track``, each exactly once or reported as unknown.

Profiles, groups and memberships are upserts: sending one twice changes nothing, so they are retried. Events and
counters are not: their intent is written down before the request, and what got no clear answer is never sent again by
itself; what never left, or met the rate limit, is. What was sent is remembered by content, so a second run sends only
what changed. This room writes no tables (``outbox.py`` does) and decides no schedule.
"""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from connector.ahead import ahead
from connector.errors import ConnectorError, RejectedError, SettingsError, TransientError, excerpt
from connector.forgotten import is_forgotten
from connector.outbox import Journal, Outcome, journal, read_journal, remember, remembered
from connector.warehouse import Warehouse

if TYPE_CHECKING:  # outboxes are defined where nothing is sent: loading them needs no HTTP client
    from connector.http import Http

Kind = Literal["identify", "group", "assign_group", "track", "increment", "decrement"]
KINDS: tuple[Kind, ...] = ("identify", "group", "assign_group", "track", "increment", "decrement")
# Sending one of these twice leaves the same state.
UPSERTS = ("identify", "group", "assign_group")
# The server reads a profile, changes it and writes it back through a buffer that is flushed every 10 seconds. A second
# change within that time would start from the old profile.
SETTLE = 15.0
# Track has no limiter; this is ours.
A_SECOND = 100.0
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


def load_outboxes(file: Path) -> list[Outbox]:
    """Outboxes of a YAML file: ``name: {kind: identify, query: select ...}``."""
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingsError(
            file.name, f"cannot be read: {excerpt(str(fault), 200)}", next_step="fix the file or its path."
        ) from None
    try:
        document = yaml.safe_load(text)
        return [Outbox(name=str(name), kind=body["kind"], query=str(body["query"])) for name, body in document.items()]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as fault:
        raise SettingsError(
            file.name,
            f"holds no outboxes: {type(fault).__name__} {excerpt(str(fault), 160)}",
            next_step="write name: {kind: identify, query: select ...} for each.",
        ) from None


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


class Track:
    """Sends messages, politely and each once.

    Args:
        http: with the credentials of a client that may write.
        at_once: requests in flight.
        a_second: most requests in one second.
        settle: seconds between two changes of one profile's counters.
    """

    def __init__(
        self,
        http: "Http",
        *,
        at_once: int = 8,
        a_second: float = A_SECOND,
        settle: float = SETTLE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http, self._at_once, self._a_second, self._settle, self._sleep = http, at_once, a_second, settle, sleep
        self._away = ""

    def send(
        self,
        outbox: Outbox,
        messages: Sequence[Message],
        journal: Journal,
        *,
        tell: Callable[[Outcome], None] | None = None,
    ) -> None:
        """Send everything; each outcome is in the journal before the next round begins.

        Raises:
            RejectedError: the credentials are refused; nothing more is sent.
        """
        rounds = _rounds(messages) if outbox.kind in ("increment", "decrement") else [list(messages)]
        patience, self._away = 2, ""
        while rounds:
            started = time.monotonic()
            again = [message for message in self._round(outbox, rounds.pop(0), journal, tell) if message is not None]
            if again and patience:
                patience -= 1  # a profile that was made moments ago is not found yet
                rounds.append(again)
            elif again:
                for message in again:
                    self._say(message, "rejected", "404: the profile does not exist", journal, tell)
            if rounds:
                self._sleep(max(0.0, self._settle - (time.monotonic() - started)))

    def _round(
        self, outbox: Outbox, messages: Sequence[Message], journal: Journal, tell: Callable[[Outcome], None] | None
    ) -> Iterator[Message | None]:
        calls = (partial(self._one, outbox, message, journal) for message in self._paced(messages))
        for message, state, words in ahead(calls, at_once=self._at_once):
            if state == "again":
                yield message
            else:
                self._say(message, state, words, journal, tell)
                yield None

    def _paced(self, messages: Iterable[Message]) -> Iterator[Message]:
        began = time.monotonic()
        for number, message in enumerate(messages):
            early = number / self._a_second - (time.monotonic() - began)
            if early > 0:
                self._sleep(early)
            yield message

    def _one(self, outbox: Outbox, message: Message, journal: Journal) -> tuple[Message, str, str]:
        where = f"track {outbox.name}[{message.keys[0]}]"
        if self._away:  # out of reach for one row after all its attempts: thousands more would try for hours
            return message, "failed", f"not tried, as an earlier row failed: {self._away}"
        if not outbox.upserts:
            journal.intend(message.keys, message.hashes)
        from connector.http import ATTEMPTS

        try:
            answer = self._http.send(
                "POST",
                "/track",
                body=message.body,
                where=where,
                attempts=ATTEMPTS,
                at_most_once=not outbox.upserts,
            )
        except RejectedError as refused:
            if refused.status in (401, 403):
                journal.take_back(message.keys)
                raise
            if refused.status == 404 and outbox.kind in ("increment", "decrement"):
                journal.take_back(message.keys)
                return message, "again", ""
            return message, "rejected", refused.what
        except TransientError as failed:
            # An upsert, and what certainly did not arrive, is sent again by the next run.
            if failed.unsent:
                self._away = failed.what
                journal.take_back(message.keys)
            return message, "failed" if outbox.upserts or failed.unsent else "unknown", failed.what
        if bot := _taken_for(answer):
            return message, "rejected", f"taken for the bot {bot}, and not stored"
        return message, "sent", ""

    def _say(
        self, message: Message, state: str, words: str, journal: Journal, tell: Callable[[Outcome], None] | None
    ) -> None:
        for key, digest in zip(message.keys, message.hashes, strict=True):
            outcome = Outcome(key, digest, state, excerpt(words))
            journal.done(outcome)
            if tell:
                tell(outcome)


@dataclass(frozen=True)
class Delivery:
    """What a run did: rows by outcome; rows of people who are to be forgotten are not sent."""

    sent: int
    unchanged: int
    rejected: int
    failed: int
    unknown: int
    forgotten: int = 0


def deliver(
    outbox: Outbox,
    track: Track,
    *,
    warehouse: Warehouse,
    folder: Path,
    dry_run: Callable[[Message], None] | None = None,
    tell: Callable[[Outcome], None] | None = None,
) -> Delivery:
    """Send what changed since the last run.

    Args:
        warehouse: holds the rows, and remembers what was sent in ``connector.sent`` and ``connector.rejected``.
        folder: for the journal that survives a kill.
        dry_run: gets every message instead of the vendor; nothing is sent or remembered.
        tell: gets every outcome as it comes.

    Raises:
        BusyError: another run is sending this outbox.
        RejectedError: the credentials are refused; what was sent until then is remembered.
    """
    with journal(folder, outbox.name) as (book, path):
        if not dry_run:
            _settle_accounts(warehouse, outbox, path, ())  # of a run that was killed
        gone, rows = is_forgotten(warehouse), list(_rows(warehouse, outbox))
        left = [row for row in rows if not gone(str(row.get("profile_id") or ""))]
        chosen = plan(outbox, left, remembered(warehouse, outbox.name))
        if dry_run:
            for message in chosen.messages:
                dry_run(message)
            return Delivery(0, chosen.unchanged, len(chosen.refused), 0, 0, len(rows) - len(left))
        try:
            track.send(outbox, chosen.messages, book, tell=tell)
        finally:
            outcomes = _settle_accounts(warehouse, outbox, path, chosen.refused)
        count = Counter(outcome.status for outcome in outcomes)
        return Delivery(
            count["sent"],
            chosen.unchanged,
            count["rejected"],
            count["failed"],
            count["unknown"],
            len(rows) - len(left),
        )


def _settle_accounts(warehouse: Warehouse, outbox: Outbox, path: Path, refused: Sequence[Outcome]) -> Sequence[Outcome]:
    outcomes = [*refused, *read_journal(path)]
    if outcomes:
        remember(warehouse, outbox.name, outcomes)
        os.truncate(path, 0)
    return outcomes


def _rows(warehouse: Warehouse, outbox: Outbox) -> Iterator[dict[str, Any]]:
    try:
        with warehouse.read() as connection:
            cursor = connection.execute(outbox.query)
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
    except ConnectorError:
        raise
    except Exception as fault:  # noqa: BLE001  whatever the query made DuckDB say
        raise SettingsError(
            f"outbox {outbox.name}.query", f"fails: {excerpt(str(fault), 200)}", next_step="try it in the warehouse."
        ) from None
    return (dict(zip(names, row, strict=True)) for row in rows)


def _taken_for(answer: bytes) -> str:
    """The bot that the vendor saw in us, if it did: a 202 like any other, and nothing is stored."""
    if b'"bot"' not in answer:
        return ""
    try:
        match json.loads(answer):
            case {"bot": bot} if bot not in (None, False):
                return (
                    excerpt(str(bot.get("name") or "") if isinstance(bot, dict) else str(bot), 60) or "without a name"
                )
    except (ValueError, RecursionError):
        pass
    return ""


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


def _rounds(messages: Sequence[Message]) -> list[list[Message]]:
    """Each profile at most once a round."""
    rounds: list[list[Message]] = []
    turns: dict[str, int] = {}
    for message in messages:
        turn = turns.get(message.profile, 0)
        turns[message.profile] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(message)
    return rounds


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


def describe(message: Message) -> str:
    """One line of a dry run."""
    return f"{', '.join(message.keys)}: {json.dumps(message.body, ensure_ascii=False)}"
