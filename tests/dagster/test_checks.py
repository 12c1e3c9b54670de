"""Checks look at the table and say what to do; they fail when it is not what it should be."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from connector import EVENTS, Receipt
from connector.catalogue.openpanel import STREAMS
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.dagster.checks import check_results, check_specs, file_check_results, file_check_specs
from connector.landing.days_from_files import Origin, land_files
from tests.conftest import DAY

KEY = dg.AssetKey(["openpanel", "events"])


@pytest.fixture
def landed(vendor, sync):
    for hour in range(3):
        vendor.add(f"e{hour}", at=f"{DAY}T0{hour}:00:00Z")
    return sync()


def results(receipts, warehouse, stream=EVENTS):
    return {result.check_name: result for result in check_results(stream, KEY, receipts, warehouse)}


def test_a_whole_day_passes(landed, warehouse):
    found = results([landed], warehouse)
    assert {name for name, result in found.items() if not result.passed} == {"newest_day_is_recent"}


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
