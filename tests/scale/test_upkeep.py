"""Tidying a lake: what nobody can read goes, what somebody may read stays, and a forgotten person is in no file."""

import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

import connector
from connector import RejectedError, Warehouse
from connector.cli.main import main
from connector.upkeep.doctor import doctor
from connector.upkeep.forget import forget
from tests.kinds import close_lakes
from tests.scale.writers import FIRST, landed

LATER = datetime.now(UTC) + timedelta(hours=25)
NEXT = FIRST + timedelta(days=1)


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


def counts(done):
    return {one.what: one.count for one in done}


def rows_in_files(folder, person):
    """Rows of a person, by Parquet file; every file is read, whether the catalogue knows it or not."""
    found = {}
    with duckdb.connect() as connection:
        for file in folder.rglob("*.parquet"):
            columns = [row[0] for row in connection.execute(f"describe from '{file}'").fetchall()]
            if "profile_id" in columns:
                sql = f"select count(*) from '{file}' where profile_id = '{person}'"
                if count := connection.execute(sql).fetchone()[0]:
                    found[file.name] = count
    return found


def test_a_forgotten_person_is_in_no_file_once_older_snapshots_are_gone(lake, lake_kind, ask, tmp_path, spool):
    for day in (FIRST, NEXT):
        landed(lake, spool, day, 40)
    landed(lake, spool, FIRST, 40)  # and older versions of them
    assert len(rows_in_files(tmp_path, "p7")) == 3
    before = ask("select max(snapshot_id) from ducklake_snapshots('warehouse')")[0][0]

    with lake.read() as reading:  # begun before, and still looking
        count = "select count(*) from openpanel.events where profile_id = 'p7'"
        assert reading.execute(count).fetchone() == (2,)
        gone = forget(lake, spool, profile_ids=["p7"])
        lake.maintain()
        assert reading.execute(count).fetchone() == (2,)
    assert [(one.table, one.rows) for one in gone.tables] == [("openpanel.events", 2)]
    assert ask(count) == [(0,)]
    assert gone.left_until is not None
    assert timedelta(hours=23) < gone.left_until - datetime.now(UTC) < timedelta(hours=25)
    assert ask(count, at=before) == [(2,)]

    lake.maintain(now=gone.left_until + timedelta(minutes=1))
    assert rows_in_files(tmp_path, "p7") == {}
    assert ask("select count(*) from openpanel.events") == [(78,)]
    with pytest.raises(RejectedError, match="holds no snapshot"):
        ask(count, at=before)
    assert landed(lake, spool, NEXT, 40).forgotten == 1


@pytest.mark.parametrize("lake_kind", ["sqlite"], indirect=True)
def test_the_catalogue_forgets_them_as_well(lake, tmp_path, spool):
    """It keeps the smallest and largest value of every column of every file; free pages keep what was there."""
    landed(lake, spool, FIRST, 3)
    with lake.write() as connection:
        connection.execute("update openpanel.events set profile_id = 'zz-somebody' where profile_id = 'p2'")
    close_lakes()
    catalogue = tmp_path / "catalogue.sqlite"
    assert b"zz-somebody" in catalogue.read_bytes()

    gone = forget(lake, spool, profile_ids=["zz-somebody"])
    lake.maintain(now=gone.left_until + timedelta(minutes=1))
    close_lakes()
    assert [path.name for path in tmp_path.iterdir() if b"zz-somebody" in _bytes(path)] == []


def _bytes(path):
    return path.read_bytes() if path.is_file() else b""


def test_the_command_says_until_when_older_snapshots_hold_them(lake, lake_kind, spool, monkeypatch, capsys):
    monkeypatch.setenv("SPOOL_DIR", str(spool))
    landed(lake, spool, FIRST, 10)
    assert main(["forget", "--profile-id", "p1"]) == 0
    assert "connector maintain removes them after" in capsys.readouterr().out
    assert main(["maintain", "--json", "--keep-hours", "0"]) == 0
    done = {line["what"]: line["count"] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert done["old snapshots"] > 0
    assert done["files of old snapshots"] > 0


def test_maintenance_keeps_what_was_current_a_day_ago_and_brings_the_size_back(lake, ask, tmp_path, spool):
    size = []

    def measure():
        size.append(sum(file.stat().st_size for file in tmp_path.rglob("events/**/*.parquet")))

    landed(lake, spool, FIRST, 500)
    measure()
    for _ in range(5):
        landed(lake, spool, FIRST, 500)
    measure()
    assert counts(lake.maintain())["old snapshots"] == 0
    done = counts(lake.maintain(now=LATER))
    measure()
    assert done["old snapshots"] >= 6
    assert done["files of old snapshots"] >= 5
    assert size[1] > 4 * size[0]
    assert size[2] < 2 * size[0]
    assert ask("select count(*), count(distinct _load_id) from openpanel.events") == [(500, 1)]


def test_many_small_files_of_receipts_become_one_and_say_the_same(lake, ask, spool):
    for number in range(42):
        with lake.transaction() as connection:
            connection.execute("create schema if not exists connector")
            connection.execute("create table if not exists connector.small (n int)")
            connection.execute(f"insert into connector.small values ({number})")
    with lake.read() as reading:
        assert counts(lake.maintain())["tables of many small files"] == 1
        assert reading.execute("select count(*) from connector.small").fetchone() == (42,)
    assert ask("select count(*), sum(n) from connector.small") == [(42, 861)]
    assert ask("select file_count from ducklake_table_info('warehouse') where table_name = 'small'") == [(1,)]
    assert counts(lake.maintain())["tables of many small files"] == 0


def test_files_of_dead_writers_go_after_a_day(lake, tmp_path, spool):
    landed(lake, spool, FIRST, 3)
    folder = next(file.parent for file in tmp_path.rglob("*.parquet") if "events" in str(file))
    left = folder / "ducklake-00000000-0000-7000-8000-000000000000.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"copy (select 'p7' as profile_id) to '{left}' (format parquet)")
    lake.maintain()
    assert left.exists()
    assert counts(lake.maintain(now=LATER))["files of dead writers"] == 1
    assert not left.exists()


def test_an_older_snapshot_is_read_by_its_number_and_by_a_moment(lake, ask, spool):
    landed(lake, spool, FIRST, 3)
    number = ask("select max(snapshot_id) from ducklake_snapshots('warehouse')")[0][0]
    moment = ask("select max(snapshot_time) from ducklake_snapshots('warehouse')")[0][0]
    landed(lake, spool, FIRST, 5)
    with lake.write() as connection:
        connection.execute("create view openpanel.viewed as select * from warehouse.openpanel.events")
    viewed = ask("select max(snapshot_id) from ducklake_snapshots('warehouse')")[0][0]
    landed(lake, spool, FIRST, 7)
    for at in (number, moment):
        assert len(connector.frame("openpanel.events", FIRST, at=at, warehouse=lake)) == 3
    assert len(connector.frame("openpanel.viewed", at=viewed, warehouse=lake)) == 5, "a view finds the older table"
    assert len(connector.frame("openpanel.events", warehouse=lake)) == 7
    with pytest.raises(RejectedError, match="holds no snapshot of 9999"):
        connector.frame("openpanel.events", at=9999, warehouse=lake)


def test_an_older_snapshot_that_is_removed_while_it_is_read_is_no_answer(lake, spool):
    landed(lake, spool, FIRST, 3)
    with lake.read() as connection:
        (number,) = connection.execute("from warehouse.current_snapshot()").fetchone()
    landed(lake, spool, FIRST, 5)
    with pytest.raises((RejectedError, connector.TransientError)), lake.read(at=number) as connection:
        lake.maintain(keep=timedelta(0))
        connection.execute("select count(*) from openpanel.events").fetchone()


def test_a_file_keeps_no_snapshot_and_needs_no_maintenance(tmp_path):
    file = Warehouse(tmp_path / "w.duckdb")
    landed(file, tmp_path / "spool", FIRST, 3)
    assert (file.maintain(), file.settle(), file.needs_maintenance) == ([], None, False)
    with pytest.raises(RejectedError, match="keeps no older snapshot"):
        connector.frame("openpanel.events", at=1, warehouse=file)
    with pytest.raises(RejectedError, match="has no catalogue of its own"):
        file.migrate()


def test_doctor_says_when_maintenance_is_due(lake, ask, spool, monkeypatch):
    landed(lake, spool, FIRST, 3)

    def said():
        return [one for one in doctor(offline=True) if one.about == "warehouse"]

    assert [one.level for one in said()] == ["ok", "ok"]
    monkeypatch.setattr("connector.warehouse.lake_upkeep.MANY_SNAPSHOTS", 1)
    monkeypatch.setattr("connector.warehouse.lake_upkeep.OLD_SNAPSHOTS", timedelta(0))
    due = said()[0]
    assert (due.level, "connector maintain" in due.todo) == ("warn", True)


def test_migrating_asks_for_a_backup_first_and_has_nothing_to_do_here(lake, spool, capsys):
    landed(lake, spool, FIRST, 3)
    assert main(["migrate-lake"]) == 2
    assert "--backed-up" in capsys.readouterr().err
    assert main(["migrate-lake", "--backed-up"]) == 0
    assert "nothing was to be done" in capsys.readouterr().out


@pytest.mark.parametrize("lake_kind", ["postgres"], indirect=True)
def test_a_landing_whose_lock_was_lost_commits_nothing(lake, ask, spool, postgres):
    """The session that held it was ended by an administrator, or the network: another may be landing by now."""
    import psycopg

    landed(lake, spool, FIRST, 3)
    with pytest.raises(connector.TransientError, match="lock ended"), lake.transaction() as connection:
        connection.execute("delete from openpanel.events")
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()"
            )
    assert ask("select count(*) from openpanel.events") == [(3,)]


@pytest.mark.parametrize("lake_kind", ["postgres"], indirect=True)
def test_who_holds_the_lock_is_named_and_no_password_anywhere(lake, spool):
    from connector import BusyError
    from tests.postgres import PASSWORD

    with lake.write(where="openpanel.events[2026-03-04]"):
        with pytest.raises(BusyError, match=r"connector openpanel\.events\[2026-03-04\] on .* \(PostgreSQL process"):
            with Warehouse(f"ducklake:postgres:{lake.url.removeprefix('ducklake:postgres:')}", lock_wait=0.2).write():
                pass
        with lake.read() as connection:
            shown = str(connection.execute("select path from duckdb_databases()").fetchall())
            shown += str(connection.execute("from duckdb_secrets()").fetchall())
    assert PASSWORD not in shown + repr(lake)


@pytest.mark.parametrize("lake_kind", ["postgres"], indirect=True)
def test_a_wrong_password_is_a_setting_and_is_not_shown(lake, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong-password-of-nobody")
    with pytest.raises(connector.SettingsError, match="refuses us") as caught:
        Warehouse(lake.url).exists()
    assert "wrong-password" not in str(caught.value)


@pytest.mark.parametrize("lake_kind", ["postgres"], indirect=True)
def test_a_server_that_comes_back_is_used_again_and_a_landing_meanwhile_can_be_rerun(lake, ask, spool, postgres):
    landed(lake, spool, FIRST, 3)
    postgres.stop()
    try:
        with pytest.raises(connector.TransientError, match="catalogue cannot be reached"):
            landed(lake, spool, FIRST, 5)
        with pytest.raises(connector.TransientError, match="catalogue cannot be reached"):
            ask("select count(*) from openpanel.events")
    finally:
        postgres.start()
    assert landed(lake, spool, FIRST, 5).replaced == 3


def test_a_process_that_only_imports_the_package_loads_no_driver_of_a_lake():
    code = "import sys, connector, connector.cli.main, connector.warehouse.connection\n"
    code += "print([name for name in sys.modules if name.startswith('psycopg') or name.endswith('.lake')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("lake_kind", ["sqlite"], indirect=True)
def test_a_catalogue_of_an_older_format_is_refused_and_then_migrated_with_its_rows(lake, ask, tmp_path, capsys):
    """Made with DuckDB 1.5.1 in another folder: two rows, one of them deleted."""
    with zipfile.ZipFile(Path(__file__).with_name("lake-0.4.zip")) as archive:
        archive.extractall(tmp_path)
    for name in ("lake.sqlite", "lake.sqlite.files"):
        (tmp_path / name).rename(tmp_path / name.replace("lake", "catalogue"))
    with pytest.raises(connector.SettingsError, match=r"format 0\.\d.*migrate-lake"):
        ask("from openpanel.events")
    assert main(["migrate-lake", "--backed-up", "--moved"]) == 0
    said = capsys.readouterr().out
    assert "the files are now looked for in" in said
    assert "to 1.0" in said
    assert ask("select id from openpanel.events") == [("a",)]
    with lake.write() as connection:
        connection.execute("insert into openpanel.events values ('c', '2026-03-01')")
    assert ask("select count(*) from openpanel.events") == [(2,)]


def test_the_job_is_on_for_a_lake_and_off_for_a_file(lake, spool, tmp_path, monkeypatch):
    import dagster as dg

    from connector.dagster import WarehouseResource, maintain_schedule

    landed(lake, spool, FIRST, 3)
    schedule = maintain_schedule(keep_hours=0.0)
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    done = schedule.job.execute_in_process()
    assert done.success
    with lake.read() as connection:
        assert connection.execute("select count(*) from ducklake_snapshots('warehouse')").fetchone() == (1,)
    of_file = maintain_schedule(warehouse=WarehouseResource(database=str(tmp_path / "w.duckdb")))
    assert of_file.default_status == dg.DefaultScheduleStatus.STOPPED
