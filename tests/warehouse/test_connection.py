"""The warehouse's file is never seen unfinished, also if a process dies while it creates the file."""

import os
import stat
import threading
import time
from pathlib import Path

import duckdb
import pytest

from connector import EVENTS, RejectedError, SettingsError, Warehouse
from connector.upkeep.prune import prune_receipts
from connector.warehouse.file import File


@pytest.fixture
def file(tmp_path):
    return tmp_path / "w[1].duckdb"  # a name that a pattern would read otherwise


def write(file, **options):
    with Warehouse(file, **options).write() as connection:
        connection.execute("create table if not exists t as select 1 as x")


def read(file, **options):
    with Warehouse(file, **options).read() as connection:
        return connection.execute("select 42").fetchone()


def test_no_process_ever_opens_a_file_without_a_database(file, monkeypatch):
    """DuckDB makes an empty file first, and a reader who came then was told that this is no database."""
    sizes, connect = [], duckdb.connect

    def look_and_connect(path, **options):
        sizes.append((Path(path).name, Path(path).exists() and Path(path).stat().st_size))
        return connect(path, **options)

    monkeypatch.setattr("connector.warehouse.file.duckdb.connect", look_and_connect)
    write(file)

    (new, made), (opened, size) = sizes
    assert (opened, new.endswith(".new"), made) == (file.name, True, False)
    assert size > 4096
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("links", [True, False])
def test_two_processes_that_create_it_at_once_write_into_one_file(file, monkeypatch, links):
    both, link = threading.Barrier(2, timeout=30), os.link

    def link_together(new, final):
        both.wait()
        if not links:
            raise PermissionError("this file system has no links")
        link(new, final)

    monkeypatch.setattr("connector.warehouse.file.os.link", link_together)
    done = []

    def make(name):
        connection = File(str(file))
        connection._create()
        done.append(name)

    makers = [threading.Thread(target=make, args=(name,)) for name in "ab"]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert sorted(done) == ["a", "b"]
    monkeypatch.undo()
    write(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_an_unfinished_file_of_a_dead_process_does_no_harm_and_is_removed(file):
    left = file.with_name(f".{file.name}.0123456789ab.new")
    left.touch()
    write(file)
    assert left.exists(), "its maker may live"
    os.utime(left, (time.time() - 120, time.time() - 120))
    prune_receipts(Warehouse(file))
    assert not left.exists()


def test_a_file_that_another_program_is_just_making_is_waited_for(file):
    file.touch()
    made = file.with_name("made.duckdb")
    duckdb.connect(made).close()
    threading.Timer(0.3, lambda: made.replace(file)).start()
    assert read(file) == (42,)


def test_a_file_that_becomes_a_database_while_it_is_opened_is_opened_again(file, monkeypatch):
    file.touch()
    made, connect = file.with_name("made.duckdb"), duckdb.connect
    connect(made).close()

    def fail_and_replace(path, **options):
        try:
            return connect(path, **options)
        except duckdb.Error:
            made.replace(file)
            raise

    monkeypatch.setattr("connector.warehouse.file.duckdb.connect", fail_and_replace)
    assert read(file) == (42,)


@pytest.mark.parametrize("use", [read, write])
def test_a_file_that_stays_empty_is_told_with_what_to_do(file, monkeypatch, use):
    monkeypatch.setattr("connector.warehouse.file.CREATION_SECONDS", 0.1)
    file.touch()
    with pytest.raises(RejectedError, match=r"is an empty file Next: remove it"):
        use(file)
    assert file.stat().st_size == 0


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    def refuse(path, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("connector.warehouse.file.duckdb.connect", refuse)
    with pytest.raises(RejectedError, match=r"cannot be opened: .*Permission denied"):
        write(tmp_path / "w.duckdb")


@pytest.mark.parametrize("name", ["openpanel_shop.duckdb", "OpenPanel_Shop", ".openpanel_shop.v2.db"])
def test_a_file_must_not_have_the_name_of_a_schema_in_it(tmp_path, name):
    """DuckDB calls the file's catalog so, too, and no query could say which of both it means."""
    with duckdb.connect(tmp_path / name) as connection:
        connection.execute("create schema openpanel_shop")
        with pytest.raises(duckdb.BinderException, match="Ambiguous"):
            connection.execute("create table openpanel_shop.events (id varchar)")

    with pytest.raises(SettingsError, match=r"WAREHOUSE.*schema openpanel_shop"):
        Warehouse(tmp_path / name).must_not_be_named(EVENTS.of("shop").schema)
    Warehouse(tmp_path / name).must_not_be_named(EVENTS.schema)
    for ours in ("connector", "staging", "marts", "main", "temp"):
        with pytest.raises(SettingsError, match=f"schema {ours}"):
            Warehouse(tmp_path / f"{ours}.duckdb")


@pytest.mark.parametrize(("name", "message"), [(":memory:", "loses all rows"), ("~nobody-here/w.duckdb", "a user")])
def test_what_can_hold_nothing_is_refused(name, message):
    with pytest.raises(SettingsError, match=f"WAREHOUSE.*{message}"):
        Warehouse(name)


@pytest.mark.parametrize("name", ["sqlite:x.db", "file:x.duckdb"])
def test_a_relative_name_is_a_file_whatever_it_begins_with(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
