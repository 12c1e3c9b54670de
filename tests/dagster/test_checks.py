"""Checks look at the table and say what to do; they fail when it is not what it should be."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from connector import EVENTS, LOOKUPS, Chart, Questions, Receipt, Series
from connector.catalogue.openpanel import STREAMS
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.dagster import openpanel_assets
from connector.dagster.checks import (
    check_results,
    check_specs,
    file_check_results,
    file_check_specs,
    lookup_check_results,
)
from connector.landing.days_from_files import Origin, land_files
from connector.openpanel.reports.config import streams
from tests.conftest import DAY

KEY = dg.AssetKey(["openpanel", "events"])


@pytest.fixture
def landed(vendor, sync):
    for hour in range(3):
        vendor.add(f"e{hour}", at=f"{DAY}T0{hour}:00:00Z")
    return sync()


def results(receipts, warehouse, stream=EVENTS):
    return {result.check_name: result for result in check_results(stream, KEY, receipts, warehouse)}


def test_a_whole_day_passes_with_a_sentence_numbers_and_its_partition(landed, warehouse):
    found = results([landed], warehouse)
    assert all(result.passed for result in found.values())
    for result in found.values():
        assert result.description.endswith(".")
        assert any(isinstance(value.value, (int, float)) for value in result.metadata.values()), result.check_name
    counted = found["vendor_count_matches"]
    assert counted.metadata["rows"].value == 3
    assert counted.metadata["vendor minus landed"].value == 0
    assert counted.metadata["partition"].value == str(DAY)
    assert found["nothing_unexpected"].metadata["share with extras"].value == 0.0


def test_an_old_day_is_old_once_two_nights_had_their_chance(landed, warehouse):
    """Whoever lands a day of last year first chose to; a table that was landed before is behind."""
    assert results([landed], warehouse)["newest_day_is_recent"].passed
    with warehouse.write() as connection:
        connection.execute("update connector.landings set landed_at = landed_at - interval 3 day")
    recent = results([landed], warehouse)["newest_day_is_recent"]
    assert not recent.passed
    assert recent.metadata["days old"].value > 100


@pytest.fixture
def asset(resources):
    (one,) = openpanel_assets(start_date=DAY, streams=[EVENTS], **resources)
    return one


def executed(asset, instance):
    """Checks alone, as *Execute* in the UI runs them."""
    job = dg.Definitions(assets=[asset]).resolve_implicit_global_asset_job_def()
    done = job.get_subset(asset_selection=set(), asset_check_selection=set(asset.check_keys)).execute_in_process(
        instance=instance, raise_on_error=False
    )
    assert not done.asset_materializations_for_node(asset.op.name)
    return {one.check_name: one for one in done.get_asset_check_evaluations()}


def test_checks_can_be_executed_alone_and_look_at_the_newest_days(vendor, landed, asset, warehouse):
    vendor.requests.clear()
    with dg.DagsterInstance.ephemeral() as instance:
        assert {one.passed for one in executed(asset, instance).values()} == {True}
        with warehouse.write() as connection:
            connection.execute("delete from openpanel.events where id = (select min(id) from openpanel.events)")
        found = executed(asset, instance)
    assert [name for name, one in found.items() if not one.passed] == ["vendor_count_matches"]
    assert vendor.requests == []


def test_a_question_that_was_never_asked_is_told(warehouse):
    configured = Questions(charts=(Chart(name="views", series=(Series(event="screen_view"),)),))
    charts = next(one for one in streams(configured) if one.name == "charts")
    asked = results([], warehouse, charts)["every_question_was_asked"]
    assert not asked.passed
    assert asked.metadata["days"].value == "views"
    with warehouse.write() as connection:
        connection.execute("create schema openpanel; create table openpanel.charts as select 'views' as chart")
    assert results([], warehouse, charts)["every_question_was_asked"].passed


def test_a_list_whose_ids_are_not_unique_is_told(warehouse):
    flows = next(one for one in LOOKUPS if one.name == "flows")
    with warehouse.write() as connection:
        connection.execute(
            "create schema userpilot; create table userpilot.flows as select * from (values ('a', true), ('a', false), "
            "('b', true)) as t (id, _current), (select null::json as _extra)"
        )
    (one,) = lookup_check_results(flows, FILES, warehouse)
    assert (one.passed, one.metadata["rows"].value) == (True, 2)
    with warehouse.write() as connection:
        connection.execute("update userpilot.flows set _current = true")
    (one,) = lookup_check_results(flows, FILES, warehouse)
    assert not one.passed


def test_a_key_that_stands_twice_blocks(landed, warehouse):
    with warehouse.write() as connection:
        connection.execute("insert into openpanel.events select * from openpanel.events limit 1")
    found = results([landed], warehouse)
    assert not found["key_is_unique"].passed
    assert not found["vendor_count_matches"].passed
    assert "land these days again" in found["key_is_unique"].description


def test_rows_that_left_the_table_block(landed, warehouse):
    with warehouse.write() as connection:
        connection.execute("delete from openpanel.events where id = (select min(id) from openpanel.events)")
    found = results([landed], warehouse)
    assert not found["vendor_count_matches"].passed
    assert "3 announced, 2 rows" in found["vendor_count_matches"].metadata["days"].value


def test_a_surprise_warns_and_names_the_field(vendor, sync, warehouse, landed):
    vendor.faults.add("extra_field", field="brandNew", value=1)
    found = results([sync()], warehouse)
    assert not found["nothing_unexpected"].passed
    assert found["nothing_unexpected"].severity == dg.AssetCheckSeverity.WARN
    assert found["nothing_unexpected"].metadata["fields"].value == "brandNew"


def test_a_recent_day_is_recent(vendor, sync, warehouse):
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    vendor.add("y", at=f"{yesterday}T01:00:00Z")
    assert results([sync(yesterday)], warehouse)["newest_day_is_recent"].passed


def test_a_cut_list_is_a_failed_check():
    stream = next(one for one in STREAMS if one.name == "insights_pages")
    receipt = Receipt(
        table=stream.table, day=DAY, load_id="x", announced=0, received=0, landed=0, duplicates=0, replaced=0,
        warnings=("pages was cut at 1000 rows by the vendor",),
    )  # fmt: skip
    from connector import Warehouse

    found = results([receipt], Warehouse("does-not-exist.duckdb"), stream)
    assert not found["nothing_cut"].passed
    assert "cut at 1000" in found["nothing_cut"].metadata["days"].value


def test_what_would_make_a_model_wrong_is_blocking():
    blocking = {spec.name for stream in STREAMS for spec in check_specs(stream, KEY) if spec.blocking}
    assert blocking == {"key_is_unique", "vendor_count_matches"}


FILES = dg.AssetKey(["userpilot", "events"])


@pytest.fixture
def exported(tmp_path, warehouse):
    """Two rows of one key that differ, and a third, landed from a file."""
    rows = [
        {
            "app_token": "NX",
            "event_type": "track",
            "user_id": "u",
            "inserted_at": f"{DAY}T01:00:00Z",
            "metadata": {"n": n},
        }
        for n in (1, 2)
    ]
    rows.append(rows[0] | {"inserted_at": f"{DAY}T02:00:00Z", "surprise": 1})
    file = tmp_path / "chunk"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return land_files(warehouse, EXPORTED, [file], Origin(first=DAY, last=DAY, job_id="j", fingerprint="f"))


def file_results(receipt, warehouse):
    landed = {day.day: day.landed for day in receipt.days}
    found = file_check_results(EXPORTED, FILES, landed, receipt.strangers, warehouse)
    return {result.check_name: result for result in found}


def test_rows_of_one_key_that_differ_warn_and_block_nothing(exported, warehouse):
    found = file_results(exported, warehouse)
    assert found["landed_rows_are_there"].passed
    assert not found["keys_are_told_apart"].passed
    assert found["keys_are_told_apart"].severity == dg.AssetCheckSeverity.WARN
    assert found["keys_are_told_apart"].metadata["days"].value == f"{DAY}: 1"
    assert found["nothing_unexpected"].metadata["fields"].value == "surprise"


def test_exported_rows_that_left_the_table_block(exported, warehouse):
    with warehouse.write() as connection:
        connection.execute("delete from userpilot.events where _extra is not null")
    found = file_results(exported, warehouse)
    assert not found["landed_rows_are_there"].passed
    assert found["landed_rows_are_there"].severity == dg.AssetCheckSeverity.ERROR
    assert "3 landed, 2 there" in found["landed_rows_are_there"].metadata["days"].value
    assert {spec.name for spec in file_check_specs(EXPORTED, FILES) if spec.blocking} == {"landed_rows_are_there"}
