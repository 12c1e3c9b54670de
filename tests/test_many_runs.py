"""Many runs into one DuckDB file, with readers: no lock error reaches anybody, a day is seen whole or not at all."""

import json
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest

from connector.sandbox import OpenPanel, serve, vendor_variables

FIRST = date(2026, 1, 1)
ROWS = 300

RUN = """
import os, sys
import dagster as dg
from dagster_project.definitions import defs
with dg.DagsterInstance.ephemeral() as instance:
    result = dg.materialize(
        list(defs.assets), selection="key:openpanel/events", partition_key=sys.argv[1], instance=instance,
        raise_on_error=False,
    )
failure = next((event for event in result.all_events if event.is_step_failure), None)
print("success" if result.success else failure.event_specific_data.error)
"""

READER = """
import json, sys, time
from pathlib import Path
from connector import Warehouse, BusyError, RejectedError
warehouse, stop, seen, reads = Warehouse(sys.argv[1]), Path(sys.argv[2]), set(), 0
while not stop.exists():
    if warehouse.exists():
        with warehouse.read() as connection:
            tables = connection.execute("select count(*) from duckdb_tables() where table_name = 'events'").fetchone()
            if tables[0]:
                seen |= set(connection.execute(
                    "select count(*), count(distinct _load_id) from openpanel.events group by _day").fetchall())
        reads += 1
    time.sleep(0.02)
print(json.dumps({"seen": sorted(seen), "reads": reads}))
"""


@pytest.mark.parametrize("days", [12, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_four_runs_at_a_time_and_two_readers(tmp_path, days):
    vendor = OpenPanel()
    for number in range(days):
        day = FIRST + timedelta(days=number)
        vendor.load({"id": f"{day}-{n}", "name": "x", "created_at": f"{day}T{n % 24:02}:00:00Z"} for n in range(ROWS))
    stop = tmp_path / "stop"
    with serve(vendor.app) as url:
        environment = {
            **os.environ,
            **vendor_variables(openpanel=url),
            "WAREHOUSE": str(tmp_path / "w.duckdb"),
            "SPOOL_DIR": str(tmp_path / "spool"),
            "START_DATE": FIRST.isoformat(),
        }

        def run(number):
            arguments = [sys.executable, "-c", textwrap.dedent(RUN), str(FIRST + timedelta(days=number))]
            done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
            return done.stdout.strip() or done.stderr[-500:]

        readers = [
            subprocess.Popen(
                [sys.executable, "-c", READER, str(tmp_path / "w.duckdb"), str(stop)], stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        try:
            with ThreadPoolExecutor(4) as pool:
                outcomes = list(pool.map(run, range(days)))
        finally:
            stop.touch()
        told = [json.loads(reader.communicate(timeout=60)[0]) for reader in readers]

    assert outcomes == ["success"] * days
    assert [reader.returncode for reader in readers] == [0, 0]
    for reader in told:
        assert reader["reads"] > 10
        assert reader["seen"] == [[ROWS, 1]], "a day was seen in part, or as two versions"
    assert vendor.refusals == 0
