"""The DAG of the page, run by a real Airflow against the sandbox: it waits by being rescheduled, and lands a night.

Airflow and dbt cannot share an environment. AIRFLOW_PYTHON names the Python of one that has Airflow 3 and its standard
provider: ``pip install apache-airflow apache-airflow-providers-standard``.
"""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector import Warehouse
from connector.catalogue.userpilot import DEFAULT_EVENT_TYPES
from connector.sandbox import OpenPanel, Userpilot, serve, serve_userpilot, vendor_variables

ROOT = Path(__file__).parents[2]
AIRFLOW = os.environ.get("AIRFLOW_PYTHON", "")
pytestmark = pytest.mark.skipif(not AIRFLOW, reason="AIRFLOW_PYTHON names no environment with Airflow")

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


def the_dag():
    """The snippet of the page; with the command of this environment, and shorter waits."""
    (snippet,) = [
        block
        for block in re.findall(r"(?ms)^```python\n(.*?)^```", (ROOT / "docs/cron.md").read_text())
        if "airflow" in block
    ]
    command = f"{sys.executable} -m connector.cli nightly"
    changed = snippet.replace("cd /srv/analytics && .venv/bin/connector nightly", command)
    changed = changed.replace("minutes=10", "seconds=3")
    assert changed.count(command) == 1
    return changed


@pytest.fixture
def environment(tmp_path):
    panel, pilot = OpenPanel(rate_limit=None), Userpilot(polls_to_complete=7)
    panel.load_sample(YESTERDAY, YESTERDAY)
    pilot.load_sample(YESTERDAY, YESTERDAY)
    (tmp_path / "reports.yaml").write_text("insights: {dimensions: [country]}")
    with serve(panel.app) as url, serve_userpilot(pilot) as (api, _):
        yield (
            {
                **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))},
                **vendor_variables(openpanel=url, userpilot=api),
                "WAREHOUSE": str(tmp_path / "warehouse.duckdb"),
                "SPOOL_DIR": str(tmp_path / "spool"),
                "START_DATE": YESTERDAY.isoformat(),
                "OPENPANEL_REPORTS": str(tmp_path / "reports.yaml"),
                "AIRFLOW_HOME": str(tmp_path / "airflow"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
                "PYTHONPATH": "",
            },
            pilot,
        )


def run(environment, *command):
    return subprocess.run(
        [AIRFLOW, *command], env=environment, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.mark.timeout(900)
def test_the_dag_of_the_page_waits_for_the_export_and_lands_the_night(environment, tmp_path):
    variables, pilot = environment
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "analytics.py").write_text(the_dag())
    assert run(variables, "-m", "airflow", "db", "migrate").returncode == 0
    done = run(variables, "-m", "airflow", "dags", "test", "product_analytics")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    with Warehouse(tmp_path / "warehouse.duckdb").read() as connection:
        days = connection.execute("select distinct _day from openpanel.events").fetchall()
        landed = connection.execute("select count(*) from userpilot.events").fetchall()
    assert days == [(YESTERDAY,)]
    assert landed == [(pilot.count(YESTERDAY, types=DEFAULT_EVENT_TYPES, distinct=True),)]
    assert len(pilot.jobs.all) == 1
    assert (done.stdout + done.stderr).count("this night: ") > 1, "it came back at least once"
