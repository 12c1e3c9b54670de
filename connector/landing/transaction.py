"""One write connection, one transaction, one landing: everything is committed, or the tables stay as they were.

Nothing here knows a vendor, a request or a schedule.
"""

import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Protocol, TypeVar

import duckdb

from connector.stream import Stream
from connector.warehouse.connection import ConflictError, Warehouse
from connector.warehouse.sql import literal, of_days, quoted_table


@dataclass(frozen=True)
class Work:
    """A landing under way: the open connection, whose rows are landed, and the identity of the landing.

    Attributes:
        where: names the landing in messages.
        load_id, now: stand in every row of the landing and in its receipts.
        replaced: by day, how many rows it holds now, all of this landing; see :class:`Transaction`.
    """

    warehouse: Warehouse
    db: duckdb.DuckDBPyConnection
    stream: Stream
    where: str
    load_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    replaced: dict[date, int] = field(default_factory=dict)

    @property
    def table(self) -> str:
        return quoted_table(self.stream)

    def row(self, sql: str) -> tuple[int, ...]:
        """The first row of an answer that has one."""
        row = self.db.execute(sql).fetchone()
        assert row is not None
        return row


class _HasLockTimes(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def lock_wait(self) -> float: ...

    @property
    def lock_seconds(self) -> float: ...


Timed = TypeVar("Timed", bound=_HasLockTimes)


class Transaction:
    """Commits on success, rolls back on any error, and translates DuckDB's errors into ours.

    Where others may write without our lock, the replaced days are looked at once more after the commit: two first
    landings of one day can both commit, without an error and with all rows twice.

    Raises:
        ConflictError: another writer changed the same, or a day holds rows of another landing; land it again.

    Attributes:
        waited, held: seconds until the warehouse was open for this landing, and seconds until it was closed again.
    """

    def __init__(self, warehouse: Warehouse, stream: Stream, where: str) -> None:
        warehouse.must_not_be_named(stream.schema)
        self._warehouse, self._stream, self._where = warehouse, stream, where
        self._context = warehouse.writing(where=where)
        self.waited = self.held = 0.0

    def timed(self, receipt: Timed) -> Timed:
        """The receipt of what happened inside, with how long the warehouse was waited for and held."""
        return replace(receipt, lock_wait=self.waited, lock_seconds=self.held)

    def __enter__(self) -> Work:
        asked = time.monotonic()
        self._writing = self._context.__enter__()
        self._opened = time.monotonic()
        self.waited = self._opened - asked
        self._writing.connection.execute("begin")
        self._work = Work(self._warehouse, self._writing.connection, self._stream, self._where)
        return self._work

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        failure: BaseException | None = error
        try:
            if error is None:
                self._writing.must_hold()
                self._writing.connection.execute("commit")
                self._prove()
        except duckdb.Error as fault:
            failure = fault
        finally:
            # Closing rolls an open transaction back; nothing is left half-landed.
            self._context.__exit__(None, None, None)
            self.held = time.monotonic() - self._opened
        if isinstance(failure, duckdb.Error):
            raise self._warehouse.translated(failure, self._where) from None

    def _prove(self) -> None:
        work = self._work
        if not self._warehouse.has_other_writers or not work.replaced:
            return
        rows = work.db.execute(
            f"select _day, count(*), count(*) filter (_load_id <> {literal(work.load_id)}) from {work.table} "
            f"where {of_days('_day', list(work.replaced))} group by _day"
        ).fetchall()
        found = dict.fromkeys(work.replaced, (0, 0)) | {day: (count, others) for day, count, others in rows}
        if wrong := [day for day, rows in work.replaced.items() if found[day] != (rows, 0)]:
            count, others = found[wrong[0]]
            raise ConflictError(
                f"{wrong[0]} holds {count} rows, {others} of another landing, where {work.replaced[wrong[0]]} were "
                "landed: a writer that does not take our lock landed it at the same time",
                where=self._where,
                next_step="land the day once more, which replaces all of them.",
            )
