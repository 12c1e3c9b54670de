"""Remembers what was sent to a vendor: in a journal while sending, in tables afterwards.

The journal is a file, because a run that sends ten thousand requests must not lock the warehouse meanwhile, and must
not lose its record if it is killed. The next run reads the journal of a dead one.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connector.catalogue.own import REJECTED, SENT
from connector.errors import BusyError, ContractError
from connector.system.files import locked, private, private_folder
from connector.warehouse.connection import Connection, MissingTableError, Warehouse, retry_conflicts
from connector.warehouse.own_tables import create, insert
from connector.warehouse.sql import literal


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
    """A file of intents and outcomes, one line each, written at once so that a kill loses none."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._file = open(path, "a", encoding="utf-8", opener=private)  # noqa: SIM115  closed by journal()

    def intend(self, keys: Sequence[str], hashes: Sequence[str], step: "Step | None" = None) -> None:
        """About to send something that must not be sent twice; on disk before this returns.

        Args:
            step: what it does to a counter, by which a later run can tell whether it happened.
        """
        more = {"step": asdict(step)} if step else {}
        lines = [{"intent": key, "hash": digest, **more} for key, digest in zip(keys, hashes, strict=True)]
        self._write(lines, sync=True)

    def take_back(self, keys: Sequence[str]) -> None:
        """Remove an intent: the vendor certainly did not store the rows."""
        self._write([{"back": key} for key in keys])

    def done(self, outcome: Outcome) -> None:
        self._write(
            [{"done": outcome.key, "hash": outcome.content_hash, "status": outcome.status, "said": outcome.said}]
        )

    def close(self) -> None:
        self._file.close()

    def _write(self, lines: Sequence[Mapping[str, Any]], *, sync: bool = False) -> None:
        with self._lock:
            self._file.writelines(json.dumps(line) + "\n" for line in lines)
            self._file.flush()
            if sync:
                os.fdatasync(self._file.fileno())


@contextmanager
def journal(folder: Path, outbox: str) -> Iterator[tuple[Journal, Path]]:
    """The journal of one outbox, locked: two runs of the same outbox would send everything twice.

    Yields:
        The journal and its path.

    Raises:
        BusyError: another run is sending this outbox.
    """
    private_folder(folder)
    name = "".join(char if char.isalnum() or char in "-_" else "_" for char in outbox)[:60]
    path = folder / f"{name}.journal"
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / f"{name}.lock"))
        except TimeoutError:
            raise BusyError(
                "another run is sending this outbox",
                where=f"track {outbox}",
                next_step="wait for it to end, then rerun.",
            ) from None
        book = Journal(path)
        stack.callback(book.close)
        yield book, path


def read_journal(path: Path) -> list[Outcome]:
    """Outcomes in a journal; an intent without one is ``unknown``. A kill may have cut the last line.

    Raises:
        ContractError: another line cannot be read.
    """
    outcomes: dict[str, Outcome] = {}
    for entry in _entries(path):
        match entry:
            case {"intent": str(key), "hash": str(digest)}:
                outcomes[key] = Outcome(key, digest, "unknown", "the run ended before an answer came")
            case {"back": str(key)}:
                outcomes.pop(key, None)
            case {"done": str(key), "hash": str(digest), "status": str(status), "said": str(said)}:
                outcomes[key] = Outcome(key, digest, status, said)
    return list(outcomes.values())


def open_steps(path: Path) -> dict[Step, dict[str, str]]:
    """Steps of a journal without an outcome, with the keys and hashes of the rows they stand for."""
    steps: dict[str, tuple[Step, str]] = {}
    for entry in _entries(path):
        match entry:
            case {"intent": str(key), "hash": str(digest), "step": dict(step)}:
                steps[key] = Step(**step), digest
            case {"back": str(key)} | {"done": str(key)}:
                steps.pop(key, None)
    found: dict[Step, dict[str, str]] = {}
    for key, (one, digest) in steps.items():
        found.setdefault(one, {})[key] = digest
    return found


def _entries(path: Path) -> Iterator[Any]:
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError:
            if number == len(lines):
                return
            raise ContractError(
                f"line {number} of {path.name} is not readable",
                where="track",
                next_step="look at the file; what it holds decides what must not be sent again.",
            ) from None


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
    removed = 0
    for path in sorted(folder.glob("*.journal")):
        with nullcontext() if dry_run else journal(folder, path.stem):  # locked while it is rewritten
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if not _names(line, keys)]
            removed += len(lines) - len(kept)
            if not dry_run and len(kept) < len(lines):
                path.write_text("".join(kept), encoding="utf-8")
    with warehouse.read() if dry_run else warehouse.transaction() as connection:
        for table in ("sent", "rejected"):
            of_keys = f"from connector.{table} where list_contains({literal(list(keys))}, key)"
            with suppress(MissingTableError):
                row = connection.execute(f"select count(*) {of_keys}").fetchone()
                removed += row[0] if row else 0
                if not dry_run:
                    connection.execute(f"delete {of_keys}")
    return removed


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
