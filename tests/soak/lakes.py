"""The soak with a lake in place of the file: how one is copied, read, taken, filled up and made unreadable.

``python -m tests.soak --warehouse sqlite`` (or ``postgres``) sets WAREHOUSE_KIND for its processes; in each of them
every path of a file then stands for a lake, as in ``tests/kinds.py``.
"""

import contextlib
import os
import resource
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb

from connector import Warehouse
from tests.kinds import KIND, close_lakes, lake_for, schema_for

# libpq's keywords of the server that the soak started.
SERVER = "_SOAK_POSTGRES"
# One stream for each way of landing: a paged day, a report, samples that add up, an export fetched and landed, a list.
STREAMS = (
    "openpanel events",
    "openpanel insights_metrics",
    "openpanel insights_live",
    "userpilot download",
    "userpilot land",
    "userpilot lookup, paged",
)
# What a lake cannot meet: its catalogue in PostgreSQL is no file that could be another one.
UNKNOWN = {"postgres": {"other file"}}.get(KIND, set())
IS_LAKE = KIND != "file"


def install() -> None:
    """From now on a path of a file is a lake in this process."""
    if not IS_LAKE:
        return
    from connector.warehouse import connection
    from connector.warehouse.file import File

    meant = connection.kind_of

    def kind_of(url: str) -> object:
        kind = meant(url)
        return lake_for(kind.url, os.environ.get(SERVER, "")) if isinstance(kind, File) else kind

    connection.kind_of = kind_of  # type: ignore[assignment]


@contextmanager
def reading(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A reader of the warehouse that a path stands for."""
    if IS_LAKE:
        with Warehouse(file).read() as connection:
            yield connection
        return
    with duckdb.connect(file, read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def copy(file: Path, other: Path) -> None:
    """The same warehouse elsewhere; no process may write it meanwhile."""
    if KIND != "postgres":
        close_lakes()  # which brings SQLite's log into its file
        shutil.copy(file, other)
    if not IS_LAKE:
        return
    shutil.copytree(_files(file), _files(other))
    if KIND == "postgres":
        _copy_schema(schema_for(str(file)), schema_for(str(other)))
    told = str(_files(file))
    with _catalogue(other) as run:
        run(
            "update ducklake_metadata set value = replace(value, ?, ?) where key = 'data_path'",
            told,
            str(_files(other)),
        )


def remove(file: Path) -> None:
    """A lake that no one needs any more; files of it go with their folder."""
    if not IS_LAKE:
        return
    close_lakes()
    if KIND == "postgres":
        with _connected() as connection:
            connection.execute(f"drop schema if exists {schema_for(str(file))} cascade")


def _files(file: Path) -> Path:
    return Path(f"{file}.files")


def _copy_schema(source: str, target: str) -> None:
    with _connected() as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = %s", [source]).fetchall()
        connection.execute(f"create schema {target}")
        for (table,) in tables:
            connection.execute(f"create table {target}.{table} (like {source}.{table} including all)")
            connection.execute(f"insert into {target}.{table} select * from {source}.{table}")


@contextmanager
def _connected() -> Iterator[Any]:
    import psycopg

    from tests.postgres import PASSWORD

    with psycopg.connect(os.environ[SERVER], password=PASSWORD, autocommit=True) as connection:
        yield connection


@contextmanager
def _catalogue(file: Path) -> Iterator[Any]:
    """Runs statements in a lake's catalogue, with ``?`` for values; no process may have it attached."""
    if KIND == "postgres":
        with _connected() as connection:
            connection.execute(f"set search_path = {schema_for(str(file))}")
            yield lambda sql, *values: connection.execute(sql.replace("?", "%s"), values)
        return
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as catalogue:
        yield lambda sql, *values: catalogue.execute(sql, values)


# ---------- the machine


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk looks like to a writer, without needing one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full() -> Iterator[None]:
    """The disk is full as soon as a landing has the lock."""
    from connector.warehouse.lake import Lake

    write = Lake.write

    @contextmanager
    def limited(self: Lake, **options: Any) -> Iterator[Any]:
        with write(self, **options) as writing, files_at_most(1000):
            yield writing

    with patch.object(Lake, "write", limited):
        yield


@contextmanager
def newer(file: Path) -> Iterator[None]:
    """The catalogue has a format that does not exist yet."""
    with _catalogue(file) as run:
        run("update ducklake_metadata set value = '99.0' where key = 'version'")
    try:
        yield
    finally:
        close_lakes()
        with _catalogue(file) as run:
            run("update ducklake_metadata set value = '1.0' where key = 'version'")


_HOLDERS = {
    "sqlite": """
import fcntl, sys
file = open(sys.argv[1], "wb")
fcntl.flock(file, fcntl.LOCK_EX)
""",
    "postgres": """
import os, psycopg, sys
from tests.postgres import PASSWORD
held = psycopg.connect(os.environ["_SOAK_POSTGRES"], password=PASSWORD, autocommit=True)
held.execute("select pg_advisory_lock(hashtextextended(%s, 0))", ["ducklake " + sys.argv[1]])
""",
}


def holder(file: Path, until: str) -> list[str]:
    """A command that takes the lock of all writers, says so, and keeps it as ``until`` says."""
    what = schema_for(str(file)) if KIND == "postgres" else str(file.with_name(f".{file.name}.lock"))
    return [sys.executable, "-c", f"{_HOLDERS[KIND]}\n{until}", what]


def folders(file: Path) -> list[Path]:
    """What must not be writable for a lake to be read-only, beside its file."""
    return [path for path in (_files(file), *_files(file).rglob("*")) if path.is_dir()]
