"""Opens the warehouse late, closes it early, and waits its turn.

A DuckDB file belongs to one writing process at a time, and while one writes nobody else can even read. So nothing in
this project holds a connection while it waits for a vendor, and whoever finds the file taken stands in line and tries
again, with jitter, until its patience ends. Nothing above this room may assume a file.
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
from connector.warehouse.queue import Turn

# Names for what other folders handle: only this folder and `landing` import DuckDB itself.
Connection = duckdb.DuckDBPyConnection
MissingTableError = duckdb.CatalogException

LOCK_WAIT = 300.0
# Seconds in which an empty file may be a database that another program is just making.
BIRTH = 5.0
# Seconds between two looks at a file that is taken, at most.
LONGEST_PAUSE = 0.1
# Loading needs one thread, and memory for a day of 100,000 rows; what is more is spilled to beside the file.
MEMORY_MB = 144
WRITE_SETTINGS = {"threads": "1", "memory_limit": f"{MEMORY_MB}MB"}

_NOT_HERE = re.compile(r"^(md|motherduck|ducklake|s3|gs|az|https?|postgres(ql)?):", re.IGNORECASE)
_HOLDER = re.compile(r"PID (\d+)")
# What DuckDB says where another connection of this process has the file.
_TAKEN_HERE = ("different configuration", "Unique file handle conflict")

# What DuckDB calls its own catalogs and schemas, and what this project's are called; the vendors' come with each table.
_TAKEN = ("main", "temp", "system", "information_schema", "pg_catalog", "connector", "staging", "intermediate", "marts")

# Threads of one process share one DuckDB instance, and DuckDB refuses two configurations of it: writers take turns.
_TURNS: dict[str, threading.Lock] = {}
_TURNS_GUARD = threading.Lock()


class _Here(threading.local):
    """What this thread reads: whoever waits for it to end cannot be let go first by it."""

    def __init__(self) -> None:
        self.reading: list[Path] = []


_HERE = _Here()


class Warehouse:
    """One warehouse, named by what the WAREHOUSE variable holds. The only place that knows what kind it is.

    Args:
        url: a file path. ``md:`` and ``ducklake:`` are understood and refused until they are supported.
        lock_wait: seconds to wait for other processes before giving up.

    Raises:
        SettingsError: the name is of a kind that this version cannot open, or that of a schema.
    """

    def __init__(self, url: str | Path, *, lock_wait: float = LOCK_WAIT) -> None:
        self.name = str(url)
        if _NOT_HERE.match(self.name):
            raise SettingsError(
                "WAREHOUSE",
                f"is {excerpt(self.name.split('?')[0], 60)!r}, and this version writes only DuckDB files",
                next_step="set WAREHOUSE to a file path such as warehouse.duckdb.",
            )
        try:
            # Absolute: DuckDB reads the beginning of a name such as sqlite:x as what opens it.
            self._path, self._lock_wait = Path(self.name).expanduser().absolute(), lock_wait
        except RuntimeError:
            raise SettingsError(
                "WAREHOUSE", "names a user that does not exist", next_step="write WAREHOUSE as a full path."
            ) from None
        if self.name == ":memory:":
            raise SettingsError(
                "WAREHOUSE",
                "is ':memory:', where nothing would be left when the run ends",
                next_step="set WAREHOUSE to a file path such as warehouse.duckdb.",
            )
        key = str(self._path)
        with _TURNS_GUARD:
            self._turn = _TURNS.setdefault(key, threading.Lock())
        for schema in _TAKEN:
            self.must_not_be_named(schema)

    def __repr__(self) -> str:
        return f"Warehouse({self.name!r})"

    @property
    def catalog(self) -> str:
        """What DuckDB calls the file: its name up to the first dot."""
        return self._path.name.lstrip(".").partition(".")[0]

    def must_not_be_named(self, schema: str) -> None:
        """Refuse a file whose name is that of a schema in it: DuckDB calls a file's catalog after the file, so that
        ``shop.orders`` in ``shop.duckdb`` means two things, here and in everybody's queries.

        Raises:
            SettingsError: it is, whatever the case of its letters.
        """
        if self.catalog.lower() == schema.lower():
            raise SettingsError(
                "WAREHOUSE",
                f"is {excerpt(self._path.name, 60)!r}, and DuckDB cannot tell the file from the schema {schema} in it",
                next_step="name the file otherwise, such as warehouse.duckdb; one that exists can simply be renamed.",
            )

    @contextlib.contextmanager
    def write(self, *, where: str = "warehouse") -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may write, in UTC; closed when the block ends. Waits for others up to ``lock_wait``.

        Args:
            where: for messages, what is to be written, such as a partition.

        Raises:
            BusyError: somebody else held the file all the time; the message names the process.
            RejectedError: the file cannot be written here, or was written by a newer DuckDB.
            TransientError: the disk is full; errors in the block's own statements stay what they are.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise self._cannot_open(fault, where) from None
        until = time.monotonic() + self._lock_wait
        if not self._turn.acquire(timeout=self._lock_wait):
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
            self._turn.release()

    @contextlib.contextmanager
    def read(self, *, where: str = "warehouse") -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that only reads, in UTC; closed when the block ends. Many may read at once.

        Keep the block short: while anybody reads, nobody can land.
        """
        until = time.monotonic() + self._lock_wait
        connection = self._open(read_only=True, until=until, where=where)
        _HERE.reading.append(self._path)
        try:
            yield connection
        finally:
            connection.close()
            with contextlib.suppress(ValueError):  # ended by another thread than began it
                _HERE.reading.remove(self._path)

    def exists(self) -> bool:
        """Whether anything was ever written to it."""
        return self._path.exists()

    def sweep(self) -> None:
        """Remove what processes left that died while they made the file."""
        for left in self._path.parent.glob(f".{glob.escape(self._path.name)}.*.new"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > 60:
                    left.unlink()

    def _open(self, *, read_only: bool, until: float, where: str) -> duckdb.DuckDBPyConnection:
        pause, born_by, said = 0.01, min(time.monotonic() + BIRTH, until), ""
        with Turn(self._path) as turn:
            while True:
                late = time.monotonic() >= until
                if late or turn.comes() or (read_only and self._path in _HERE.reading):
                    met = self._state()
                    try:
                        return self._connect(read_only=read_only)
                    except (duckdb.Error, OSError) as fault:
                        # Its class differs between DuckDB versions; what it says does not. And what was empty, or
                        # another file, a moment ago may be a database by now: it is asked again.
                        unborn = (self._is_empty() or self._state() != met) and time.monotonic() < born_by
                        if not unborn and not _is_taken(fault):
                            raise self._cannot_open(fault, where) from None
                        said = str(fault)
                    if late:
                        raise self._busy(_holder(said), where) from None
                    turn.stand()
                time.sleep(random.uniform(0.5, 1.0) * pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)

    def _connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        if not read_only and not self._path.exists():
            self._make()
        connection = duckdb.connect(self._path, read_only=read_only)
        connection.execute("set TimeZone = 'UTC'")
        return connection

    def _make(self) -> None:
        """The file, whole from its first moment.

        DuckDB makes an empty file, locks it and then writes its header: whoever looks in between finds no database,
        and a process killed there leaves a file that nothing opens ever again.
        """
        self.sweep()
        new = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex[:12]}.new")
        try:
            duckdb.connect(new).close()
            try:
                os.link(new, self._path)
            except FileExistsError:  # somebody else was faster
                pass
            except OSError:  # no links on this file system
                if not self._path.exists():
                    new.rename(self._path)
        finally:
            new.unlink(missing_ok=True)

    def _state(self) -> tuple[int, int, int] | None:
        """Which file lies there, its bytes and when they changed; None where there is none."""
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
                next_step="remove it, unless somebody is making it just now; the next landing makes the database.",
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
    """While anybody writes, files made by this process are its user's alone.

    DuckDB makes its log and its spill files by itself, with rows in them, and asks for no mode.
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


def _is_taken(fault: Exception) -> bool:
    """Another process holds the lock, or another thread of ours has the file open the other way."""
    text = str(fault)
    return (
        "lock on file" in text or "being used by another process" in text or any(words in text for words in _TAKEN_HERE)
    )


def _holder(said: str) -> str:
    if any(words in said for words in _TAKEN_HERE):
        return "another connection of this process"
    found = _HOLDER.search(said)
    return f"process {found[1]}" if found else "another process"


def _is_full(fault: duckdb.Error) -> bool:
    """The disk or the memory has no room; a commit that cannot be written says so as an error of the transaction."""
    text = str(fault)
    return isinstance(fault, duckdb.OutOfMemoryException) or any(
        words in text for words in ("No space left", "File too large", "Disk quota", "Could not write file")
    )


class UnreadError(ContractError):
    """DuckDB refused a file while it was landed. `landing` then reads the file itself, to land it or to say why not."""


def translated(fault: duckdb.Error, where: str) -> ConnectorError:
    """What DuckDB said while rows were written, as one of ours; the transaction is rolled back."""
    said = excerpt(_plainly(fault), 300)
    if isinstance(fault, duckdb.IOException) or _is_full(fault):
        return TransientError(
            f"the warehouse could not be written: {said}",
            where=where,
            next_step="free space on the warehouse's disk, then rerun; the old rows are still in place.",
        )
    if isinstance(fault, duckdb.InvalidInputException | duckdb.ConversionException):
        return UnreadError(
            f"the rows could not be read: {said}",
            where=where,
            next_step="nothing was landed; rerun once; if it repeats, report this message.",
        )
    if isinstance(fault, duckdb.TransactionException):
        return TransientError(
            f"another landing changed the table at the same time: {said}", where=where, next_step="rerun the partition."
        )
    return RejectedError(
        f"the warehouse refused the landing: {said}", where=where, next_step="report it with this message."
    )


def _plainly(fault: duckdb.Error) -> str:
    """DuckDB's words without the statement, its own settings as advice, and paths of temporary files."""
    said = _ADVICE.split(str(fault), maxsplit=1)[0]
    return re.sub(r'"[^"\n]*/([^"/\n]+)"', r'"\1"', said)


_ADVICE = re.compile(
    r"\n+LINE \d+:|\n\s*Original Line:|\n\s*Possible |\nTry setting|\n\s*file = |\n\n| Try auto-detecting"
)
