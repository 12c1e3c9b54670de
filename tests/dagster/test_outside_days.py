"""After START_DATE moved, what is requested are partitions that exist; the other days are named, and nothing fails."""

import logging
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from connector import EVENTS
from connector.dagster import (
    connector_alerts,
    openpanel_assets,
    openpanel_drift_sensor,
)
from connector.dagster.runs import within
from connector.warehouse.coverage import record_counts

TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=back) for back in range(8, 0, -1)]


@pytest.fixture
def landed(vendor, sync):
    """Eight days; the first three of them and the last got a late row since."""
    for day in DAYS:
        vendor.add(f"on-{day}", at=f"{day}T01:00:00Z")
        sync(day)
    for day in (*DAYS[:3], DAYS[-1]):
        vendor.add(f"late-{day}", at=f"{day}T02:00:00Z")
    vendor.requests.clear()


def events(resources, start):
    (asset,) = openpanel_assets(streams=[EVENTS], start_date=start, **resources)
    return asset


class Said(logging.Handler):
    """What a tick logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def tick(asset, sensor, cursor=None, said=None):
    """A tick as the daemon has it: what is requested is checked against the partitions."""
    repository = dg.Definitions(assets=[asset], sensors=[sensor]).get_repository_def()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository) as context,
    ):
        if said:
            context.log.addHandler(said)
        return sensor.evaluate_tick(context)


def test_late_rows_before_the_first_partition_are_named_and_those_after_it_are_requested(vendor, landed, resources):
    asset = events(resources, DAYS[4])
    sensor = openpanel_drift_sensor(asset, EVENTS, every_hours=0, **resources)
    said = Said()
    result = tick(asset, sensor, said=said)
    assert [request.partition_key for request in result.run_requests] == [str(DAYS[-1])]
    assert len(vendor.requests) == 4, "days that cannot be requested cost nothing"
    (line,) = said.lines
    assert f"{DAYS[0]}..{DAYS[3]}" in line
    assert "START_DATE" in line
    tick(asset, sensor, result.cursor, said=said)
    assert len(said.lines) == 1, "named once"


def test_a_pass_that_was_interrupted_by_the_move_goes_on_with_the_days_that_are_left(landed, resources):
    before = events(resources, DAYS[0])
    cursor = tick(before, openpanel_drift_sensor(before, EVENTS, budget_share=0.01, **resources)).cursor
    after = events(resources, DAYS[6])
    result = tick(after, openpanel_drift_sensor(after, EVENTS, **resources), cursor)
    assert [request.partition_key for request in result.run_requests] == [str(DAYS[-1])]
    assert '"next":""' in result.cursor


@pytest.mark.parametrize("start", [TODAY, TODAY + timedelta(days=3)])
def test_where_no_landed_day_has_a_partition_the_tick_says_so(vendor, landed, resources, start):
    asset = events(resources, start)
    result = tick(asset, openpanel_drift_sensor(asset, EVENTS, **resources))
    assert result.run_requests == []
    assert f"{DAYS[0]}..{DAYS[-1]}" in result.skip_message
    assert vendor.requests == []


def test_a_cursor_of_before_is_understood(landed, resources):
    asset = events(resources, DAYS[0])
    sensor = openpanel_drift_sensor(asset, EVENTS, **resources)
    old = f'{{"next": "{DAYS[5]}", "pass_started": "2026-03-04T01:00:00+00:00", "v": 1}}'
    assert [request.partition_key for request in tick(asset, sensor, old).run_requests] == [str(DAYS[-1])]
    rests = f'{{"next": "", "pass_started": "{datetime.now(UTC).isoformat()}", "v": 1}}'
    assert "again at" in tick(asset, sensor, rests).skip_message


def test_days_without_a_partition_are_not_told_as_broken_moved_or_missing(vendor, landed, resources):
    told = []
    vendor.faults.add("status", "/export/events", status=401, times=None)
    with dg.instance_for_test() as instance:
        for day in (DAYS[1], DAYS[6]):
            dg.materialize(
                [events(resources, DAYS[0])], instance=instance, partition_key=str(day), raise_on_error=False
            )
        record_counts(resources["warehouse"].warehouse(), EVENTS, {DAYS[2]: 7, DAYS[5]: 7})
        _, sensor = connector_alerts(
            [events(resources, DAYS[4])], tell=told.append, warehouse=resources["warehouse"], broken_hours=0
        )
        with dg.build_sensor_context(instance=instance) as context:
            sensor.evaluate_tick(context)
    assert sorted((alert.state, str(DAYS[6]) in alert.what, str(DAYS[5]) in alert.what) for alert in told) == [
        ("broken", True, False),
        ("moved", False, True),
    ]
    assert not any(str(day) in alert.what for alert in told for day in DAYS[:4])


def test_days_are_split_into_those_with_a_partition_and_those_without():
    partitions = dg.DailyPartitionsDefinition(str(DAYS[2]), end_offset=1)
    inside, outside = within(partitions, [TODAY + timedelta(days=1), *DAYS, TODAY])
    assert inside == [*DAYS[2:], TODAY]
    assert outside == [*DAYS[:2], TODAY + timedelta(days=1)]
    assert within(None, DAYS) == ([], DAYS)
