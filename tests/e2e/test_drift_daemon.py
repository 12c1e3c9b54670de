"""With the daemon running and nobody clicking: a late event in an old day lands, and only its day runs."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from connector import Warehouse
from connector.sandbox import OpenPanel, serve, vendor_variables
from dagster_project.local import local_dagster

RESET = """
mutation ($selector: SensorSelector!) { setSensorCursor(sensorSelector: $selector) { __typename } }
"""
SENSOR = {
    "repositoryLocationName": "dagster_project.definitions",
    "repositoryName": "__repository__",
    "sensorName": "openpanel_drift_sensor",
}
RUNS = "{ runsOrError(limit: 50) { ... on Runs { results { status tags { key value } } } } }"


@pytest.mark.timeout(400)
def test_a_late_event_is_found_and_landed_by_itself(tmp_path):
    vendor = OpenPanel()
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in (4, 3, 2, 1)]
    for day in days:
        for hour in range(3):
            vendor.add(f"{day}-{hour}", at=f"{day}T0{hour}:00:00Z")
    with serve(vendor.app) as url:
        variables = {
            **vendor_variables(openpanel=url),
            "WAREHOUSE": str(tmp_path / "w.duckdb"),
            "SPOOL_DIR": str(tmp_path / "spool"),
            "START_DATE": days[0].isoformat(),
        }
        with local_dagster(tmp_path, variables) as dagster:
            backfill = dagster.backfill(["openpanel", "events"], partitions=[day.isoformat() for day in days])
            runs = dagster.wait_for_backfill(backfill)
            vendor.add("late", at=f"{days[1]}T23:00:00Z")
            # The sensor may have looked already, and would look again in six hours.
            assert dagster.query(RESET, selector=SENSOR)["setSensorCursor"]["__typename"] == "Sensor"
            assert {run["status"] for run in runs} == {"SUCCESS"}
            warehouse = Warehouse(tmp_path / "w.duckdb")

            def landed():
                with warehouse.read() as connection:
                    rows = connection.execute("select _day, count(*) from openpanel.events group by 1").fetchall()
                return dict(rows)

            until = time.monotonic() + 200
            while landed()[days[1]] != 4 and time.monotonic() < until:
                time.sleep(2)
            runs = dagster.query(RUNS)["runsOrError"]["results"]
        assert landed() == {day: 4 if day == days[1] else 3 for day in days}
    drift = [
        {tag["key"]: tag["value"] for tag in run["tags"]}
        for run in runs
        if any(tag["key"] == "connector/drift" for tag in run["tags"])
    ]
    assert [tags["dagster/partition"] for tags in drift] == [days[1].isoformat()]
    assert drift[0]["connector/drift"] == "3 -> 4"
