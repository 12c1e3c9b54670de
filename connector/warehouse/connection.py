"""The one way to the warehouse, whatever kind it is: a DuckDB file, a lake, or MotherDuck.

``WAREHOUSE`` says which; only the modules of this folder know what that means. All others ask for a connection
that reads or writes, and closes it soon.
"""

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from connector.errors import ConnectorError, SettingsError
from connector.redaction import excerpt
from connector.warehouse.faults import ConflictError, UnreadError, is_conflict, retry_conflicts
from connector.warehouse.kind import KEEP, MEMORY_MB, At, Connection, Done, Remark, Writing
from connector.warehouse.places import kind_of

# Names for other folders: only this folder and `landing` import DuckDB itself.
__all__ = ["KEEP", "MEMORY_MB", "At", "ConflictError", "Connection", "Done", "MissingTableError", "Remark"]
__all__ += ["UnreadError", "Warehouse", "Writing", "retry_conflicts"]
MissingTableError = duckdb.CatalogException

LOCK_WAIT = 300.0

# Names of DuckDB's own catalogs and schemas, and of this project's schemas. Each table adds its vendor's schema.
_RESERVED_NAMES = (
    "main",
    "temp",
    "system",
    "information_schema",
    "pg_catalog",
    "connector",
    "staging",
    "intermediate",
    "marts",
)


class Warehouse:
    """One warehouse, named by the value of the WAREHOUSE variable.

    Args:
        url: a file path, ``ducklake:sqlite:<file>``, ``ducklake:postgres:<keywords or URL>``, or ``md:<database>``;
            docs/warehouse.md tells what else each needs.
        lock_wait: seconds to wait for other processes.

    Attributes:
        name: the place as messages show it, without secrets.

    Raises:
        SettingsError: a part is missing, nothing can be kept there, or it has the name of a schema.
    """

    def __init__(self, url: str | Path, *, lock_wait: float = LOCK_WAIT) -> None:
        self._kind, self._lock_wait = kind_of(str(url)), lock_wait
        self.name = self._kind.name
        for schema in _RESERVED_NAMES:
            self.must_not_be_named(schema)

    def __repr__(self) -> str:
        return f"Warehouse({self.name!r})"

    @property
    def url(self) -> str:
        """The place, absolute and without secrets: equal for the same warehouse, whatever the working directory."""
        return self._kind.url

    @property
    def uri(self) -> str:
        """As ``url``, where a file is a URI as well."""
        return self._kind.uri

    @property
    def catalog(self) -> str:
        """DuckDB's name for the database; of a file its name up to the first dot."""
        return self._kind.catalog

    @property
    def place(self) -> Path | None:
        """The folder whose disk the rows are on; None if that is no disk of this machine."""
        return self._kind.place

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables by which a child process opens the same warehouse. May hold secrets."""
        return self._kind.environment

    @property
    def has_other_writers(self) -> bool:
        """Whether programs that do not take our lock may write at the same time; what landed is then looked at."""
        return self._kind.has_other_writers

    @property
    def needs_maintenance(self) -> bool:
        """Whether old versions of rows stay until :meth:`maintain` removes them."""
        return self._kind.needs_maintenance

    def must_not_be_named(self, schema: str) -> None:
        """Refuse a file that has the name of a schema in it.

        DuckDB names a file's catalog after the file, so ``shop.orders`` in ``shop.duckdb`` means two things, in our
        statements and in every other query.

        Raises:
            SettingsError: the names are equal. Case does not matter.
        """
        if self.catalog.lower() == schema.lower():
            raise SettingsError(
                "WAREHOUSE",
                f"is {excerpt(Path(self.name).name, 60)!r}, and DuckDB cannot tell the file from the schema {schema} "
                "in it",
                next_step="use another name, such as warehouse.duckdb; an existing file can simply be renamed.",
            )

    @contextlib.contextmanager
    def write(self, *, where: str = "warehouse") -> Iterator[Connection]:
        """A connection that may write, in UTC; closed when the block ends. Waits up to ``lock_wait`` seconds.

        Args:
            where: what will be written, such as a partition; for messages.

        Raises:
            BusyError: another process kept the warehouse locked; the message names it.
            RejectedError: the warehouse cannot be written here, or was written by a newer version.
            TransientError: the disk is full. Other errors in the block's own statements are not translated.
        """
        with self.writing(where=where) as writing:
            yield writing.connection

    def writing(self, *, where: str = "warehouse") -> contextlib.AbstractContextManager[Writing]:
        """As :meth:`write`, with what must be asked before a commit; for those who begin and commit themselves."""
        return self._kind.write(lock_wait=self._lock_wait, where=where)

    @contextlib.contextmanager
    def transaction(self, *, where: str = "warehouse") -> Iterator[Connection]:
        """As :meth:`write`, in one transaction: committed when the block ends, rolled back after any error.

        Raises:
            ConflictError: a writer that does not take our lock changed the same; see :func:`retry_conflicts`.
        """
        with self.writing(where=where) as writing:
            try:
                writing.connection.execute("begin")
                yield writing.connection
                writing.must_hold()
                writing.connection.execute("commit")
            except duckdb.Error as fault:
                if is_conflict(fault):
                    raise self.translated(fault, where) from None
                raise

    @contextlib.contextmanager
    def read(self, *, where: str = "warehouse", at: At | None = None) -> Iterator[Connection]:
        """A connection that only reads, in UTC; closed when the block ends. Many may read at once.

        Keep the block short: no landing can write into a DuckDB file while a reader has it open. In a lake the whole
        block sees one snapshot, and neither waits for the other.

        Args:
            at: a moment, or the number of a snapshot: the warehouse as it was then. Lakes only.

        Raises:
            RejectedError: there is no such snapshot any more, or this kind of warehouse keeps none.
        """
        with self._kind.read(lock_wait=self._lock_wait, where=where, at=at) as connection:
            yield connection

    def exists(self) -> bool:
        """Whether the warehouse was ever written to."""
        return self._kind.exists()

    def translated(self, fault: duckdb.Error, where: str) -> ConnectorError:
        """An error of DuckDB while rows were written, as one of ours; the transaction is rolled back."""
        return self._kind.translated(fault, where)

    @contextlib.contextmanager
    def building(self, *, where: str = "dbt") -> Iterator[Mapping[str, str]]:
        """Hold what dbt needs to be held while it builds; yields variables by which it opens this warehouse."""
        with self._kind.building(lock_wait=self._lock_wait, where=where) as variables:
            yield variables

    def lent_to(self, root: Connection) -> contextlib.AbstractContextManager[None]:
        """Attach a lake to a DuckDB of dbt's, and hold what must be held while it builds; see ``dbt_plugin.py``."""
        return self._kind.lent_to(root, lock_wait=self._lock_wait)

    def partition_by_day(self, connection: Connection, table: str) -> None:
        """Store a new table's days apart, where that makes replacing one cheap."""
        self._kind.partition_by_day(connection, table)

    def sweep(self) -> None:
        """Remove unfinished files of processes that died while they created the warehouse."""
        self._kind.sweep()

    def settle(self, *, now: datetime | None = None) -> datetime | None:
        """After people were forgotten: remove their rows from storage.

        Returns:
            From when on :meth:`maintain` can remove the last of them; None if nothing is left.
        """
        return retry_conflicts(lambda: self._kind.settle(lock_wait=self._lock_wait, now=now))

    def maintain(self, *, keep: timedelta = KEEP, now: datetime | None = None) -> list[Done]:
        """Remove old versions of rows, and files of dead writers; merge small files.

        Args:
            keep: how long an older version stays readable after it was replaced. Shorter than any reading takes, it
                breaks readers; zero is right only without readers.
            now: the moment to count from.

        Returns:
            What was done; nothing for a warehouse that keeps no older versions.

        Raises:
            BusyError: another process kept the warehouse locked.
        """
        return retry_conflicts(lambda: self._kind.maintain(keep=keep, lock_wait=self._lock_wait, now=now))

    def migrate(self, *, moved: bool = False) -> str:
        """Bring a lake's catalogue to the format of this version; what was done, in a sentence.

        Args:
            moved: the files were moved to where the settings say; the catalogue learns that as well.

        Raises:
            RejectedError: this kind of warehouse has no catalogue.
        """
        return self._kind.migrate(moved=moved, lock_wait=self._lock_wait)

    def remarks(self) -> Iterator[Remark]:
        """What this kind says of itself to `connector doctor`."""
        return self._kind.remarks()

    def close(self) -> None:
        """Close what is kept open between two uses; the next use opens it again."""
        self._kind.close()
