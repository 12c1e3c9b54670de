"""The kinds of warehouse that tests run with: WAREHOUSE_KIND says what a path of a file stands for in this process.

``file`` is the default; with ``sqlite`` and ``postgres`` every path is a lake with that catalogue, and its files are in
a folder beside it. ``make test-lakes`` runs the tests of tables so.
"""

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator
from functools import cache
from importlib import util
from pathlib import Path

import pytest

from tests.postgres import PASSWORD, USER, Postgres, serve_postgres

KIND = os.environ.get("WAREHOUSE_KIND", "file")
LAKES = ("sqlite", "postgres")
_STACK = contextlib.ExitStack()


@cache
def server() -> Postgres:
    """One server for the process, stopped at its end; each lake is a schema of it."""
    return _STACK.enter_context(serve_postgres())


def _keywords() -> str:
    return f"host=127.0.0.1 port={server().port} dbname=postgres user={USER}"


def _settings(schema: str, files: Path) -> dict[str, str]:
    """Settings of one lake; each schema is one."""
    return {"PGPASSWORD": PASSWORD, "DUCKLAKE_DATA_PATH": str(files), "DUCKLAKE_METADATA_SCHEMA": schema}


def place(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What WAREHOUSE would be for a new warehouse; other variables that it needs are set."""
    if kind == "file":
        return str(folder / "warehouse.duckdb")
    for package in ("duckdb_extension_ducklake", "psycopg"):
        if util.find_spec(package) is None:
            pytest.skip(f"the extra [lake] is not installed: no {package}")
    if kind == "sqlite":
        return f"ducklake:sqlite:{folder / 'catalogue.sqlite'}"
    # Letters of no other word, and new each time: an older lake of this name would be found again.
    schema = f"lake_{uuid.uuid4().hex[:12]}"
    for name, value in _settings(schema, folder / "files").items():
        monkeypatch.setenv(name, value)
    return f"ducklake:postgres:{_keywords()}"


def lakes_for_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every warehouse that is named as a file is a lake of the kind that WAREHOUSE_KIND says."""
    from connector.settings import Environment
    from connector.warehouse import connection
    from connector.warehouse.file import File
    from connector.warehouse.lake_postgres import PostgresLake
    from connector.warehouse.lake_sqlite import SqliteLake

    meant = connection.kind_of

    def kind_of(url: str) -> object:
        kind = meant(url)
        if not isinstance(kind, File):
            return kind
        if KIND == "sqlite":
            return SqliteLake(kind.url, Environment({}))
        schema = f"lake_{uuid.uuid5(uuid.NAMESPACE_URL, kind.url).hex}"
        return PostgresLake(
            f"{_keywords()} password={quoted_keyword(PASSWORD)}",
            Environment(_settings(schema, Path(f"{kind.url}.files"))),
        )

    monkeypatch.setattr(connection, "kind_of", kind_of)


def quoted_keyword(value: str) -> str:
    """A value as libpq's keywords have it."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def only(*kinds: str) -> pytest.MarkDecorator:
    """Skips a test that is about other kinds."""
    return pytest.mark.skipif(KIND not in kinds, reason=f"is about {', '.join(kinds)}; WAREHOUSE_KIND is {KIND}")


def closed_lakes() -> None:
    """Close what lakes keep open for the process: the next test has another lake."""
    if "connector.warehouse.lake" in sys.modules:
        from connector.warehouse.lake import close_all

        close_all()


def stop_servers() -> Iterator[None]:
    """At the end of a session."""
    yield
    _STACK.close()
    server.cache_clear()
