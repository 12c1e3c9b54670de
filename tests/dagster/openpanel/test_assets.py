"""What someone who materialises in the UI gets: rows, numbers, clear failures, nothing half-done."""

import dataclasses
import os
import signal
import threading
import time
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

import connector.meter
import connector.sync
from connector import EVENTS, Warehouse
from connector.dagster import OpenPanelResource, WarehouseResource, openpanel_assets
from connector.dagster.runs import ALLOW_DROP_TAG, INCREMENTAL_TAG
from connector.sandbox import READ
from tests.conftest import DAY

RANGE = {"dagster/asset_partition_range_start": "2026-03-04", "dagster/asset_partition_range_end": "2026-03-06"}


@pytest.fixture
def filled(vendor):
    for day in (4, 5, 6):
        for hour in range(day):
            vendor.add(f"d{day}h{hour}", at=f"2026-03-0{day}T0{hour}:00:00Z", city="Lund", profile_id="u-1")


@pytest.fixture
def retry_policy():
    return None


@pytest.fixture
def assets(url, tmp_path, retry_policy):
    source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
    target = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "spool"))
    return openpanel_assets(
        streams=[EVENTS], start_date=DAY, openpanel=source, warehouse=target, retry_policy=retry_policy
    )


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(connector.sync, "PAUSES", (0.0, 0.0))


def materialize(assets, instance, **options):
    return dg.materialize(assets, instance=instance, raise_on_error=False, **options)


def metadata(result):
    found = result.asset_materializations_for_node("openpanel__events")
    return {event.partition: {key: value.value for key, value in event.metadata.items()} for event in found}


def test_one_day_lands_and_says_its_numbers(vendor, filled, assets, instance, query):
    result = materialize(assets, instance, partition_key="2026-03-04")

    assert result.success
    numbers = metadata(result)["2026-03-04"]
    assert numbers["dagster/partition_row_count"] == 4 == vendor.count("2026-03-04")
    assert numbers["vendor count minus landed"] == 0
    for name in ("requests", "bytes", "seconds", "duplicates", "lock wait seconds", "load id"):
        assert name in numbers
    assert query("select count(*) from openpanel.events") == [(4,)]


def test_a_range_is_one_run_with_each_days_own_numbers(vendor, filled, assets, instance, query):
    result = materialize(assets, instance, tags=RANGE)

    assert result.success
    counts = {day: numbers["dagster/partition_row_count"] for day, numbers in metadata(result).items()}
    assert counts == {"2026-03-04": 4, "2026-03-05": 5, "2026-03-06": 6}
    for numbers in metadata(result).values():
        assert numbers["dagster/row_count"] == 15  # of the table
        assert next(iter(numbers)) == "the day", "the picture comes first"
        assert numbers["announced by vendor"] == numbers["dagster/partition_row_count"]
        assert not [name for name in numbers if "in run" in name]


def test_the_preview_shows_rows_but_no_person(filled, assets, instance, vendor):
    vendor.add_profile("u-1", email="ada@example.com", first_name="Ada", is_external=True)
    preview = metadata(materialize(assets, instance, partition_key="2026-03-04"))["2026-03-04"]["preview"]

    assert "screen_view" in preview
    assert len(preview.splitlines()) == 2 + 4
    assert "ada@example.com" not in preview


@pytest.mark.parametrize("retry_policy", [dg.RetryPolicy(max_retries=2, delay=0)])
def test_a_refusal_fails_at_once_and_says_what_to_do(vendor, assets, instance):
    vendor.faults.add("status", status=401, times=10)
    result = materialize(assets, instance, partition_key="2026-03-04")

    failure = result.all_events[-1] if result.success else next(e for e in result.all_events if e.is_step_failure)
    text = str(failure.event_specific_data)
    assert "OPENPANEL_CLIENT_SECRET" in text
    assert READ.secret not in text
    assert len(vendor.requests) == 1


def test_missing_credentials_fail_the_run_with_the_variables_name(tmp_path, instance):
    target = WarehouseResource(database=str(tmp_path / "w.duckdb"), spool_dir=str(tmp_path / "s"))
    assets = openpanel_assets(streams=[EVENTS], start_date=DAY, openpanel=OpenPanelResource(), warehouse=target)
    result = materialize(assets, instance, partition_key="2026-03-04")

    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "OPENPANEL_CLIENT_ID is not set" in str(failure.event_specific_data)


def test_one_broken_day_does_not_keep_the_others(vendor, filled, assets, instance, query, no_pauses):
    """A backfill's run lands what it can; only the broken day needs another run."""

    def broken():
        vendor.faults.add("status", status=503, times=5)

    original = connector.sync.sync_day

    def sync_day(client, stream, day, **options):
        if day.day == 5:
            broken()
        return original(client, stream, day, **options)

    connector.sync.sync_day = sync_day
    try:
        result = materialize(assets, instance, tags=RANGE)
    finally:
        connector.sync.sync_day = original

    assert not result.success
    assert query("select _day::varchar, count(*) from openpanel.events group by 1 order by 1") == [
        ("2026-03-04", 4), ("2026-03-06", 6),
    ]  # fmt: skip
    key = assets[0].key
    assert instance.get_materialized_partitions(key) == {"2026-03-04", "2026-03-06"}


def test_a_day_that_dropped_keeps_no_other_from_landing_and_every_failure_is_told(
    vendor, filled, assets, instance, query
):
    """Else one day would keep yesterday from landing every night, until it leaves the lookback."""
    assert materialize(assets, instance, tags=RANGE).success
    for row in vendor.rows(DAY):
        vendor.remove(row["id"])
    for row in vendor.rows(DAY + timedelta(days=1)):
        vendor.remove(row["id"])
    vendor.add("late", at=f"{DAY + timedelta(days=2)}T23:00:00Z")

    result = materialize(assets, instance, tags=RANGE)

    assert query("select _day::varchar, count(*) from openpanel.events group by 1 order by 1") == [
        ("2026-03-04", 4), ("2026-03-05", 5), ("2026-03-06", 7),
    ]  # fmt: skip
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    told = failed.event_specific_data.user_failure_data.metadata
    assert told["where"].value == "openpanel.events[2026-03-05]"
    assert told["failed as well"].value.startswith("openpanel.events[2026-03-04]: the day holds 4 landed rows")


def test_a_sudden_drop_fails_and_a_tag_allows_it(vendor, filled, assets, instance, query):
    assert materialize(assets, instance, partition_key="2026-03-04").success
    for row in vendor.rows(DAY):
        vendor.remove(row["id"])

    assert not materialize(assets, instance, partition_key="2026-03-04").success
    assert query("select count(*) from openpanel.events") == [(4,)]
    assert materialize(assets, instance, partition_key="2026-03-04", tags={ALLOW_DROP_TAG: "true"}).success
    assert query("select count(*) from openpanel.events") == [(0,)]


def test_retries_do_not_multiply(vendor, filled, url, tmp_path, instance, no_pauses):
    """Five requests a try and three tries: fifteen, whatever the vendor does."""
    source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
    target = WarehouseResource(database=str(tmp_path / "w.duckdb"), spool_dir=str(tmp_path / "s"))
    policy = dg.RetryPolicy(max_retries=2, delay=0)
    assets = openpanel_assets(streams=[EVENTS], start_date=DAY, openpanel=source, warehouse=target, retry_policy=policy)
    vendor.faults.add("status", status=503, times=1000)

    assert not materialize(assets, instance, partition_key="2026-03-04").success
    assert len(vendor.requests) == 15


def test_today_is_refreshed_incrementally(vendor, url, tmp_path, instance, query):
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
    target = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "s"))
    assets = openpanel_assets(streams=[EVENTS], start_date=now.date(), openpanel=source, warehouse=target)
    vendor.add("a", at=now.strftime("%Y-%m-%dT00:00:00Z"))
    materialize(assets, instance, partition_key=f"{now.date()}")
    vendor.add("b", at=now.strftime("%Y-%m-%dT00:00:01Z"))
    result = materialize(assets, instance, partition_key=f"{now.date()}", tags={INCREMENTAL_TAG: "true"})

    assert result.success
    assert query("select landed, incremental from connector.landings order by landed_at") == [(1, False), (2, True)]


def test_cancelling_a_run_leaves_nothing_half_done(vendor, filled, assets, instance, query, tmp_path):
    assert materialize(assets, instance, partition_key="2026-03-04").success
    vendor.add("new", at="2026-03-04T20:00:00Z")
    vendor.faults.add("hang", times=1, seconds=60.0)
    asked = len(vendor.requests)

    def cancel():
        while len(vendor.requests) == asked:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=cancel).start()
    started = time.monotonic()
    with pytest.raises(DagsterExecutionInterruptedError):
        dg.materialize(assets, instance=instance, partition_key="2026-03-04")

    assert time.monotonic() - started < 30, "the hanging request was not waited for"
    assert query("select count(*) from openpanel.events") == [(4,)]
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []


def test_days_landed_before_a_cancel_stay_and_are_shown(vendor, filled, assets, instance, query):
    def cancel():
        while not any(request.params.get("start") == "2026-03-05" for request in vendor.requests):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    vendor.before_page[1] = lambda: vendor.faults.add("hang", times=1, seconds=60.0)
    threading.Thread(target=cancel).start()
    with pytest.raises(DagsterExecutionInterruptedError):
        dg.materialize(assets, instance=instance, tags=RANGE)

    assert query("select distinct _day::varchar from openpanel.events") == [("2026-03-04",)]
    assert instance.get_materialized_partitions(assets[0].key) == {"2026-03-04"}


def test_the_warehouse_resource_is_a_duckdb_resource(tmp_path):
    from dagster_duckdb import DuckDBResource

    resource = WarehouseResource(database=str(tmp_path / "w.duckdb"))
    assert isinstance(resource, DuckDBResource)
    with pytest.raises(ZeroDivisionError), resource.get_connection() as connection:
        connection.execute("create table t as select 1 as a")
        raise ZeroDivisionError
    with resource.get_reader() as connection:
        assert connection.execute("select a from t").fetchone() == (1,)


def test_progress_is_said_while_a_long_day_runs(filled, instance, url, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(connector.meter, "TELL_EVERY", 0.0)
    stream = dataclasses.replace(EVENTS, query=dataclasses.replace(EVENTS.query, limit=2))
    source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
    target = WarehouseResource(database=str(tmp_path / "w.duckdb"), spool_dir=str(tmp_path / "s"))
    assets = openpanel_assets(start_date=DAY, streams=[stream], openpanel=source, warehouse=target)

    assert materialize(assets, instance, partition_key="2026-03-06").success
    assert "page 2/3, 4 of 6 rows" in capfd.readouterr().err


def test_two_readers_do_not_stop_a_landing(filled, assets, instance, tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    assert materialize(assets, instance, partition_key="2026-03-04").success
    stop = threading.Event()
    seen = []

    def read():
        while not stop.is_set():
            with warehouse.read() as connection:
                seen.append(
                    connection.execute("select count(*) from openpanel.events where _day = '2026-03-04'").fetchone()[0]
                )

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(3):
            assert materialize(assets, instance, partition_key="2026-03-04").success
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert set(seen) == {4}
