"""What WAREHOUSE may say of a lake, what is refused with which sentence, and that no password is ever shown."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from connector import RejectedError, SettingsError, TransientError, Warehouse
from connector.warehouse import extensions
from connector.warehouse.lake_files import DataPath
from tests.kinds import close_lakes, only

pytestmark = only("file")
SECRET = "a pass/word of 'nobody'"


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_lakes()


def made(url):
    with Warehouse(url, lock_wait=5).write() as connection:
        connection.execute("create table if not exists t as select 1 as x")
    return url


def read(url, sql="from t"):
    with Warehouse(url).read() as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    "url",
    [
        "ducklake:postgres:host=db.example dbname=lake user=me password={}",
        "ducklake:postgres:postgresql://me:{}@db.example/lake",
        "ducklake:postgres://me:{}@db.example/lake",
        "DUCKLAKE:postgresql://me:{}@db.example/lake",
    ],
)
def test_all_spellings_of_a_postgres_url_are_one_place_without_its_password(url):
    escaped = "'" + SECRET.replace("'", r"\'") + "'" if "=" in url else "a%20pass%2Fword%20of%20%27nobody%27"
    warehouse = Warehouse(url.format(escaped))
    assert warehouse.url == warehouse.name == "ducklake:postgres:user=me dbname=lake host=db.example" or sorted(
        warehouse.url.removeprefix("ducklake:postgres:").split()
    ) == ["dbname=lake", "host=db.example", "user=me"]
    assert "word" not in repr(warehouse)
    assert warehouse.catalog == "warehouse"
    with warehouse.building() as variables:
        assert variables["PGPASSWORD"] == SECRET
        assert "word" not in variables["WAREHOUSE"]


def test_what_a_postgres_url_leaves_out_is_libpqs_own_variables(monkeypatch):
    for name, value in {"PGHOST": "h", "PGPORT": "7", "PGDATABASE": "d", "PGUSER": "u"}.items():
        monkeypatch.setenv(name, value)
    named = Warehouse("ducklake:postgres:dbname=other").url.removeprefix("ducklake:postgres:")
    assert sorted(named.split()) == ["dbname=other", "host=h", "port=7", "user=u"]


def test_a_text_that_is_no_postgres_url_is_told_without_the_text():
    with pytest.raises(SettingsError, match="keywords or URL") as caught:
        Warehouse(f"ducklake:postgres:rubbish password={SECRET}")
    assert "nobody" not in str(caught.value)


@pytest.mark.parametrize(
    "given", ["ducklake:sqlite:lake.sqlite", "ducklake:sqlite://lake.sqlite", "DuckLake:SQLite:lake.sqlite"]
)
def test_a_sqlite_lake_is_one_absolute_place_from_every_folder(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    made(given)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read(f"ducklake:sqlite:{tmp_path / 'lake.sqlite'}") == [(1,)]
    assert Warehouse(f"ducklake:sqlite:{tmp_path}/lake.sqlite").place == tmp_path / "lake.sqlite.files"


def test_a_relative_folder_of_files_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUCKLAKE_DATA_PATH", "rows")
    made("ducklake:sqlite:lake.sqlite")
    assert list((tmp_path / "rows").rglob("*.parquet"))
    monkeypatch.chdir("/")
    monkeypatch.setenv("DUCKLAKE_DATA_PATH", str(tmp_path / "rows"))
    assert read(f"ducklake:sqlite:{tmp_path}/lake.sqlite") == [(1,)]


def test_a_lake_that_does_not_exist_is_said_and_not_made_by_a_reader(tmp_path):
    url = f"ducklake:sqlite:{tmp_path}/lake.sqlite"
    assert not Warehouse(url).exists()
    with pytest.raises(RejectedError, match="does not exist yet"):
        read(url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["tables", "text"])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path, content):
    file = tmp_path / "other.sqlite"
    if content == "tables":
        with closing(sqlite3.connect(file)) as other:
            other.execute("create table theirs (x int)")
    else:
        file.write_text("no database" * 200)
    before = file.read_bytes()
    with pytest.raises(SettingsError, match=r"WAREHOUSE is .*other\.sqlite.*next_step|WAREHOUSE is") as caught:
        made(f"ducklake:sqlite:{file}")
    assert "something else" in str(caught.value) or "no SQLite file" in str(caught.value)
    assert file.read_bytes() == before


def test_a_moved_lake_is_refused_until_it_is_told(tmp_path, monkeypatch):
    made(f"ducklake:sqlite:{tmp_path}/lake.sqlite")
    close_lakes()
    (tmp_path / "new").mkdir()
    for name in ("lake.sqlite", "lake.sqlite.files"):
        (tmp_path / name).rename(tmp_path / "new" / name)
    url = f"ducklake:sqlite:{tmp_path}/new/lake.sqlite"
    with pytest.raises(SettingsError, match=r"DUCKLAKE_DATA_PATH is .*/new/.*migrate-lake --moved"):
        read(url)
    assert "looked for in" in Warehouse(url).migrate(moved=True)
    assert read(url) == [(1,)]
    assert "nothing was to be done" in Warehouse(url).migrate(moved=True)


def test_files_that_are_gone_are_told_before_anything_is_landed(tmp_path):
    url = made(f"ducklake:sqlite:{tmp_path}/lake.sqlite")
    close_lakes()
    (tmp_path / "lake.sqlite.files").rename(tmp_path / "away")
    with pytest.raises(SettingsError, match="which is no folder"):
        made(url)


def test_two_lakes_do_not_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DUCKLAKE_DATA_PATH", str(tmp_path / "rows"))
    made(f"ducklake:sqlite:{tmp_path}/one.sqlite")
    with pytest.raises(SettingsError, match="which holds files, though the lake does not exist"):
        made(f"ducklake:sqlite:{tmp_path}/two.sqlite")


def test_a_catalogue_of_another_format_is_refused_with_what_to_do(tmp_path):
    url = made(f"ducklake:sqlite:{tmp_path}/lake.sqlite")
    close_lakes()
    with closing(sqlite3.connect(tmp_path / "lake.sqlite")) as catalogue, catalogue:
        catalogue.execute("update ducklake_metadata set value = '0.4' where key = 'version'")
    with pytest.raises(SettingsError, match=r"format 0\.4, and this version reads 1\.0.*migrate-lake"):
        read(url)


def test_a_catalogue_that_was_put_back_is_the_one_that_is_read(tmp_path):
    """A backup restored under a living process: without a look at the file it would write into the old one's shadow."""
    url = made(f"ducklake:sqlite:{tmp_path}/lake.sqlite")
    close_lakes()
    backup = (tmp_path / "lake.sqlite").read_bytes()
    with Warehouse(url).write() as connection:
        connection.execute("insert into t values (2)")
    (tmp_path / "other").write_bytes(backup)
    (tmp_path / "other").replace(tmp_path / "lake.sqlite")
    for left in ("lake.sqlite-wal", "lake.sqlite-shm"):
        (tmp_path / left).unlink(missing_ok=True)
    assert read(url) == [(1,)]


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r"psycopg is not installed.*\[lake\]"):
        Warehouse("ducklake:postgres:host=x")


def test_a_missing_extension_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(extensions, "_in_wheel", lambda name: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=r"DuckDB's extension sqlite_scanner.*\[lake\].*install sqlite_scanner"):
        made(f"ducklake:sqlite:{tmp_path}/lake.sqlite")


def test_an_extension_of_another_duckdb_is_told_with_both_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(extensions, "_in_wheel", lambda name: None)
    monkeypatch.setattr(extensions, "_version", lambda wheel: "1.4.4")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=rf"version 1\.4\.4 and DuckDB of {duckdb.__version__}"):
        made(f"ducklake:sqlite:{tmp_path}/lake.sqlite")


def test_a_server_that_is_away_is_transient_and_says_so():
    with pytest.raises(TransientError, match=r"catalogue cannot be reached.*Connection refused"):
        Warehouse("ducklake:postgres:host=127.0.0.1 port=1 dbname=x user=y").exists()


@pytest.mark.parametrize("path", ["gs://bucket/x", "s3:///x", "https://x/y"])
def test_a_place_that_is_neither_a_folder_nor_a_bucket_is_refused(tmp_path, monkeypatch, path):
    monkeypatch.setenv("DUCKLAKE_DATA_PATH", path)
    with pytest.raises(SettingsError, match=r"DUCKLAKE_DATA_PATH is .*s3://bucket/prefix/"):
        Warehouse(f"ducklake:sqlite:{tmp_path}/lake.sqlite")


def test_keys_of_a_bucket_become_a_secret_of_duckdb_and_stand_in_no_message(tmp_path):
    from connector.settings import Environment

    keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret-of-nobody", "AWS_REGION": "eu-north-1"}
    place = DataPath("s3://bucket/prefix", Environment({**keys, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}))
    assert place.path == "s3://bucket/prefix/"
    with duckdb.connect() as root:
        place.prepare(root)
        ((name, kind, said),) = root.execute("select name, type, secret_string from duckdb_secrets()").fetchall()
        assert (name, kind) == ("lake_files", "s3")
        assert "endpoint=127.0.0.1:1" in said
        assert "use_ssl=false" in said
        assert "url_style=path" in said
        assert "secret-of-nobody" not in said
        with pytest.raises(SettingsError, match="DUCKLAKE_DATA_PATH is s3://bucket/prefix/, which cannot be used") as c:
            place.must_be_free(root)
        assert "secret-of-nobody" not in str(c.value)


def test_a_busy_lake_is_told_and_free_when_its_holder_is_done(tmp_path):
    from connector import BusyError

    url = made(f"ducklake:sqlite:{tmp_path}/lake.sqlite")
    with Warehouse(url).write():
        with (
            pytest.raises(BusyError, match="kept the warehouse ducklake:sqlite:"),
            Warehouse(url, lock_wait=0.2).write(),
        ):
            pass
        assert read(url) == [(1,)]
    assert made(url)


def test_a_reader_changes_nothing(tmp_path):
    url = made(f"ducklake:sqlite:{tmp_path}/lake.sqlite")
    with pytest.raises(duckdb.Error, match="read-only"), Warehouse(url).read() as connection:
        connection.execute("insert into t values (2)")
    assert read(url) == [(1,)]


def test_catalogue_and_files_are_readable_by_their_user_only(tmp_path):
    mask = os.umask(0)
    try:
        made(f"ducklake:sqlite:{tmp_path}/deep/lake.sqlite")
    finally:
        os.umask(mask)
    modes = {path: path.stat().st_mode & 0o077 for path in Path(tmp_path / "deep").rglob("*")}
    assert not any(modes.values()), modes
