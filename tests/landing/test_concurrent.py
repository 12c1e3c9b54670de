"""Whatever the order of landings, arrivals, deaths and runs: tables equal the source, and no request is refused."""

import json
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.sandbox import READ, serve
from connector.sandbox import OpenPanel as Vendor
from tests.soak.kills import calls_of, killed_at, killer, landed_at_once
from tests.soak.schedules import DAYS, MOVES, played
from tests.soak.stages import TARGETS, staged

SCHEDULES = st.lists(
    st.tuples(st.sampled_from(MOVES), st.integers(0, len(DAYS) - 1), st.integers(0, 999)), min_size=3, max_size=10
)


@pytest.fixture(scope="module")
def by():
    with killer() as one:
        yield one


@pytest.fixture(scope="module")
def sandbox():
    vendor = Vendor(rate_limit=None)
    with serve(vendor.app) as url:
        yield vendor, url


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=SCHEDULES)
def test_after_any_schedule_the_tables_are_the_source(by, sandbox, moves):
    """Late events, twins, empty days, deaths and races in any order: each day is the source when it was landed last."""
    vendor, url = sandbox
    played(moves, vendor, url, by)


@pytest.mark.parametrize("name", ["openpanel events", "userpilot land", "userpilot lookup, paged"])
def test_runs_of_one_partition_at_once_leave_one_landing_whole(tmp_path, by, name):
    with staged(next(target for target in TARGETS if target.name == name), tmp_path / "stage") as stage:
        assert landed_at_once(stage, by, 3) == []


@pytest.mark.parametrize("name", ["openpanel events", "openpanel charts", "userpilot land", "userpilot lookup, bare"])
def test_a_run_killed_at_any_call_leaves_the_old_rows_or_the_new_ones(tmp_path, by, name):
    """Eight places evenly over the run; the soak takes all of them."""
    figures = {"lost": 0, "doubled": 0}
    with staged(next(target for target in TARGETS if target.name == name), tmp_path / "stage") as stage:
        calls, died = calls_of(stage, by), 0
        for part in range(8):
            dead, broken = killed_at(stage, by, calls * (2 * part + 1) // 16 + 1, 15 if part % 4 == 3 else 9, figures)
            assert broken == []
            died += dead
    assert died >= 7
    assert figures == {"lost": 0, "doubled": 0}


def test_two_processes_with_one_client_id_share_the_budget_without_a_refusal(tmp_path):
    """Sixty pages each against a hundred requests in two seconds: too many for one window, and none is refused."""
    vendor = Vendor(rate_limit=(100, 2.0))
    day = DAYS[0]
    vendor.load({"id": f"e{n}", "name": "x", "created_at": f"{day}T{n % 24:02}:00:00Z"} for n in range(600))
    code = textwrap.dedent("""
        import dataclasses, json, sys
        from datetime import date
        from pathlib import Path
        from connector import EVENTS, OpenPanel, Warehouse, sync_day
        from connector.http.budget import SharedBudget
        url, id, secret, day, folder, own = sys.argv[1:]
        stream = dataclasses.replace(EVENTS, query=dataclasses.replace(EVENTS.query, limit=10))
        budget = SharedBudget(url, folder=Path(folder) / "budget")
        with OpenPanel(url=url, client_id=id, client_secret=secret, project_id="demo", budget=budget) as client:
            warehouse = Warehouse(Path(folder) / f"{own}.duckdb")
            where = {"warehouse": warehouse, "spool_dir": Path(folder) / "s"}
            receipt = sync_day(client, stream, date.fromisoformat(day), **where)
        print(json.dumps([receipt.landed, receipt.refused, receipt.requests]))
    """)
    with serve(vendor.app) as url:
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", code, url, READ.id, READ.secret, str(day), str(tmp_path), own],
                stdout=subprocess.PIPE,
                text=True,
            )
            for own in ("one", "two")
        ]
        told = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
    assert told == [[600, 0, 60], [600, 0, 60]]
    assert vendor.refusals == 0
