"""A warehouse in one DuckDB file: opened late, closed early, and queued for.

A DuckDB file belongs to one writing process at a time. While one process writes, no other can even read. So this
project never holds a connection while it waits for a vendor. A process that finds the file in use queues for it and
tries again, with jitter, until its patience ends.
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

from connector.errors import BusyError, ConnectorError, RejectedError, SettingsError
from connector.redaction import excerpt
from connector.warehouse.faults import is_full
from connector.warehouse.kind import WRITE_SETTINGS, At, Connection, Kind, Remark, Writing
from connector.warehouse.private_files import private_files
from connector.warehouse.queue import QueuePlace

# Seconds in which an empty file may be a database that another program is still creating.
CREATION_SECONDS = 5.0
# Longest pause between two attempts to open a file that is in use, in seconds.
LONGEST_PAUSE = 0.1

_HOLDER = re.compile(r"PID (\d+)")
# DuckDB's messages if another connection of this process has the file open.
_OPEN_IN_THIS_PROCESS = ("different configuration", "Unique file handle conflict")

# Threads of one process share one DuckDB instance, and DuckDB refuses two configurations of it: one lock a file.
_WRITE_LOCKS: dict[str, threading.Lock] = {}
_WRITE_LOCKS_GUARD = threading.Lock()


class _ThreadReads(threading.local):
    """Files that this thread has open for reading. It must not queue behind a process that waits for it to end."""

    def __init__(self) -> None:
        self.paths: list[Path] = []


_READS = _ThreadReads()


class File(Kind):
    """One DuckDB file.

    Args:
        name: a path, as WAREHOUSE has it.

    Raises:
        SettingsError: nothing can be kept there.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        try:
            # Absolute, because DuckDB reads the prefix of a name such as sqlite:x as the extension that opens it.
            self._path = Path(name).expanduser().absolute()
        except RuntimeError:
            raise SettingsError(
                "WAREHOUSE", "names a user that does not exist", next_step="write WAREHOUSE as a full path."
            ) from None
        if name == ":memory:":
            raise SettingsError(
                "WAREHOUSE",
                "is ':memory:', which loses all rows when the run ends",
                next_step="set WAREHOUSE to a file path such as warehouse.duckdb.",
            )
        with _WRITE_LOCKS_GUARD:
            self._write_lock = _WRITE_LOCKS.setdefault(str(self._path), threading.Lock())
        self.url, self.place = str(self._path), self._path.parent
        self.environment = {"WAREHOUSE": self.url}
        # The file's name up to the first dot.
        self.catalog = self._path.name.lstrip(".").partition(".")[0]

    @property
    def name(self) -> str:
        return self._name

    @property
    def uri(self) -> str:
        return self._path.as_uri()

    def exists(self) -> bool:
        return self._path.exists()

    @contextlib.contextmanager
    def write(self, *, lock_wait: float, where: str) -> Iterator[Writing]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise self._cannot_open(fault, where) from None
        if not self._write_lock.acquire(timeout=lock_wait):
            raise self._busy("another thread of this process", lock_wait, where)
        try:
            with private_files():
                connection = self._open(read_only=False, lock_wait=lock_wait, where=where)
                try:
                    for name, value in WRITE_SETTINGS.items():
                        connection.execute(f"set {name} = '{value}'")
                    yield Writing(connection)
                except duckdb.Error as fault:
                    if is_full(fault):
                        raise self.translated(fault, where) from None
                    raise
                finally:
                    connection.close()
        finally:
            self._write_lock.release()

    @contextlib.contextmanager
    def read(self, *, lock_wait: float, where: str, at: At | None = None) -> Iterator[Connection]:
        if at is not None:
            raise RejectedError(
                f"{self.name} is a DuckDB file, which keeps no older snapshot",
                where=where,
                next_step="leave `at` out; a lake keeps snapshots, see docs/warehouse.md.",
            )
        connection = self._open(read_only=True, lock_wait=lock_wait, where=where)
        _READS.paths.append(self._path)
        try:
            yield connection
        finally:
            connection.close()
            with contextlib.suppress(ValueError):  # the block was ended by another thread than the one that began it
                _READS.paths.remove(self._path)

    def sweep(self) -> None:
        """Remove unfinished files of processes that died while they created the warehouse."""
        for left in self._path.parent.glob(f".{glob.escape(self._path.name)}.*.new"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > 60:
                    left.unlink()

    def remarks(self) -> Iterator[Remark]:
        path, folder = self._path, self._path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not self.exists():
            if os.access(folder, os.W_OK | os.X_OK):
                yield Remark("ok", f"{self.name} does not exist yet; the first landing makes it.")
            else:
                yield Remark(
                    "fail", f"{folder} is not writable.", "make it writable, or point WAREHOUSE somewhere else."
                )
            return
        if not os.access(path, os.W_OK):
            todo = "make the file writable for this user, or point WAREHOUSE elsewhere."
            yield Remark("fail", f"{self.name} is read-only.", todo)
            return
        if not os.access(path.parent, os.W_OK):
            todo = "make it writable: DuckDB keeps its log beside the file."
            yield Remark("fail", f"the folder of {self.name} is read-only.", todo)
            return
        try:
            with self.read(lock_wait=2.0, where="warehouse") as connection:
                found = connection.execute("select count(*), version() from duckdb_tables()").fetchone()
        except BusyError as error:
            todo = "if that is a run, all is well; else close the program that has it open."
            yield Remark("warn", error.what + ".", todo)
            return
        except ConnectorError as error:
            yield Remark("fail", error.what.rstrip(".") + ".", error.next_step)
            return
        if path.stat().st_mode & 0o077:
            todo = "run: chmod 600 on it, if that is not wanted."
            yield Remark("warn", f"others on this machine can read {self.name}.", todo)
        rows, version = found or (0, "")
        size = path.stat().st_size / 2**20
        yield Remark("ok", f"{self.name} opens: {rows} tables, {size:,.0f} MiB, DuckDB {version}.")

    def _open(self, *, read_only: bool, lock_wait: float, where: str) -> Connection:
        until = time.monotonic() + lock_wait
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
                        raise self._busy(_holder(message), lock_wait, where) from None
                    place.take_first()
                time.sleep(random.uniform(0.5, 1.0) * pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)

    def _connect(self, *, read_only: bool) -> Connection:
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

    def _busy(self, holder: str, lock_wait: float, where: str) -> BusyError:
        return BusyError(
            f"{holder} has kept the warehouse {self.name} locked for {lock_wait:.0f} s",
            where=where,
            next_step="close what holds the file open (a database tool, a notebook, a long query), then rerun.",
        )

    def _cannot_open(self, fault: Exception, where: str) -> ConnectorError:
        text = excerpt(str(fault), 300)
        if isinstance(fault, duckdb.Error) and is_full(fault):
            return self.translated(fault, where)
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


def _is_in_use(fault: Exception) -> bool:
    """Whether another process holds the lock, or another thread of ours has the file open in the other mode."""
    text = str(fault)
    return any(words in text for words in ("lock on file", "being used by another process", *_OPEN_IN_THIS_PROCESS))


def _holder(message: str) -> str:
    if any(words in message for words in _OPEN_IN_THIS_PROCESS):
        return "another connection of this process"
    found = _HOLDER.search(message)
    return f"process {found[1]}" if found else "another process"
