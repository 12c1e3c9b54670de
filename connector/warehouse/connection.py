"""Opens the warehouse late, closes it early, and queues for it.

A DuckDB file belongs to one writing process at a time. While one process writes, no other can even read. So this
project never holds a connection while it waits for a vendor. A process that finds the file in use queues for it and
tries again, with jitter, until its patience ends. No module outside this folder may assume that the warehouse is a
file.
"""

import contextlib
import glob
import os
import random
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb

from connector.errors import BusyError, ConnectorError, ContractError, RejectedError, SettingsError, TransientError
from connector.redaction import excerpt
from connector.warehouse.queue import QueuePlace

# Names for other folders: only this folder and `landing` import DuckDB itself.
Connection = duckdb.DuckDBPyConnection
MissingTableError = duckdb.CatalogException

LOCK_WAIT = 300.0
# Seconds in which an empty file may be a database that another program is still creating.
CREATION_SECONDS = 5.0
# Longest pause between two attempts to open a file that is in use, in seconds.
LONGEST_PAUSE = 0.1
# Loading needs one thread, and memory for a day of 100,000 rows. DuckDB spills larger days to disk beside the file.
MEMORY_MB = 144
WRITE_SETTINGS = {"threads": "1", "memory_limit": f"{MEMORY_MB}MB"}

_NOT_A_FILE = re.compile(r"^(md|motherduck|ducklake|s3|gs|az|https?|postgres(ql)?):", re.IGNORECASE)
_HOLDER = re.compile(r"PID (\d+)")
# DuckDB's messages if another connection of this process has the file open.
_OPEN_IN_THIS_PROCESS = ("different configuration", "Unique file handle conflict")

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

# Threads of one process share one DuckDB instance, and DuckDB refuses two configurations of it: one lock a file.
_WRITE_LOCKS: dict[str, threading.Lock] = {}
_WRITE_LOCKS_GUARD = threading.Lock()


class _ThreadReads(threading.local):
    """Files that this thread has open for reading. It must not queue behind a process that waits for it to end."""

    def __init__(self) -> None:
        self.paths: list[Path] = []


_READS = _ThreadReads()


class Warehouse:
    """One warehouse, named by the value of the WAREHOUSE variable. Only this class knows what kind it is.

    Args:
        url: a file path. ``md:`` and ``ducklake:`` are recognized and refused until they are supported.
        lock_wait: seconds to wait for other processes.

    Raises:
        SettingsError: this version cannot open a warehouse of this kind, or the file has the name of a schema.
    """

    def __init__(self, url: str | Path, *, lock_wait: float = LOCK_WAIT) -> None:
        self.name = str(url)
        if _NOT_A_FILE.match(self.name):
            raise SettingsError(
                "WAREHOUSE",
                f"is {excerpt(self.name.split('?')[0], 60)!r}, and this version writes only DuckDB files",
                next_step="set WAREHOUSE to a file path such as warehouse.duckdb.",
            )
        try:
            # Absolute, because DuckDB reads the prefix of a name such as sqlite:x as the extension that opens it.
            self._path, self._lock_wait = Path(self.name).expanduser().absolute(), lock_wait
        except RuntimeError:
            raise SettingsError(
                "WAREHOUSE", "names a user that does not exist", next_step="write WAREHOUSE as a full path."
            ) from None
        if self.name == ":memory:":
            raise SettingsError(
                "WAREHOUSE",
                "is ':memory:', which loses all rows when the run ends",
                next_step="set WAREHOUSE to a file path such as warehouse.duckdb.",
            )
        with _WRITE_LOCKS_GUARD:
            self._write_lock = _WRITE_LOCKS.setdefault(str(self._path), threading.Lock())
        for schema in _RESERVED_NAMES:
            self.must_not_be_named(schema)

    def __repr__(self) -> str:
        return f"Warehouse({self.name!r})"

    @property
    def catalog(self) -> str:
        """DuckDB's name for the file: the file's name up to the first dot."""
        return self._path.name.lstrip(".").partition(".")[0]

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
                f"is {excerpt(self._path.name, 60)!r}, and DuckDB cannot tell the file from the schema {schema} in it",
                next_step="use another file name, such as warehouse.duckdb; an existing file can simply be renamed.",
            )

    @contextlib.contextmanager
    def write(self, *, where: str = "warehouse") -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may write, in UTC; closed when the block ends. Waits up to ``lock_wait`` seconds.

        Args:
            where: what will be written, such as a partition; for messages.

        Raises:
            BusyError: another process kept the file locked; the message names it.
            RejectedError: the file cannot be written here, or was written by a newer DuckDB.
            TransientError: the disk is full. Other errors in the block's own statements are not translated.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise self._cannot_open(fault, where) from None
        until = time.monotonic() + self._lock_wait
        if not self._write_lock.acquire(timeout=self._lock_wait):
            raise self._busy("another thread of this process", where)
        try:
            with _private_files():
                connection = self._open(read_only=False, until=until, where=where)
                try:
                    for name, value in WRITE_SETTINGS.items():
                        connection.execute(f"set {name} = '{value}'")
                    yield connection
                except duckdb.Error as fault:
                    if _is_full(fault):
                        raise translated(fault, where) from None
                    raise
                finally:
                    connection.close()
        finally:
            self._write_lock.release()

    @contextlib.contextmanager
    def read(self, *, where: str = "warehouse") -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that only reads, in UTC; closed when the block ends. Many may read at once.

        Keep the block short: no landing can write while a reader has the file open.
        """
        until = time.monotonic() + self._lock_wait
        connection = self._open(read_only=True, until=until, where=where)
        _READS.paths.append(self._path)
        try:
            yield connection
        finally:
            connection.close()
            with contextlib.suppress(ValueError):  # the block was ended by another thread than the one that began it
                _READS.paths.remove(self._path)

    def exists(self) -> bool:
        """Whether the warehouse was ever written to."""
        return self._path.exists()

    def sweep(self) -> None:
        """Remove unfinished files of processes that died while they created the warehouse."""
        for left in self._path.parent.glob(f".{glob.escape(self._path.name)}.*.new"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > 60:
                    left.unlink()

    def _open(self, *, read_only: bool, until: float, where: str) -> duckdb.DuckDBPyConnection:
        pause, created_by, message = 0.01, min(time.monotonic() + CREATION_SECONDS, until), ""
        with QueuePlace(self._path) as place:
            while True:
                late = time.monotonic() >= until
                if late or place.may_try() or (read_only and self._path in _READS.paths):
                    before = self._state()
                    try:
                        return self._connect(read_only=read_only)
                    except (duckdb.Error, OSError) as fault:
                        # The error's class differs between DuckDB versions; its message does not. A file that was
                        # empty, or another file, a moment ago may be a database by now: try again.
                        in_creation = (self._is_empty() or self._state() != before) and time.monotonic() < created_by
                        if not in_creation and not _is_in_use(fault):
                            raise self._cannot_open(fault, where) from None
                        message = str(fault)
                    if late:
                        raise self._busy(_holder(message), where) from None
                    place.take_first()
                time.sleep(random.uniform(0.5, 1.0) * pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)

    def _connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        if not read_only and not self._path.exists():
            self._create()
        connection = duckdb.connect(self._path, read_only=read_only)
        connection.execute("set TimeZone = 'UTC'")
        return connection

    def _create(self) -> None:
        """Create the file so that other processes never see it unfinished.

        DuckDB creates an empty file, locks it and then writes its header. A process that looks in between finds no
        database, and a process killed there leaves a file that can never be opened again.
        """
        self.sweep()
        new = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex[:12]}.new")
        try:
            duckdb.connect(new).close()
            try:
                os.link(new, self._path)
            except FileExistsError:  # another process was faster
                pass
            except OSError:  # a file system without links
                if not self._path.exists():
                    new.rename(self._path)
        finally:
            new.unlink(missing_ok=True)

    def _state(self) -> tuple[int, int, int] | None:
        """The file's inode, its size in bytes and the time of its last change; None if there is no file."""
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _is_empty(self) -> bool:
        try:
            return self._path.stat().st_size == 0
        except OSError:
            return False

    def _busy(self, holder: str, where: str) -> BusyError:
        return BusyError(
            f"{holder} has kept the warehouse {self.name} locked for {self._lock_wait:.0f} s",
            where=where,
            next_step="close what holds the file open (a database tool, a notebook, a long query), then rerun.",
        )

    def _cannot_open(self, fault: Exception, where: str) -> ConnectorError:
        text = excerpt(str(fault), 300)
        if isinstance(fault, duckdb.Error) and _is_full(fault):
            return translated(fault, where)
        if "does not exist" in text:
            return RejectedError(
                f"{self.name} does not exist yet",
                where=where,
                next_step="land a partition first, or point WAREHOUSE to the file that holds the data.",
            )
        if self._is_empty():
            return RejectedError(
                f"{self.name} is an empty file",
                where=where,
                next_step="remove it, unless another program is creating it now; the next landing creates a database.",
            )
        if "version number" in text or "newer version" in text:
            return RejectedError(
                f"{self.name} was written by another DuckDB version: {text}",
                where=where,
                next_step=f"this environment has DuckDB {duckdb.__version__}; install the version that wrote the file.",
            )
        return RejectedError(
            f"{self.name} cannot be opened: {text}",
            where=where,
            next_step="check that WAREHOUSE is a DuckDB file in a folder that exists and may be written.",
        )


_WRITERS, _MASK, _MASK_GUARD = 0, 0, threading.Lock()


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    """Files that this process creates meanwhile are readable by its user only.

    DuckDB creates its log and its spill files itself. They hold rows, and it takes no file mode as a setting.
    """
    global _WRITERS, _MASK
    with _MASK_GUARD:
        if _WRITERS == 0:
            _MASK = os.umask(0o077)
        _WRITERS += 1
    try:
        yield
    finally:
        with _MASK_GUARD:
            _WRITERS -= 1
            if _WRITERS == 0:
                os.umask(_MASK)


def _is_in_use(fault: Exception) -> bool:
    """Whether another process holds the lock, or another thread of ours has the file open in the other mode."""
    text = str(fault)
    return any(words in text for words in ("lock on file", "being used by another process", *_OPEN_IN_THIS_PROCESS))


def _holder(message: str) -> str:
    if any(words in message for words in _OPEN_IN_THIS_PROCESS):
        return "another connection of this process"
    found = _HOLDER.search(message)
    return f"process {found[1]}" if found else "another process"


def _is_full(fault: duckdb.Error) -> bool:
    """Whether the disk or the memory is full. For a failed commit DuckDB reports this as a transaction error."""
    text = str(fault)
    return isinstance(fault, duckdb.OutOfMemoryException) or any(
        words in text for words in ("No space left", "File too large", "Disk quota", "Could not write file")
    )


def translated(fault: duckdb.Error, where: str) -> ConnectorError:
    """An error of DuckDB while rows were written, as one of ours; the transaction is rolled back."""
    message = excerpt(str(fault), 300)
    if isinstance(fault, duckdb.IOException) or _is_full(fault):
        return TransientError(
            f"the warehouse could not be written: {message}",
            where=where,
            next_step="free space on the warehouse's disk, then rerun; the old rows are still in place.",
        )
    if isinstance(fault, duckdb.InvalidInputException | duckdb.ConversionException):
        return ContractError(
            f"a value does not fit its column: {message}",
            where=where,
            next_step="nothing was landed; report the message: the catalogue needs another type for this column.",
        )
    if isinstance(fault, duckdb.TransactionException):
        return TransientError(
            f"another landing changed the table at the same time: {message}",
            where=where,
            next_step="rerun the partition.",
        )
    return RejectedError(
        f"the warehouse refused the landing: {message}", where=where, next_step="report it with this message."
    )
