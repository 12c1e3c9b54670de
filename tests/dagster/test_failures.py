"""Every error of the connector reaches Dagster, and its alerts, with what, where and the next step."""

import ast
from datetime import date, timedelta

import dagster as dg
import pytest

import connector.userpilot.exports.machine as machine
from connector.dagster import connector_alerts, userpilot_assets
from tests.conftest import ROOT
from tests.dagster.test_alerts import failed_run
from tests.dagster.userpilot.conftest import RANGE, TYPES, Daemon, assets, pilot, resources  # noqa: F401  fixtures


@pytest.fixture
def instance():
    with dg.instance_for_test() as one:
        yield one


def told(assets, result, instance):  # noqa: F811
    """What the alert about a failed run says."""
    alerts = []
    sensor, _ = connector_alerts(assets, tell=alerts.append)
    failed_run(sensor, result, instance, assets)
    (alert,) = alerts
    return alert


def test_only_one_module_makes_failures_of_dagster():
    for package in ("connector", "dagster_project"):
        for file in (ROOT / package).rglob("*.py"):
            calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
            made = [call for call in calls if ast.unparse(call.func).split(".")[-1] == "Failure"]
            assert not made or file.name == "failures.py", (file.name, ast.unparse(made[0]))


def test_an_alert_about_an_export_under_way_names_its_days(pilot, resources, instance):  # noqa: F811
    pilot.polls_to_complete = 10**6
    made = userpilot_assets(start_date=date(2026, 3, 1), options=TYPES, patience=0.0, **resources)
    result = Daemon(made, resources, instance).materialize("events", tags=RANGE)
    alert = told(made, result, instance)
    assert alert.where == "userpilot.events[2026-03-04..2026-03-06]"
    assert "not complete yet" in alert.what
    assert "ask again later" in alert.next_step
    assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in {event.event_type for event in result.all_events}


def test_an_alert_about_a_lost_export_names_its_days(pilot, assets, resources, instance, monkeypatch):  # noqa: F811
    for name in ("SETTLES", "POLL_FIRST"):
        monkeypatch.setattr(machine, name, timedelta(0))
    daemon = Daemon(assets, resources, instance)
    daemon.materialize("export_job", tags=RANGE)
    while not (wanted := daemon.tick(run=False)):
        pass
    pilot.lose_job(pilot.jobs.all[0].id)
    alert = told(assets, daemon.materialize("events", tags=wanted[0].tags, run_config=wanted[0].run_config), instance)
    assert alert.where == "userpilot.events[2026-03-04..2026-03-06]"
    assert "lost" in alert.what
    assert "ask for the days again" in alert.next_step
