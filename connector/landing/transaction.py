"""One write connection, one transaction, one landing: everything is committed, or the tables stay as they were.

Nothing here knows a vendor, a request or a schedule.
"""

import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol, TypeVar

import duckdb

from connector.stream import Stream
from connector.warehouse.connection import Warehouse, translated
from connector.warehouse.sql import quoted_table


@dataclass(frozen=True)
class Work:
    """A landing under way: the open connection, whose rows are landed, and the identity of the landing.

    Attributes:
        where: names the landing in messages.
        load_id, now: stand in every row of the landing and in its receipts.
    """

    db: duckdb.DuckDBPyConnection
    stream: Stream
    where: str
    load_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

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

    Attributes:
        waited, held: seconds until the warehouse was open for this landing, and seconds until it was closed again.
    """

    def __init__(self, warehouse: Warehouse, stream: Stream, where: str) -> None:
        warehouse.must_not_be_named(stream.schema)
        self._context, self._stream, self._where = warehouse.write(where=where), stream, where
        self.waited = self.held = 0.0

    def timed(self, receipt: Timed) -> Timed:
        """The receipt of what happened inside, with how long the warehouse was waited for and held."""
        return replace(receipt, lock_wait=self.waited, lock_seconds=self.held)

    def __enter__(self) -> Work:
        asked = time.monotonic()
        self._connection = self._context.__enter__()
        self._opened = time.monotonic()
        self.waited = self._opened - asked
        self._connection.execute("begin")
        return Work(self._connection, self._stream, self._where)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        failure: BaseException | None = error
        try:
            if error is None:
                self._connection.execute("commit")
        except duckdb.Error as fault:
            failure = fault
        finally:
            # Closing rolls an open transaction back; nothing is left half-landed.
            self._context.__exit__(None, None, None)
            self.held = time.monotonic() - self._opened
        if isinstance(failure, duckdb.Error):
            raise translated(failure, self._where) from None
