"""A lake of one machine, without any server: the catalogue in a SQLite file, its files beside it.

Four facts of SQLite decide what is done here. Without its write-ahead log a reader's transaction breaks a landing's
commit. It gives a DuckLake reader no stable view: what a reader may still be looking at must not be expired or merged.
Its locks belong to the process and end when the process closes any handle of the file: nothing here opens it. And a
process that closes the last handle of the log keeps the file locked for a moment, for which DuckDB's SQLite waits in
whole seconds: a handle stays open.
"""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from connector.errors import BusyError, RejectedError, SettingsError
from connector.redaction import excerpt
from connector.settings import Environment
from connector.system.files import locked, private_folder
from connector.warehouse.kind import Connection, Done
from connector.warehouse.lake import CATALOG, Lake
from connector.warehouse.lake_files import VARIABLE, DataPath
from connector.warehouse.lake_format import Stored
from connector.warehouse.sql import text

# Milliseconds for which SQLite itself waits for writers that do not take our lock.
BUSY_TIMEOUT = 10_000
# Pages that are free still hold what was in them. In another process, see above.
_VACUUM = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None) as catalogue:
    catalogue.execute("vacuum")
    catalogue.execute("pragma wal_checkpoint(truncate)")
"""


class SqliteLake(Lake):
    """A lake with a SQLite catalogue.

    Args:
        file: the catalogue's path. The files are in DUCKLAKE_DATA_PATH, or beside it in ``<file>.files/``.
    """

    # A landing's commit between two statements of dbt makes SQLite refuse the second.
    dbt_writes_alone = True
    extension = "sqlite_scanner"

    def __init__(self, file: str, env: Environment) -> None:
        super().__init__(env)
        try:
            self._file = Path(file).expanduser().absolute()
        except RuntimeError:
            raise SettingsError(
                "WAREHOUSE", "names a user that does not exist", next_step="write WAREHOUSE as a full path."
            ) from None
        self.url = f"ducklake:sqlite:{self._file}"
        self.files = DataPath(env.text(VARIABLE, f"{self._file}.files"), env)
        self.place = self.files.folder or self._file.parent
        self.environment = {"WAREHOUSE": self.url, VARIABLE: self.files.path}

    @property
    def identity(self) -> object:
        try:
            stat = self._file.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    def _may_exist(self) -> bool:
        try:
            return self._file.stat().st_size > 0
        except OSError:
            return False

    @contextlib.contextmanager
    def lock(self, *, lock_wait: float, where: str) -> Iterator[Callable[[], None]]:
        with contextlib.ExitStack() as stack:
            try:
                private_folder(self._file.parent)
                stack.enter_context(locked(self._file.with_name(f".{self._file.name}.lock"), patience=lock_wait))
            except TimeoutError:
                raise BusyError(
                    f"another landing, dbt or maintenance has kept the warehouse {self.url} locked for "
                    f"{lock_wait:.0f} s",
                    where=where,
                    next_step="wait until it has ended, then rerun; the lock ends with the process that holds it.",
                ) from None
            except OSError as fault:
                raise RejectedError(
                    f"{self.url} cannot be written: {fault.strerror or type(fault).__name__}",
                    where=where,
                    next_step="make its folder writable for this user, or point WAREHOUSE elsewhere.",
                ) from None
            yield lambda: None  # the system keeps it for as long as this process lives

    def look(self, root: Connection) -> Stored | None:
        if not self._may_exist():
            return None
        try:
            root.execute(f"attach {text(str(self._file))} as looked_at (type sqlite, read_only)")
            try:
                tables = {name for (name,) in root.execute(_TABLES).fetchall()}
                if not tables:
                    return None
                if "ducklake_metadata" not in tables:
                    raise self._foreign("which holds tables of something else")
                rows = dict(root.execute("select key, value from looked_at.ducklake_metadata").fetchall())
            finally:
                root.execute("detach looked_at")
        except duckdb.Error as fault:
            if "not a database" in str(fault):
                raise self._foreign("which is no SQLite file") from None
            raise self._cannot_attach(fault) from None
        return Stored(rows.get("version", "?"), rows.get("data_path", ""))

    def _foreign(self, because: str) -> SettingsError:
        return SettingsError(
            "WAREHOUSE",
            f"is {excerpt(self.url, 200)}, {because}",
            next_step="name a file that does not exist yet, or the catalogue of a lake.",
        )

    def attachment(self) -> tuple[str, Mapping[str, str | int]]:
        return self.url, {"META_JOURNAL_MODE": "WAL", "META_BUSY_TIMEOUT": BUSY_TIMEOUT}

    def keep_open(self, root: Connection) -> Connection | None:
        """A handle without a snapshot: it holds up neither the log nor maintenance."""
        keeper = root.cursor()
        try:
            keeper.execute("begin")
            keeper.execute(f"from sqlite_query('{_CATALOGUE}', 'select 1')").fetchall()
        except duckdb.Error:  # without it a reader waits a second now and then
            keeper.close()
            return None
        return keeper

    def put_down(self, keeper: Connection) -> None:
        keeper.execute(f"from sqlite_query('{_CATALOGUE}', 'pragma wal_checkpoint(passive)')").fetchall()

    def store_data_path(self, root: Connection, path: str) -> None:
        root.execute(f"attach {text(str(self._file))} as looked_at (type sqlite)")
        root.execute(f"update looked_at.ducklake_metadata set value = {text(path)} where key = 'data_path'")
        root.execute("detach looked_at")

    def maintain(self, *, keep: timedelta, lock_wait: float, now: datetime | None = None) -> list[Done]:
        done = super().maintain(keep=keep, lock_wait=lock_wait, now=now)
        if any(one.count for one in done):
            with contextlib.suppress(subprocess.TimeoutExpired):  # a reader takes long: another time
                subprocess.run(
                    [sys.executable, "-c", _VACUUM, str(self._file)], check=False, capture_output=True, timeout=60
                )
        return done


# DuckLake's own name for the attached catalogue.
_CATALOGUE = f"__ducklake_metadata_{CATALOG}"
_TABLES = "select table_name from duckdb_tables() where database_name = 'looked_at'"
