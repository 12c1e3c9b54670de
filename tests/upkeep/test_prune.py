"""Prune removes what is not needed any more, and nothing else."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
import time_machine

from connector import EVENTS
from connector.cli.main import main
from connector.landing.receipts import landed_day
from connector.spool import spooling
from connector.system.files import locked
from connector.upkeep.prune import prune_files, prune_receipts
from connector.userpilot.exports.files import prune_export_files
from connector.warehouse.coverage import record_counts
from tests.conftest import DAY

LONG_AGO = time.time() - 5 * 86_400
LATER = datetime.now(UTC) + timedelta(days=500)


def aged(path):
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def counts(pruned):
    return {one.what: one.count for one in pruned}


@pytest.fixture
def spool(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("dry_run", [True, False])
def test_spools_of_dead_runs_go_and_those_of_the_living_stay(spool, dry_run):
    dead = spool / "openpanel.events" / "2026-03-04-0123456789ab"
    dead.mkdir(parents=True)
    (dead / ".lock").touch()
    with spooling(spool / "other", EVENTS, DAY):  # another place, so that it does not sweep ours
        pass
    living = spool / "openpanel.events" / "2026-03-04-ba9876543210"
    living.mkdir()
    with locked(living / ".lock"):
        found = counts(prune_files(spool, dry_run=dry_run))
    assert found["spools of dead runs"] == 1
    assert dead.exists() == dry_run
    assert living.exists()


def test_a_journal_that_holds_something_stays_for_ever(spool):
    book = spool / "outbox"
    book.mkdir()
    (book / "orders.journal").write_text('{"intent": "1", "hash": "h"}\n')
    (book / "people.journal").touch()
    (book / "fresh.journal").touch()
    aged(book / "orders.journal"), aged(book / "people.journal")
    assert counts(prune_files(spool))["empty journals and locks"] == 1
    assert sorted(path.name for path in book.glob("*.journal")) == ["fresh.journal", "orders.journal"]


def test_export_files_stay_while_their_job_may_live_or_a_process_holds_them(spool):
    folder = spool / "userpilot.exports"
    for name in ("old", "held", "new"):
        (folder / f"{name}.chunks").mkdir(parents=True)
        (folder / f"{name}.lock").touch()
    (folder / "landed.lock").touch()
    (folder / "exports.json").write_text("{}")
    for name in ("slot.lock", "exports.lock"):
        (folder / name).touch()
    for path in folder.iterdir():
        if "new" not in path.name:
            aged(path)
    with locked(folder / "held.lock"):
        assert prune_export_files(spool, dry_run=True) == ["old"]
        assert (folder / "old.chunks").exists()
        assert prune_export_files(spool) == ["old"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "exports.json", "exports.lock", "held.chunks", "held.lock", "new.chunks", "new.lock", "slot.lock",
    ]  # fmt: skip


@pytest.fixture
def history(vendor, sync, warehouse):
    """A day landed three times, once incrementally; another once; a count from before and one from after."""
    for day in (DAY, DAY + timedelta(days=1)):
        vendor.add(f"{day}-1", at=f"{day}T08:00:00Z")
    record_counts(warehouse, EVENTS, {DAY: 7})
    loads = [sync(DAY).load_id, sync(DAY).load_id]
    vendor.add("late", at=f"{DAY}T09:00:00Z")
    loads.append(sync(DAY, incremental=True).load_id)
    loads.append(sync(DAY + timedelta(days=1)).load_id)
    record_counts(warehouse, EVENTS, {DAY + timedelta(days=1): 1})
    return loads


def test_only_receipts_that_nothing_refers_to_go(history, warehouse, query):
    _, whole, incremental, other = history
    dry = counts(prune_receipts(warehouse, now=LATER, dry_run=True))
    before = query("from connector.coverage order by day")
    found = counts(prune_receipts(warehouse, now=LATER))

    assert dry == found == {"connector.landings": 1, "connector.probes": 1}
    left = {load for (load,) in query("select load_id from connector.landings")}
    assert left == {whole, incremental, other}, "rows of the whole landing are still there beside the refreshed ones"
    assert query("from connector.coverage order by day") == before
    assert landed_day(warehouse, EVENTS, DAY).load_id == incremental
    assert counts(prune_receipts(warehouse, now=LATER))["connector.landings"] == 0


def test_young_receipts_stay(history, warehouse):
    assert set(counts(prune_receipts(warehouse)).values()) == {0}


def test_an_old_failure_goes_and_one_that_was_never_mended_stays(vendor, sync, warehouse, query, no_pauses):
    vendor.faults.add("status", "/export/events", status=400, times=2)
    for day in (DAY, DAY + timedelta(days=1)):
        with pytest.raises(Exception, match="400"):
            sync(day)
    vendor.add("e", at=f"{DAY}T08:00:00Z")
    sync(DAY)
    prune_receipts(warehouse, now=LATER)
    assert query("select day, status from connector.landings order by day") == [
        (DAY, "landed"),
        (DAY + timedelta(days=1), "failed"),
    ]


def test_the_guard_against_drops_and_the_forgotten_count_survive(vendor, sync, warehouse, query):
    from connector.privacy.forget import remove_people

    for n in range(20):
        vendor.add(f"e{n}", at=f"{DAY}T08:00:{n:02}Z", profile_id="ada" if n < 3 else "bob")
    sync(DAY), sync(DAY)
    remove_people(warehouse, [(EVENTS, ["ada"])])
    prune_receipts(warehouse, now=LATER)
    assert query("select landed, forgotten, received from connector.landings") == [(17, 3, 20)]
    assert sync(DAY).forgotten == 3


def test_a_sample_that_cannot_be_taken_again_keeps_its_receipt(openpanel, sync, warehouse, query):
    from connector.catalogue.openpanel import INSIGHTS_LIVE

    today = datetime.now(UTC).date()
    sync(today, stream=INSIGHTS_LIVE), sync(today, stream=INSIGHTS_LIVE)
    assert counts(prune_receipts(warehouse, now=LATER))["connector.landings"] == 0


def test_one_command_does_it_all(history, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "warehouse.duckdb"))
    monkeypatch.setenv("SPOOL_DIR", str(tmp_path / "spool"))
    capsys.readouterr()
    assert main(["prune", "--receipts-days", "0", "--json"]) == 0
    said = {line["what"]: line["count"] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert said["connector.landings"] == 1


def test_nothing_to_prune_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "none.duckdb"))
    monkeypatch.setenv("SPOOL_DIR", str(tmp_path / "none"))
    assert main(["prune"]) == 0
    assert not (tmp_path / "none.duckdb").exists()


def test_the_nightly_job_prunes_and_waits_to_be_switched_on(history, warehouse, tmp_path, query):
    from connector.dagster import WarehouseResource, prune_schedule

    store = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "spool"))
    schedule = prune_schedule(warehouse=store, receipts_days=0)
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.job.execute_in_process().success
    assert query("select count(*) from connector.landings") == [(3,)]


def built(folder, days):
    folder.mkdir(parents=True)
    (folder / "dbt.log").write_text("x")
    before = time.time() - days * 86_400
    os.utime(folder, (before, before))
    return folder


def test_old_builds_of_models_go_and_the_prepared_manifest_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "none.duckdb"))
    monkeypatch.setenv("SPOOL_DIR", str(tmp_path / "none"))
    target = tmp_path / "sql" / "target"
    old, young = built(target / "models_by_day-597a2c6-2f62f1a", 5), built(target / "models_whole-597a2c6-cb94e8c", 3)
    kept = built(target / "compiled", 50)
    (target / "manifest.json").write_text("{}")
    assert main(["prune", "--dbt-target", str(target), "--dry-run"]) == 0
    assert old.exists()
    assert main(["prune", "--dbt-target", str(target)]) == 0
    assert "folders of old builds of models  1 removed" in capsys.readouterr().out
    assert not old.exists()
    assert young.exists()
    assert kept.exists()
    assert (target / "manifest.json").exists()


def test_the_job_removes_compute_logs_of_old_runs_of_ours_alone(tmp_path):
    from connector.dagster.runs import TABLE_TAG
    from connector.dagster.upkeep import _of_ours, _prune_logs

    @dg.asset(op_tags={TABLE_TAG: "openpanel.events"})
    def ours():
        print("a line of ours")

    @dg.asset
    def theirs():
        print("a line of theirs")

    @dg.job
    def plain():
        """A job of the user's without any asset."""

    defs = dg.Definitions(
        assets=[ours, theirs],
        jobs=[plain, *(dg.define_asset_job(f"{name}_job", selection=[name]) for name in ("ours", "theirs"))],
        executor=dg.in_process_executor,
    )
    with dg.instance_for_test() as instance:
        runs = {}
        for name, back in (("ours", 40), ("theirs", 40), ("young", 20)):
            with time_machine.travel(datetime.now(UTC) - timedelta(days=back)):
                job = defs.resolve_job_def("theirs_job" if name == "theirs" else "ours_job")
                runs[name] = job.execute_in_process(instance=instance).run_id
            folder = Path(instance.storage_directory()) / runs[name]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "compute.out").write_text("x")
        assets, jobs = _of_ours(SimpleNamespace(repository_def=defs.get_repository_def()))
        assert ([asset.key.path[-1] for asset in assets], jobs) == (["ours"], ["ours_job"])
        assert _prune_logs(instance, jobs, 30) == 1
        there = {
            name: (Path(instance.storage_directory()) / run / "compute.out").exists() for name, run in runs.items()
        }
    assert there == {"ours": False, "theirs": True, "young": True}
