"""The kinds of warehouse that tests run with: WAREHOUSE_KIND says what a path of a file stands for in this process.

``file`` is the default; with ``sqlite`` and ``postgres`` every path is a lake with that catalogue, and its files are in
a folder beside it. ``make test-lakes`` runs the tests of tables so.
"""

import os
import sys
import uuid
from importlib import util
from pathlib import Path

import pytest

from tests.postgres import PASSWORD, USER, Postgres

KIND = os.environ.get("WAREHOUSE_KIND", "file")
LAKES = ("sqlite", "postgres")


def new_lake(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """What WAREHOUSE would be for a lake that does not exist yet; other variables that it needs are set."""
    for package in ("duckdb_extension_ducklake", "psycopg"):
        if util.find_spec(package) is None:
            pytest.skip(f"the extra [lake] is not installed: no {package}")
    if kind == "sqlite":
        return f"ducklake:sqlite:{folder / 'catalogue.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres")
    for name, value in environment(f"lake_{uuid.uuid4().hex[:12]}", folder / "files").items():
        monkeypatch.setenv(name, value)
    return f"ducklake:postgres:{keywords(server)}"


def keywords(server: Postgres, host: str | Path = "127.0.0.1") -> str:
    """The server as libpq's keywords, without a password; a folder as its host is that of its socket."""
    return f"host={host} port={server.port} dbname=postgres user={USER}"


def environment(schema: str, files: Path) -> dict[str, str]:
    """Variables of one lake; each schema of a database is one."""
    return {"PGPASSWORD": PASSWORD, "DUCKLAKE_DATA_PATH": str(files), "DUCKLAKE_METADATA_SCHEMA": schema}


def schema_for(file: str) -> str:
    """Where the catalogue of the lake is that stands for a file."""
    return f"lake_{uuid.uuid5(uuid.NAMESPACE_URL, file).hex}"


def lake_for(file: str, server: str) -> object:
    """The lake that stands for a file; ``server`` is a PostgreSQL's keywords, if WAREHOUSE_KIND needs one."""
    from connector.settings import Environment
    from connector.warehouse.lake_postgres import PostgresLake
    from connector.warehouse.lake_sqlite import SqliteLake

    if KIND == "sqlite":
        return SqliteLake(file, Environment({}))
    settings = environment(schema_for(file), Path(f"{file}.files"))
    return PostgresLake(f"{server} password='{PASSWORD}'", Environment(settings))


def lakes_for_files(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Every warehouse that is named as a file is a lake of the kind that WAREHOUSE_KIND says."""
    from connector.warehouse import connection
    from connector.warehouse.file import File

    meant = connection.kind_of

    def kind_of(url: str) -> object:
        kind = meant(url)
        if not isinstance(kind, File):
            return kind
        return lake_for(kind.url, keywords(request.getfixturevalue("postgres")) if KIND == "postgres" else "")

    monkeypatch.setattr(connection, "kind_of", kind_of)


def only(*kinds: str) -> pytest.MarkDecorator:
    """Skips a test that is about other kinds."""
    return pytest.mark.skipif(KIND not in kinds, reason=f"is about {', '.join(kinds)}; WAREHOUSE_KIND is {KIND}")


def close_lakes() -> None:
    """Close what lakes keep open for the process: the next test has another lake."""
    if "connector.warehouse.lake" in sys.modules:
        from connector.warehouse.lake import close_all

        close_all()
