"""The real daemon waits for an export behind a stranger's, is killed whole, and lands it once: read in its ticks."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from connector import Warehouse
from connector.catalogue.userpilot import DEFAULT_EVENT_TYPES
from connector.dagster.userpilot.assets import JOB_TAG
from connector.sandbox import Userpilot, serve_userpilot, vendor_variables
from dagster_project.local import local_dagster

SENSOR = "userpilot_export_sensor"
LAST = datetime.now(UTC).date() - timedelta(days=1)
DAYS = [LAST - timedelta(days=back) for back in (2, 1, 0)]


@pytest.fixture
def pilot():
    vendor = Userpilot(seconds_to_complete=3600.0)  # until it is let be over: a tick sees it run first
    vendor.load_sample(DAYS[0] - timedelta(days=1), LAST)
    return vendor


@pytest.fixture
def variables(pilot, tmp_path):
    with serve_userpilot(pilot) as (api, _):
        yield {
            **vendor_variables(userpilot=api),
            "WAREHOUSE": str(tmp_path / "w.duckdb"),
            "SPOOL_DIR": str(tmp_path / "spool"),
            "START_DATE": DAYS[0].isoformat(),
            "CONNECTOR_DBT": "off",
        }


def said(dagster):
    return [tick["skipReason"] for tick in dagster.ticks(SENSOR) if tick["skipReason"]]


def wait_until(true, seconds=90.0):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.5)


def requests(pilot):
    return [request for request in pilot.requests if request.method == "POST"]


def landed(tmp_path):
    with Warehouse(tmp_path / "w.duckdb").read() as connection:
        return dict(connection.execute("select _day, count(*) from userpilot.events group by 1").fetchall())


def truth(pilot):
    return {day: pilot.count(day, types=DEFAULT_EVENT_TYPES, distinct=True) for day in DAYS}


@pytest.mark.timeout(500)
def test_behind_a_strangers_export_and_through_a_power_cut(pilot, variables, tmp_path):
    stranger = pilot.foreign_job(seconds=3600.0)
    with local_dagster(tmp_path, variables) as dagster:
        backfill = dagster.backfill(["userpilot", "export_job"], partitions=[day.isoformat() for day in DAYS])
        runs = dagster.wait_for_backfill(backfill)
        assert {run["status"] for run in runs} == {"SUCCESS"}  # over in seconds: no run waits for the stranger
        wait_until(lambda: any("the export slot is held by" in line for line in said(dagster)))
        assert stranger.id[:4] in next(line for line in said(dagster) if "held by" in line)
        assert all(run["status"] == "SUCCESS" for run in dagster.runs_tagged("dagster/backfill"))
        pilot.finish_job(stranger.id)
        wait_until(lambda: any("in progress" in line for line in said(dagster)))
        before = said(dagster)
        dagster.kill()

    (ours,) = (job for job in pilot.jobs.all if job.id != stranger.id)
    with local_dagster(tmp_path, variables) as dagster:
        pilot.finish_job(ours.id)
        assert dagster.wait_for_tagged_run(JOB_TAG, SENSOR, timeout=120.0) == "SUCCESS"
        ticks = dagster.ticks(SENSOR)
        assert len(said(dagster)) >= len(before)  # the history of the ticks survived as well
        wait_until(lambda: said(dagster)[-1] == "no export is under way")
    assert landed(tmp_path) == truth(pilot)
    accepted = [request for request in requests(pilot) if request.status < 300]
    assert len(accepted) == 1
    requested = [key for tick in ticks for key in tick["runKeys"]]
    assert [key.partition(":")[0] for key in requested] == ["ask", "land"]  # once the slot was free, and once landed
