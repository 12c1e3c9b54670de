"""A lake: rows in Parquet files, and a catalogue in a database that says which files are which snapshot (DuckLake).

Readers see one snapshot and never wait. Writers take a lock of ours, because DuckLake 1.0 lets two first landings
of a day both commit. What the two kinds of catalogue do differently is in their own modules.

One DuckDB is kept for each lake and process, and every use gets a cursor of it: loading the extensions costs half a CPU
second each time.
"""

import contextlib
import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from connector.errors import ConnectorError, RejectedError, TransientError
from connector.redaction import excerpt
from connector.settings import Environment
from connector.system.files import machine_folder
from connector.warehouse import extensions
from connector.warehouse.faults import is_conflict, is_full, named, plainly, translated
from connector.warehouse.kind import KEEP, WRITE_SETTINGS, At, Connection, Done, Kind, Remark, Writing, moment
from connector.warehouse.lake_files import DataPath
from connector.warehouse.lake_format import FORMAT, Stored, usable
from connector.warehouse.lake_upkeep import maintained, overdue, settled
from connector.warehouse.private_files import private_files
from connector.warehouse.sql import text

# The default file's catalog has this name as well, so prepared manifests and people's queries stay the same.
CATALOG = "warehouse"
# Set for processes whose parent holds for them what must be held while dbt builds.
HELD = "_CONNECTOR_LAKE_LOCK"
# The Parquet writer holds a row group in memory, and a landing has 144 MB.
OPTIONS = {"parquet_row_group_size": "20000", "parquet_compression": "zstd"}


@dataclass
class _Open:
    """A lake's DuckDB in this process."""

    root: Connection
    identity: object
    keeper: Connection | None = None
    has_options: bool = False

    def close(self) -> None:
        if self.keeper:
            self.keeper.close()
        self.root.close()


_OPEN: dict[tuple[object, ...], _Open] = {}
# A DuckDB with its extensions for a lake that does not exist yet: it is most likely about to be made.
_READY: dict[tuple[object, ...], Connection] = {}
_OPEN_GUARD = threading.Lock()


class Lake(Kind):
    """A lake, whatever its catalogue is.

    Attributes:
        dbt_writes_alone: the catalogue refuses statements of dbt between which others commit.
        extension: DuckDB's extension for the catalogue's database.
        files: where the Parquet files are; None for where the catalogue says.
    """

    catalog = CATALOG
    has_other_writers = True
    needs_maintenance = True
    dbt_writes_alone = False
    extension: str
    files: DataPath | None

    def __init__(self, env: Environment) -> None:
        self._env = env

    # What a kind of catalogue knows.

    @abstractmethod
    def lock(self, *, lock_wait: float, where: str) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Hold the lock of all writers; yields a function that raises TransientError if it was lost."""

    @abstractmethod
    def look(self, root: Connection) -> Stored | None:
        """What the catalogue says of itself; None if there is none yet.

        Raises:
            ConnectorError: it cannot be reached, or holds something else.
        """

    @abstractmethod
    def attachment(self) -> tuple[str, Mapping[str, str | int]]:
        """What to attach, and its options, for SQL; without secrets."""

    @abstractmethod
    def store_data_path(self, root: Connection, path: str) -> None:
        """Write another place of the files into the catalogue."""

    def secrets(self) -> Iterator[str]:
        """Statements that tell DuckDB the catalogue's secrets."""
        yield from ()

    def keep_open(self, root: Connection) -> Connection | None:
        """What must stay open for as long as the lake's DuckDB; close it before that."""
        return None

    def put_down(self, keeper: Connection) -> None:
        """Write what was committed to where a copy of the catalogue finds it."""

    @property
    def identity(self) -> object:
        """What changes when another catalogue has come to the same place."""
        return None

    # Reading and writing.

    def exists(self) -> bool:
        return self._open() is not None

    @contextlib.contextmanager
    def write(self, *, lock_wait: float, where: str) -> Iterator[Writing]:
        with named(where):
            self._open()  # before the lock: no other writer should wait for extensions to be loaded
        with private_files(), self.lock(lock_wait=lock_wait, where=where) as must_hold:
            with named(where):
                opened = self._open(create=True)
                assert opened is not None
                cursor = self._cursor(opened.root)
            before = {}
            try:
                self._set_options(opened, cursor)
                before = _set(cursor, WRITE_SETTINGS)
                yield Writing(cursor, must_hold)
            except duckdb.Error as fault:
                if is_full(fault) or isinstance(fault, duckdb.IOException):
                    raise self.translated(fault, where) from None
                raise
            finally:
                with contextlib.suppress(duckdb.Error):
                    cursor.execute("rollback")
                with contextlib.suppress(duckdb.Error):
                    _set(cursor, before)
                cursor.close()
                if opened.keeper:
                    with contextlib.suppress(duckdb.Error):
                        self.put_down(opened.keeper)

    @contextlib.contextmanager
    def read(self, *, lock_wait: float, where: str, at: At | None = None) -> Iterator[Connection]:
        with contextlib.ExitStack() as stack:
            with named(where):
                if at is None:
                    opened = self._open()
                    cursor = self._cursor(opened.root) if opened else None
                else:
                    cursor = stack.enter_context(self._older(at, where))
            if cursor is None:
                raise RejectedError(
                    f"{self.url} does not exist yet",
                    where=where,
                    next_step="land a partition first, or point WAREHOUSE to where the data is.",
                )
            stack.callback(cursor.close)
            try:
                cursor.execute("begin transaction read only")
            except duckdb.Error as fault:
                raise self.translated(fault, where) from None
            try:
                yield cursor
            except duckdb.IOException as fault:
                raise self.translated(fault, where) from None
            finally:
                with contextlib.suppress(duckdb.Error):
                    cursor.execute("rollback")

    @contextlib.contextmanager
    def building(self, *, lock_wait: float, where: str) -> Iterator[Mapping[str, str]]:
        with contextlib.ExitStack() as held:
            held.enter_context(private_files())  # a child process has the same mask
            if self.dbt_writes_alone:
                held.enter_context(self.lock(lock_wait=lock_wait, where=where))
            yield {**self.environment, HELD: "held"}

    @contextlib.contextmanager
    def lent_to(self, root: Connection, *, lock_wait: float) -> Iterator[None]:
        self._equip(root)
        with contextlib.ExitStack() as held:
            if not self._env.values.get(HELD):
                held.enter_context(private_files())
                held.enter_context(self.lock(lock_wait=lock_wait, where="dbt"))
            self._attach_checked(root)
            if not self.dbt_writes_alone:
                held.close()
                held.enter_context(private_files())
            yield

    def partition_by_day(self, connection: Connection, table: str) -> None:
        connection.execute(f"alter table {table} set partitioned by (_day)")

    # Upkeep.

    def settle(self, *, lock_wait: float, now: datetime | None = None) -> datetime | None:
        with self.write(lock_wait=lock_wait, where="forget") as writing:
            try:
                return settled(writing, KEEP, now)
            except duckdb.Error as fault:
                raise self.translated(fault, "forget") from None

    def maintain(self, *, keep: timedelta, lock_wait: float, now: datetime | None = None) -> list[Done]:
        if not self.exists():
            return []
        with self.write(lock_wait=lock_wait, where="maintenance") as writing:
            try:
                return maintained(writing, keep, now)
            except duckdb.Error as fault:
                raise self.translated(fault, "maintenance") from None

    def migrate(self, *, moved: bool, lock_wait: float) -> str:
        with (
            private_files(),
            self.lock(lock_wait=lock_wait, where="migration"),
            contextlib.closing(self._new_root()) as root,
        ):
            stored = self.look(root)
            if stored is None:
                raise RejectedError(
                    f"{self.url} does not exist yet", where="migration", next_step="land a partition first."
                )
            said = []
            if moved and self.files and self.files.path != stored.data_path:
                self.files.must_exist()
                self.store_data_path(root, self.files.path)
                said.append(f"the files are now looked for in {self.files.path}")
            if stored.version != FORMAT:
                self._attach(root, "AUTOMATIC_MIGRATION true")
                said.append(f"the catalogue was brought from format {stored.version} to {FORMAT}")
        self.close()
        return "; ".join(said) or f"nothing was to be done: the catalogue has format {FORMAT}"

    def remarks(self) -> Iterator[Remark]:
        try:
            opened = self._open()
            if opened is None:
                yield Remark("ok", f"{self.url} does not exist yet; the first landing makes it.")
                return
            with self.read(lock_wait=2.0, where="warehouse") as connection:
                found = connection.execute(
                    "select count(*), version() from duckdb_tables() where database_name = current_database()"
                ).fetchone()
                remark = overdue(connection)
        except ConnectorError as error:
            yield Remark("fail", error.what.rstrip(".") + ".", error.next_step)
            return
        if remark:
            yield remark
        rows, version = found or (0, "")
        yield Remark("ok", f"{self.url} opens: {rows} tables, DuckLake {FORMAT}, DuckDB {version}.")

    def translated(self, fault: duckdb.Error, where: str) -> ConnectorError:
        said = excerpt(plainly(fault), 300)
        if is_full(fault) or is_conflict(fault) or not isinstance(fault, duckdb.IOException):
            return translated(fault, where)
        if "postgres" in said.lower():
            return TransientError(
                f"the lake's catalogue cannot be reached: {said}",
                where=where,
                next_step="see whether the PostgreSQL of WAREHOUSE runs, then rerun; the old rows are still in place.",
            )
        return TransientError(
            f"the lake's files cannot be read or written: {said}",
            where=where,
            next_step=f"see whether {self.files.path if self.files else 'the place of the files'} is there, may be "
            "written and has room, then rerun; the old rows are still in place.",
        )

    def close(self) -> None:
        with _OPEN_GUARD:
            if opened := _OPEN.pop(self._key, None):
                opened.close()
            if ready := _READY.pop(self._key, None):
                ready.close()

    # One DuckDB a lake and process.

    @property
    def _key(self) -> tuple[object, ...]:
        return os.getpid(), *self.environment.items()

    def _open(self, *, create: bool = False) -> _Open | None:
        """The lake's DuckDB; None if the lake does not exist, unless it is to be created."""
        with _OPEN_GUARD:
            opened = _OPEN.get(self._key)
            if opened and opened.identity == self.identity:
                return opened
            if opened:  # another catalogue was put in its place
                opened.close()
                del _OPEN[self._key]
            if not create and not self._may_exist():
                return None
            with contextlib.ExitStack() as stack:
                root = _READY.pop(self._key, None) or self._new_root()
                stack.callback(root.close)
                if not create and self.look(root) is None:
                    _READY[self._key] = root
                    stack.pop_all()
                    return None
                self._attach_checked(root)
                stack.pop_all()
            opened = _OPEN[self._key] = _Open(root, self.identity, self.keep_open(root))
            return opened

    def _may_exist(self) -> bool:
        return True

    def _new_root(self) -> Connection:
        """A new DuckDB with extensions and secrets; close it."""
        root = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_persistent_secrets": "false",
                "temp_directory": str(machine_folder() / f"spill-{os.getpid()}"),  # it holds rows
            },
        )
        try:
            self._equip(root)
            return root
        except BaseException:
            root.close()
            raise

    def _equip(self, root: Connection) -> None:
        extensions.load(root, self.extension, "ducklake")
        for statement in self.secrets():
            root.execute(statement)
        if self.files:
            self.files.prepare(root)

    def _attach_checked(self, root: Connection) -> None:
        self.files = usable(self.look(root), self.files, root, self._env)
        self._attach(root)

    def _attach(self, root: Connection, *more: str) -> None:
        path, options = self.attachment()
        if self.files:
            options = {**options, "DATA_PATH": self.files.path}
        said = [f"{name} {text(str(value))}" for name, value in options.items()]
        try:
            root.execute(f"attach {text(path)} as {CATALOG} ({', '.join([*said, 'DATA_INLINING_ROW_LIMIT 0', *more])})")
            root.execute("set TimeZone = 'UTC'")
        except duckdb.Error as fault:
            raise self._cannot_attach(fault) from None

    def _cannot_attach(self, fault: duckdb.Error) -> ConnectorError:
        if isinstance(fault, duckdb.IOException) or is_conflict(fault):
            return self.translated(fault, "warehouse")
        return RejectedError(
            f"{self.url} cannot be opened: {excerpt(plainly(fault), 300)}",
            where="warehouse",
            next_step="check WAREHOUSE, and that this user may read and write the catalogue.",
        )

    def _cursor(self, root: Connection) -> Connection:
        cursor = root.cursor()
        try:
            cursor.execute(f"use {CATALOG}; set TimeZone = 'UTC'")
        except duckdb.Error as fault:
            raise self._cannot_attach(fault) from None
        return cursor

    def _set_options(self, opened: _Open, cursor: Connection) -> None:
        if opened.has_options:
            return
        there = dict(cursor.execute(f"select option_name, value from ducklake_options('{CATALOG}')").fetchall())
        for name, value in OPTIONS.items():
            if name not in there:
                cursor.execute(f"call {CATALOG}.set_option('{name}', '{value}')")
        opened.has_options = True

    @contextlib.contextmanager
    def _older(self, at: At, where: str) -> Iterator[Connection]:
        """The lake as it was, in a DuckDB of its own: views name the catalogue, and must find the older one there."""
        if not self._open():
            raise RejectedError(
                f"{self.url} does not exist yet", where=where, next_step="land a partition first, or leave `at` out."
            )
        which = f"SNAPSHOT_VERSION {at}"
        if isinstance(at, datetime):
            which = f"SNAPSHOT_TIME {text(moment(at).isoformat())}"
        with contextlib.closing(self._new_root()) as root:
            try:
                self._attach(root, which)
                (number,) = root.execute(f"from {CATALOG}.current_snapshot()").fetchone() or (None,)
                yield self._cursor(root)
            except RejectedError as error:
                if "No snapshot found" not in error.what:
                    raise
                raise self._no_snapshot(at, where) from None
            except duckdb.InvalidInputException as fault:  # it was removed while it was read
                if "No snapshot found" not in str(fault):
                    raise
                raise self._no_snapshot(at, where) from None
        # A SQLite catalogue lets rows vanish from under a reader, without an error, when their snapshot is expired.
        with self.read(lock_wait=0.0, where=where) as now:
            there = f"select 1 from ducklake_snapshots('{CATALOG}') where snapshot_id = {number}"
            if not now.execute(there).fetchone():
                raise self._no_snapshot(at, where)

    def _no_snapshot(self, at: At, where: str) -> RejectedError:
        return RejectedError(
            f"{self.url} holds no snapshot of {at}",
            where=where,
            next_step="maintenance removes older ones; name a later moment, or leave `at` out.",
        )


def _set(cursor: Connection, settings: Mapping[str, str]) -> dict[str, str]:
    """Change settings of the process's DuckDB; the values they had."""
    before = {}
    for name, value in settings.items():
        row = cursor.execute(f"select current_setting('{name}')").fetchone()
        # Refused while a reader of this process holds more memory than that: then there is enough of it.
        with contextlib.suppress(duckdb.OutOfMemoryException):
            cursor.execute(f"set global {name} = '{value}'")
        before[name] = str(row[0]) if row else value
    return before


def close_all() -> None:
    """Close every lake that this process has open."""
    with _OPEN_GUARD:
        for opened in _OPEN.values():
            opened.close()
        for root in _READY.values():
            root.close()
        _OPEN.clear()
        _READY.clear()
