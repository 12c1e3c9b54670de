"""Old days that gained rows are found by their count, and only they are asked for again."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from connector import EVENTS, Warehouse
from connector.dagster import OpenPanelResource, openpanel_assets, openpanel_drift_sensor

TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=back) for back in (1, 2, 3, 4, 5)]


@pytest.fixture
def events(resources):
    return openpanel_assets(streams=[EVENTS], start_date=DAYS[-1], **resources)[0]


@pytest.fixture
def landed(vendor, sync):
    for day in DAYS:
        vendor.add(f"on-{day}", at=f"{day}T01:00:00Z")
        sync(day)
    vendor.requests.clear()


def tick(sensor, cursor=None):
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, cursor=cursor) as context,
    ):
        return sensor(context)


def test_only_the_days_that_moved_are_requested(vendor, landed, events, resources):
    vendor.add("late", at=f"{DAYS[2]}T02:00:00Z")

    result = tick(openpanel_drift_sensor(events, EVENTS, **resources))

    assert [request.partition_key for request in result.run_requests] == [str(DAYS[2])]
    assert result.run_requests[0].tags["connector/drift"] == "1 -> 2"
    assert len(vendor.requests) == 5, "one request a day"
    assert all(str(request.params["limit"]) == "1" for request in vendor.requests)


def test_a_tick_spends_its_share_and_the_next_goes_on(vendor, landed, events, resources):
    sensor = openpanel_drift_sensor(events, EVENTS, budget_share=0.02, **resources)
    vendor.add("late", at=f"{DAYS[0]}T02:00:00Z")
    cursor, asked, requested = None, [], []
    for _ in range(3):
        vendor.requests.clear()
        result = tick(sensor, cursor)
        cursor = result.cursor
        asked.append(len(vendor.requests))
        requested += [request.partition_key for request in result.run_requests or []]

    assert asked == [2, 2, 1]
    assert requested == [str(DAYS[0])]
    assert "again at" in tick(sensor, cursor).skip_message


@pytest.mark.parametrize("cursor", ["", "rubbish", "[]", '{"next": "soon"}', '{"pass_started": 3}'])
def test_a_cursor_that_is_not_one_starts_over(vendor, landed, events, resources, cursor):
    result = tick(openpanel_drift_sensor(events, EVENTS, **resources), cursor)
    assert result.skip_reason.skip_message == "5 days asked, 0 moved, pass done"


def test_days_never_landed_cost_nothing(vendor, events, resources):
    result = tick(openpanel_drift_sensor(events, EVENTS, **resources))
    assert "none of the last 30 closed days is landed" in result.skip_message
    assert vendor.requests == []


def test_without_credentials_the_tick_says_which_variable(landed, events, resources):
    sensor = openpanel_drift_sensor(events, EVENTS, warehouse=resources["warehouse"], openpanel=OpenPanelResource())
    assert "OPENPANEL_CLIENT_ID is not set" in tick(sensor).skip_message


def test_a_vendor_that_is_down_is_a_reason_not_a_failure(vendor, landed, events, resources, no_pauses):
    vendor.faults.add("status", status=503, times=100)
    assert "did not answer" in tick(openpanel_drift_sensor(events, EVENTS, **resources)).skip_message


def test_coverage_tells_whole_moved_and_never_landed(vendor, landed, events, resources, sync, tmp_path, query):
    vendor.add("late", at=f"{DAYS[2]}T02:00:00Z")
    sync(TODAY - timedelta(days=8))
    tick(openpanel_drift_sensor(events, EVENTS, **resources))

    states = dict(query("select day::varchar, state from connector.coverage where table_name = 'openpanel.events'"))
    assert states[str(DAYS[2])] == "moved"
    assert states[str(DAYS[0])] == "whole"
    assert states[str(TODAY - timedelta(days=7))] == "never landed"
    assert query(f"select landed, vendor_count from connector.coverage where day = '{DAYS[2]}'") == [(1, 2)]
    sync(DAYS[2])
    assert query(f"select landed, vendor_count, state from connector.coverage where day = '{DAYS[2]}'") == [
        (2, 2, "whole")
    ]


def test_a_busy_warehouse_is_a_reason(landed, events, resources, monkeypatch):
    monkeypatch.setattr("connector.dagster.openpanel.drift.Warehouse", lambda name, **_: Warehouse(name, lock_wait=0.2))
    store = resources["warehouse"].warehouse()
    with store.write():
        assert "locked" in tick(openpanel_drift_sensor(events, EVENTS, **resources)).skip_message
