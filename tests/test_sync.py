"""A day travels from vendor to table, also when it moves on the way."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from connector import (
    EVENTS,
    ContractError,
    IncompleteError,
    RejectedError,
    SettingsError,
    TransientError,
    Warehouse,
)
from tests.conftest import DAY
from tests.kinds import only

TWO_ROW_PAGES = dataclasses.replace(EVENTS, query=dataclasses.replace(EVENTS.query, limit=2))


def ids(query):
    return [row[0] for row in query("select id from openpanel.events order by id")]


def truth(vendor, day=DAY):
    return sorted({row["id"] for row in vendor.rows(day)})


@pytest.fixture
def hours(vendor):
    for hour in range(5):
        vendor.add(f"e{hour}", at=f"2026-03-04T0{hour}:00:00Z", properties={"a.b": "5"}, groups=["acme"])


def test_a_day_lands_with_all_its_fields(vendor, sync, query, hours):
    receipt = sync()

    assert ids(query) == truth(vendor)
    assert (receipt.announced, receipt.landed, receipt.requests) == (5, 5, 1)
    property_ = "json_extract_string(properties, '$.\"a.b\"')"
    assert query(f"select distinct {property_}, groups, project_id from openpanel.events") == [("5", ["acme"], "demo")]


@only("file")  # a lake has one name, which no schema has
def test_nothing_is_asked_for_a_file_that_has_the_schemas_name(vendor, tmp_path, sync, hours):
    with pytest.raises(SettingsError, match=r"openpanel\.duckdb"):
        sync(warehouse=Warehouse(tmp_path / "openpanel.duckdb"))

    assert not vendor.requests
    assert not (tmp_path / "openpanel.duckdb").exists()


@pytest.mark.parametrize("day", [DAY.isoformat(), datetime(DAY.year, DAY.month, DAY.day, 23, tzinfo=UTC)])
def test_a_day_may_be_given_as_a_text_or_a_moment(sync, hours, day):
    receipt = sync(day)
    assert (receipt.day, receipt.landed) == (DAY, 5)


def test_a_day_that_moves_is_walked_again(vendor, sync, query, hours):
    vendor.before_page[2] = lambda: vendor.add("late", at="2026-03-04T09:00:00Z")

    receipt = sync(stream=TWO_ROW_PAGES)

    assert receipt.landed == 6
    assert ids(query) == truth(vendor)


def test_a_day_that_never_rests_keeps_its_old_rows(vendor, sync, query, hours):
    sync()
    number = iter(range(100))

    def again():
        vendor.add(f"late{next(number)}", at="2026-03-04T09:00:00Z")
        vendor.before_page[2] = again

    vendor.before_page[2] = again
    with pytest.raises(IncompleteError):
        sync(stream=TWO_ROW_PAGES)

    assert len(ids(query)) == 5
    assert query("select status from connector.landings order by landed_at") == [("landed",), ("failed",)]
    walks = sum(request.params.get("page") == 1 and request.params.get("limit") == 2 for request in vendor.requests)
    assert walks in (0, 3), "a bounded number of walks"


def test_ids_stored_twice_far_apart_land_once(vendor, sync, query):
    vendor.add("same", at="2026-03-04T05:00:00Z")
    for hour in (2, 3, 4):
        vendor.add(f"e{hour}", at=f"2026-03-04T0{hour}:00:00Z")
    vendor.add("same", at="2026-03-04T01:00:00Z")

    receipt = sync(stream=TWO_ROW_PAGES)

    assert (receipt.received, receipt.landed, receipt.duplicates) == (5, 4, 1)


@pytest.mark.parametrize(
    ("fault", "error"),
    [("missing_data", ContractError), ("missing_total", ContractError), ("status", TransientError)],
)
def test_a_fault_leaves_the_landed_day_in_place(vendor, sync, query, hours, no_pauses, fault, error):
    sync()
    vendor.faults.add(fault, times=20, status=503)
    with pytest.raises(error):
        sync()
    assert len(ids(query)) == 5


def test_an_undeclared_field_is_kept_beside_the_columns(vendor, sync, query, hours):
    vendor.faults.add("extra_field", row=3, field="brandNew", value={"a": 1})
    receipt = sync()

    assert receipt.strangers == {"brandNew"}
    assert query("select _extra::varchar from openpanel.events where _extra is not null") == [('{"brandNew":{"a":1}}',)]


def test_no_spool_is_left_behind(vendor, sync, tmp_path, hours, no_pauses):
    sync()
    vendor.faults.add("missing_data", times=20)
    with pytest.raises(ContractError):
        sync()
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []


def test_a_newer_event_costs_one_page(vendor, sync, query):
    for minute in range(40):
        vendor.add(f"m{minute:02}", at=f"2026-03-04T{minute // 4:02}:{minute % 4 * 15:02}:00Z")
    sync(stream=TWO_ROW_PAGES)
    vendor.add("new", at="2026-03-04T10:00:00Z")
    vendor.requests.clear()

    receipt = sync(stream=TWO_ROW_PAGES, incremental=True)

    assert receipt.incremental
    assert (receipt.announced, receipt.landed) == (41, 41)
    assert ids(query) == truth(vendor)
    assert len(vendor.requests) < 6, "20 pages would be the whole day"


def test_an_unchanged_day_stays_as_it_is(vendor, sync, query, hours):
    first = sync()
    second = sync(incremental=True)
    assert (second.incremental, second.landed) == (True, first.landed)


def test_late_rows_deeper_than_the_newest_pages_cause_a_full_walk(vendor, sync, query):
    """A phone that was offline: the count does not add up from the newest pages alone."""
    for hour in range(24):
        vendor.add(f"h{hour:02}", at=f"2026-03-04T{hour:02}:00:00Z")
    sync(stream=TWO_ROW_PAGES)
    vendor.add("late", at="2026-03-04T00:30:00Z")

    receipt = sync(stream=TWO_ROW_PAGES, incremental=True)

    assert not receipt.incremental
    assert ids(query) == truth(vendor)


def test_a_first_incremental_run_reads_the_whole_day(vendor, sync, query, hours):
    assert not sync(incremental=True).incremental
    assert ids(query) == truth(vendor)


def test_incremental_counts_twins_only_once(vendor, sync, query, hours):
    vendor.add("twin", at="2026-03-04T06:00:00Z")
    vendor.add("twin", at="2026-03-04T06:00:00Z")
    sync()
    vendor.add("new", at="2026-03-04T07:00:00Z")
    receipt = sync(incremental=True)

    assert receipt.incremental
    assert (receipt.announced, receipt.landed, receipt.duplicates) == (8, 7, 1)


def test_any_sequence_of_days_ends_like_the_source(vendor, sync, query):
    for day in range(3):
        for hour in range(day + 1):
            vendor.add(f"d{day}h{hour}", at=f"2026-03-0{4 + day}T0{hour}:00:00Z")
    for offset in (2, 0, 1, 1, 0):
        sync(DAY + timedelta(days=offset))

    assert ids(query) == sorted(truth(vendor) + truth(vendor, DAY + timedelta(1)) + truth(vendor, DAY + timedelta(2)))


def test_a_full_spool_disk_is_said_and_nothing_lands(vendor, sync, hours, tmp_path):
    (tmp_path / "spool").write_text("not a folder")
    with pytest.raises(TransientError, match="SPOOL_DIR"):
        sync()


def test_an_unknown_kind_of_warehouse_is_refused_in_one_sentence(tmp_path):
    from connector import Warehouse

    for name in ("postgresql://db/analytics", "s3://bucket/x", "ducklake:x.duckdb", "md:"):
        with pytest.raises(RejectedError, match="WAREHOUSE"):
            Warehouse(name)
