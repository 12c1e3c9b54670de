"""Errors of DuckDB as errors of ours: what was in the way, and what to do next. Decides no policy but one: conflicts.

A writer that does not take our lock may change a table while we do. DuckDB then refuses one of both; ours tries again.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import duckdb

from connector.errors import ConnectorError, ContractError, RejectedError, TransientError
from connector.redaction import excerpt

T = TypeVar("T")

# How often a write that met a conflict is tried in all, and the longest pause between two tries, in seconds.
CONFLICT_ATTEMPTS = 8
LONGEST_CONFLICT_PAUSE = 4.0

_ADVICE = re.compile(
    r"\n+LINE \d+:|\n\s*Original Line:|\n\s*Possible |\nTry setting|\n\s*file = |\n\n| Try auto-detecting"
)


_FULL = ("No space left", "File too large", "Disk quota", "Could not write file", "disk is full", "disk I/O error")


class UnreadError(ContractError):
    """DuckDB refused a file while it was landed. `landing` then reads the file itself, to land it or to say why not."""


class ConflictError(TransientError):
    """Another writer changed the table at the same time; nothing of ours was written."""


def retry_conflicts(attempt: Callable[[], T]) -> T:
    """What ``attempt`` returns; it is called again, after a pause, while it meets conflicts.

    Raises:
        ConflictError: the last of ``CONFLICT_ATTEMPTS`` met one, too.
    """
    for number in range(1, CONFLICT_ATTEMPTS):
        try:
            return attempt()
        except ConflictError:
            time.sleep(random.uniform(0.5, 1.0) * min(0.05 * 2**number, LONGEST_CONFLICT_PAUSE))
    return attempt()


def is_full(fault: duckdb.Error) -> bool:
    """Whether the disk or the memory is full. For a failed commit DuckDB reports this as a transaction error.

    A SQLite catalogue says "disk I/O error" if its log cannot grow, in an error of no class of its own.
    """
    return isinstance(fault, duckdb.OutOfMemoryException) or any(words in str(fault) for words in _FULL)


def is_conflict(fault: duckdb.Error) -> bool:
    """Whether another writer was in the way. A SQLite catalogue reports this as an error of its own."""
    return isinstance(fault, duckdb.TransactionException) or "database is locked" in str(fault)


def translated(fault: duckdb.Error, where: str) -> ConnectorError:
    """An error of DuckDB while rows were written, as one of ours; the transaction is rolled back."""
    message = excerpt(plainly(fault), 300)
    if isinstance(fault, duckdb.IOException) or is_full(fault):
        return TransientError(
            f"the warehouse could not be written: {message}",
            where=where,
            next_step="free space on the warehouse's disk, then rerun; the old rows are still in place.",
        )
    if isinstance(fault, duckdb.InvalidInputException | duckdb.ConversionException):
        return UnreadError(
            f"the rows could not be read: {message}",
            where=where,
            next_step="nothing was landed; rerun once; if it repeats, report this message.",
        )
    if is_conflict(fault):
        return ConflictError(
            f"another landing changed the table at the same time: {message}",
            where=where,
            next_step="rerun the partition.",
        )
    return RejectedError(
        f"the warehouse refused the landing: {message}", where=where, next_step="report it with this message."
    )


@contextmanager
def named(where: str) -> Iterator[None]:
    """Errors about the warehouse as a whole say for what it was opened."""
    try:
        yield
    except ConnectorError as error:
        if error.where != "warehouse":
            raise
        raise type(error)(error.what, where=where, next_step=error.next_step) from None


def plainly(fault: duckdb.Error) -> str:
    """DuckDB's words without the statement, its own settings as advice, and paths of temporary files."""
    said = _ADVICE.split(str(fault), maxsplit=1)[0]
    return re.sub(r'"[^"\n]*/([^"/\n]+)"', r'"\1"', said)
