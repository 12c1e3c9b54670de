"""In a project that has definitions of its own, ours change nothing of theirs, and theirs change nothing of ours."""

import dagster as dg
import pytest

from connector.dagster import (
    OpenPanelResource,
    WarehouseResource,
    build_definitions,
    connector_alerts,
    openpanel_definitions,
    prune_schedule,
    userpilot_definitions,
)
from connector.dagster.components import OpenPanelComponent, UpkeepComponent, UserpilotComponent
from connector.sandbox import READ
from dagster_project.definitions import defs as deployed
from tests.conftest import DAY
from tests.dagster.test_components import load  # noqa: F401  the fixture

BUILDERS = (build_definitions, openpanel_definitions, userpilot_definitions)


@dg.executor(name="theirs")
def their_executor(_):
    raise NotImplementedError


@dg.logger
def their_logger(_):
    raise NotImplementedError


class Refusing(dg.IOManager):
    """Stores nothing: our assets must not hand it anything."""

    def handle_output(self, context, obj):
        raise AssertionError("an output reached the project's IO manager")

    def load_input(self, context):
        raise AssertionError


@dg.asset(required_resource_keys={"openpanel", "warehouse"})
def events():
    """Their own asset, with our resource keys and nearly our name."""


def theirs():
    """A project with an executor, loggers, resources under our keys, jobs and a schedule of its own."""
    job = dg.define_asset_job("nightly", selection=dg.AssetSelection.assets(events))
    # Jobs may be called what our sensors are called: they are different things to Dagster.
    namesake = dg.define_asset_job("openpanel_drift_sensor", selection=dg.AssetSelection.assets(events))
    return dg.Definitions(
        assets=[events],
        jobs=[job, namesake],
        schedules=[dg.ScheduleDefinition(name="their_night", cron_schedule="0 1 * * *", job=job)],
        executor=their_executor,
        loggers={"console": their_logger},
        resources={"openpanel": "theirs", "warehouse": "theirs", "io_manager": Refusing()},
    )


def executors(defs):
    return {job.name: job.executor_def.name for job in defs.get_repository_def().get_all_jobs()}


@pytest.mark.parametrize("ours", BUILDERS)
def test_a_project_keeps_its_executor_loggers_and_resources(ours):
    for order in ((theirs(), ours()), (ours(), theirs())):
        merged = dg.Definitions.merge(*order)
        dg.Definitions.validate_loadable(merged)
        found = executors(merged)
        assert {found["nightly"], found["openpanel_drift_sensor"], found["__ASSET_JOB"]} == {"theirs"}
        assert merged.loggers == {"console": their_logger}
        assert merged.resources["openpanel"] == "theirs"


@pytest.mark.parametrize("ours", BUILDERS)
def test_a_project_without_an_executor_keeps_dagsters(ours):
    plain = dg.Definitions(assets=[events], resources={"openpanel": 1, "warehouse": 1})
    merged = dg.Definitions.merge(plain, ours())
    assert (merged.executor, merged.loggers) == (None, {})
    assert executors(merged)["__ASSET_JOB"] == executors(plain)["__ASSET_JOB"]
    assert set(ours().resources or {}) == set()


@pytest.mark.parametrize("component", [OpenPanelComponent, UserpilotComponent, UpkeepComponent])
def test_components_set_nothing_for_the_project_either(load, component):  # noqa: F811
    defs = load(component)
    assert (defs.executor, dict(defs.loggers or {}), dict(defs.resources or {})) == (None, {}, {})
    merged = dg.Definitions.merge(theirs(), defs)
    dg.Definitions.validate_loadable(merged)
    assert executors(merged)["__ASSET_JOB"] == "theirs"


def test_what_schedules_and_sensors_run_needs_no_process_per_step():
    """Their runs wait for the network; the project's executor would start a process, or a container, for each."""
    merged = dg.Definitions.merge(theirs(), build_definitions(), build_definitions(instance="shop"))
    found = executors(merged)
    ours = {schedule.job_name for schedule in merged.schedules if schedule.name != "their_night"}
    ours |= {job.job_name for sensor in merged.sensors for job in sensor.targets}
    assert ours >= {
        "openpanel_nightly", "openpanel_intraday", "openpanel_late_days", "userpilot_nightly_export",
        "userpilot_lookups", "userpilot_landing", "userpilot_asking", "connector_prune", "openpanel_shop_nightly",
        "openpanel_shop_late_days", "userpilot_shop_landing",
    }  # fmt: skip
    assert {found[name] for name in ours} == {"in_process"}


def test_the_shipped_deployment_runs_what_people_start_in_one_process():
    assert executors(deployed)["__ASSET_JOB"] == "in_process"


def test_alerts_and_upkeep_alone_go_beside_any_project():
    ours = dg.Definitions(sensors=connector_alerts(), schedules=[prune_schedule()])
    merged = dg.Definitions.merge(theirs(), ours)
    dg.Definitions.validate_loadable(merged)
    assert executors(merged)["connector_prune"] == "in_process"


def test_a_day_lands_in_a_project_whose_resources_have_our_keys(vendor, url, tmp_path, query):
    vendor.add("e", at=f"{DAY}T01:00:00Z")
    source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
    store = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "spool"))
    merged = dg.Definitions.merge(
        theirs(), openpanel_definitions(start_date=DAY, openpanel=source, warehouse=store, tables=["events"])
    )
    with dg.DagsterInstance.ephemeral() as instance:
        job = merged.resolve_job_def("openpanel_nightly")
        assert job.execute_in_process(instance=instance, partition_key=str(DAY)).success
    assert query("select count(*) from openpanel.events") == [(1,)]
