"""Remembers what was sent to a vendor: in a journal while sending, in tables afterwards.

The journal is a file, or rows of PostgreSQL, because a run that sends ten thousand requests must not lock the warehouse
meanwhile, and must not lose its record if it is killed. The next run reads the journal of a dead one.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connector.catalogue.own import REJECTED, SENT
from connector.errors import BusyError, ContractError
from connector.state.kinds import Held
from connector.state.place import of_folder
from connector.warehouse.connection import Connection, MissingTableError, Warehouse, retry_conflicts
from connector.warehouse.own_tables import create, insert
from connector.warehouse.sql import literal

_ENDING = ".journal"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one row: ``sent``, ``rejected`` (with the vendor's words), ``failed`` or ``unknown``."""

    key: str
    content_hash: str
    status: str
    said: str = ""


@dataclass(frozen=True)
class Step:
    """A change of a counter: its value as stored before, and as it must be stored in the end."""

    profile: str
    property: str
    before: int
    after: int


class Journal:
    """Intents and outcomes of one outbox, one line each, written at once so that a kill loses none.

    Args:
        name: with the place it is kept in, for messages.
        held: its lines, locked.
    """

    def __init__(self, name: str, held: Held) -> None:
        self._name, self._held, self._lock = name, held, threading.Lock()

    def intend(self, keys: Sequence[str], hashes: Sequence[str], step: "Step | None" = None) -> None:
        """About to send something that must not be sent twice; on disk before this returns.

        Args:
            step: what it does to a counter, by which a later run can tell whether it happened.
        """
        more = {"step": asdict(step)} if step else {}
        lines = [{"intent": key, "hash": digest, **more} for key, digest in zip(keys, hashes, strict=True)]
        self._write(lines, durable=True)

    def take_back(self, keys: Sequence[str]) -> None:
        """Remove an intent: the vendor certainly did not store the rows."""
        self._write([{"back": key} for key in keys])

    def done(self, outcome: Outcome) -> None:
        self._write(
            [{"done": outcome.key, "hash": outcome.content_hash, "status": outcome.status, "said": outcome.said}]
        )

    def outcomes(self) -> list[Outcome]:
        """What is noted; an intent without an outcome is ``unknown``. A kill may have cut the last line.

        Raises:
            ContractError: another line cannot be read.
        """
        outcomes: dict[str, Outcome] = {}
        for entry in self._entries():
            match entry:
                case {"intent": str(key), "hash": str(digest)}:
                    outcomes[key] = Outcome(key, digest, "unknown", "the run ended before an answer came")
                case {"back": str(key)}:
                    outcomes.pop(key, None)
                case {"done": str(key), "hash": str(digest), "status": str(status), "said": str(said)}:
                    outcomes[key] = Outcome(key, digest, status, said)
        return list(outcomes.values())

    def open_steps(self) -> dict[Step, dict[str, str]]:
        """Steps without an outcome, with the keys and hashes of the rows they stand for."""
        steps: dict[str, tuple[Step, str]] = {}
        for entry in self._entries():
            match entry:
                case {"intent": str(key), "hash": str(digest), "step": dict(step)}:
                    steps[key] = Step(**step), digest
                case {"back": str(key)} | {"done": str(key)}:
                    steps.pop(key, None)
        found: dict[Step, dict[str, str]] = {}
        for key, (one, digest) in steps.items():
            found.setdefault(one, {})[key] = digest
        return found

    def clear(self) -> None:
        """Everything that is noted stands in the tables now."""
        if self._held.read():
            self._held.write(b"")

    def forget(self, keys: Sequence[str]) -> int:
        """Remove all lines about these keys; the number of lines."""
        lines, kept = _split(self._held.read(), keys)
        if len(kept) < len(lines):
            self._held.write("".join(kept).encode())
        return len(lines) - len(kept)

    def _entries(self) -> Iterator[Any]:
        lines = (self._held.read() or b"").decode().splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError:
                if number == len(lines):
                    return
                raise ContractError(
                    f"line {number} of {self._name} is not readable",
                    where="track",
                    next_step="look at it; what it holds decides what must not be sent again.",
                ) from None

    def _write(self, lines: Sequence[Mapping[str, Any]], *, durable: bool = False) -> None:
        with self._lock:
            self._held.append("".join(json.dumps(line) + "\n" for line in lines).encode(), durable=durable)


@contextmanager
def journal(folder: Path, outbox: str) -> Iterator[Journal]:
    """The journal of one outbox, locked: two runs of the same outbox would send everything twice.

    Raises:
        BusyError: another run is sending this outbox.
    """
    name = "".join(char if char.isalnum() or char in "-_" else "_" for char in outbox)[:60] + _ENDING
    state = of_folder(folder)
    with ExitStack() as stack:
        try:
            held = stack.enter_context(state.locked(name))
        except TimeoutError:
            raise BusyError(
                "another run is sending this outbox",
                where=f"track {outbox}",
                next_step="wait for it to end, then rerun.",
            ) from None
        yield Journal(f"{name} in {state.where}", held)


def remembered(warehouse: Warehouse, outbox: str) -> dict[str, str]:
    """Key -> content hash of rows that were sent, or may have been."""
    if not warehouse.exists():
        return {}
    with warehouse.read() as connection:
        try:
            rows = connection.execute(
                f"select key, content_hash from connector.sent where outbox = {literal(outbox)}"
            ).fetchall()
        except MissingTableError:
            return {}
    return dict(rows)


def remember(warehouse: Warehouse, outbox: str, outcomes: Sequence[Outcome]) -> None:
    """Write outcomes to ``connector.sent`` and ``connector.rejected`` in one transaction."""
    now = datetime.now(UTC)
    sent = [one for one in outcomes if one.status in ("sent", "unknown")]
    not_sent = [one for one in outcomes if one.status != "sent"]

    def write() -> None:
        with warehouse.transaction() as connection:
            create(connection, SENT, REJECTED)
            _delete_keys(connection, "sent", outbox, sent)
            _delete_keys(connection, "rejected", outbox, outcomes)
            insert(connection, SENT, [_row(outbox, one, now) for one in sent])
            insert(connection, REJECTED, [{**_row(outbox, one, now), "said": one.said} for one in not_sent])

    retry_conflicts(write)


def forget_keys(warehouse: Warehouse, folder: Path, keys: Sequence[str], *, dry_run: bool = False) -> int:
    """Remove the records of these keys from the tables and from journals of dead runs.

    Returns:
        The number of records removed.

    Raises:
        BusyError: an outbox is being sent.
    """
    removed, state = 0, of_folder(folder)
    for name in state.names(_ENDING):
        if dry_run:
            lines, kept = _split(state.read(name), keys)
            removed += len(lines) - len(kept)
        else:
            with journal(folder, name.removesuffix(_ENDING)) as book:
                removed += book.forget(keys)
    with warehouse.read() if dry_run else warehouse.transaction() as connection:
        for table in ("sent", "rejected"):
            of_keys = f"from connector.{table} where list_contains({literal(list(keys))}, key)"
            with suppress(MissingTableError):
                row = connection.execute(f"select count(*) {of_keys}").fetchone()
                removed += row[0] if row else 0
                if not dry_run:
                    connection.execute(f"delete {of_keys}")
    return removed


def _split(content: bytes | None, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """All lines of a journal, and those that name none of these keys."""
    lines = (content or b"").decode().splitlines(keepends=True)
    return lines, [line for line in lines if not _names(line, keys)]


def _names(line: str, keys: Sequence[str]) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return any(key in line for key in keys)
    if not isinstance(entry, dict):
        return False
    named = [*(entry.get(word) for word in ("intent", "back", "done")), (entry.get("step") or {}).get("profile")]
    return any(name in keys for name in named)


def _delete_keys(connection: Connection, table: str, outbox: str, outcomes: Sequence[Outcome]) -> None:
    for start in range(0, len(outcomes), 5000):
        keys = literal([one.key for one in outcomes[start : start + 5000]])
        connection.execute(
            f"delete from connector.{table} where outbox = {literal(outbox)} and list_contains({keys}, key)"
        )


def _row(outbox: str, one: Outcome, now: datetime) -> dict[str, object]:
    noted = {"outbox": outbox, "key": one.key, "content_hash": one.content_hash}
    return {**noted, "status": one.status, "noted_at": now}
