"""In every timezone of an organization the location loads, its jobs can be made, and what is asked for runs."""

import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from connector import SettingsError, Warehouse
from connector.catalogue.reports import Chart, Funnel, Series
from connector.dagster import (
    OpenPanelResource,
    WarehouseResource,
    build_definitions,
    openpanel_assets,
    openpanel_nightly_schedule,
    openpanel_nightly_schedules,
)
from connector.dagster.components import OpenPanelComponent, UserpilotComponent
from connector.openpanel.reports.config import Questions, streams
from connector.sandbox import READ
from tests.conftest import ROOT
from tests.dagster.models import Clockwork, made
from tests.dagster.test_components import load  # noqa: F401  the fixture
from tests.sql.conftest import FIRST as SAMPLE_FIRST
from tests.sql.conftest import sample  # noqa: F401  the fixture

ZONES = ("UTC", "America/New_York", "Europe/Stockholm", "Asia/Kolkata")
FIRST = date(2026, 3, 1)
FUNNEL = Funnel(name="bought", steps=("screen_view", "purchase"))
VIEWS = Questions(charts=(Chart(name="views", series=(Series(event="screen_view"),)),))
REPORTS = ["charts", "funnels", "insights_breakdowns", "insights_metrics", "insights_pages"]
NIGHT = datetime(2026, 3, 4, 3, tzinfo=UTC)
SYNC = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
}


@pytest.fixture(params=ZONES)
def zone(request):
    return request.param


@pytest.fixture
def daemon(tmp_path):
    """A code location as the daemon sees it, and its instance: runs are done where they are launched."""

    def workspace(code):
        file = tmp_path / "location.py"
        file.write_text(code)
        origin = InProcessCodeLocationOrigin(
            LoadableTargetOrigin(executable_path=sys.executable, python_file=str(file), attribute="defs"),
            location_name="location",
        )
        return create_test_daemon_workspace_context(InProcessWorkspaceLoadTarget(origin), instance)

    with dg.instance_for_test(overrides=SYNC) as instance:
        yield workspace, instance


def repository(context):
    (entry,) = context.create_request_context().get_code_location_entries().values()
    assert entry.code_location, entry.load_error
    (found,) = entry.code_location.get_repositories().values()
    return found


def names(schedules):
    return {schedule.name for schedule in schedules}


def test_every_job_of_a_schedule_or_sensor_can_be_made(zone, daemon):
    workspace, _ = daemon
    code = f"from connector.dagster import build_definitions\ndefs = build_definitions(timezone={zone!r})\n"
    dg.Definitions.validate_loadable(build_definitions(timezone=zone))
    with workspace(code) as context:
        found = repository(context)
        targets = [target for sensor in found.get_sensors() for target in sensor.get_targets()]
        jobs = {schedule.job_name for schedule in found.get_schedules()} | {target.job_name for target in targets}
        assert {"openpanel_nightly", "openpanel_intraday"} <= names(found.get_schedules())
        for name in jobs:
            assert found.get_full_job(name).job_snapshot.node_names


def test_events_and_reports_have_a_nightly_schedule_each_where_their_days_differ(zone):
    defs = build_definitions(timezone=zone, questions=replace(VIEWS, funnels=(FUNNEL,)))
    keys = {
        schedule.name: sorted(key.path[-1] for key in resolved.asset_layer.executable_asset_keys)
        for schedule in defs.schedules
        if schedule.name.startswith("openpanel_nightly")
        for resolved in [defs.get_repository_def().get_job(schedule.job_name)]
    }
    if zone == "UTC":
        assert keys == {"openpanel_nightly": sorted([*REPORTS, "events"])}
    else:
        assert keys == {"openpanel_nightly": ["events"], "openpanel_nightly_reports": REPORTS}


def test_reports_alone_keep_the_usual_name():
    assets = [asset for asset in openpanel_assets(start_date=date(2026, 3, 1), timezone="Asia/Kolkata")
              if asset.key.path[-1] in REPORTS]  # fmt: skip
    assert names(openpanel_nightly_schedules(assets)) == {"openpanel_nightly"}
    assert openpanel_nightly_schedule(assets, name="mine", cron="0 6 * * *", lookback_days=1).name == "mine"


def test_one_schedule_for_assets_of_different_days_is_refused_in_one_sentence():
    assets = openpanel_assets(start_date=date(2026, 3, 1), timezone="Asia/Kolkata")
    with pytest.raises(SettingsError, match=r"Asia/Kolkata.*openpanel_nightly_schedules"):
        openpanel_nightly_schedule(assets)


@pytest.mark.parametrize("component", [OpenPanelComponent, UserpilotComponent])
def test_components_load(zone, load, component, monkeypatch):  # noqa: F811
    monkeypatch.setenv("OPENPANEL_TIMEZONE", zone)
    defs = load(component)
    for job in defs.get_repository_def().get_all_jobs():
        assert job.asset_layer.executable_asset_keys


VALIDATE = """
import os, sys
from click.testing import CliRunner
from dagster._cli.definitions import definitions_validate_command

for zone in sys.argv[1:]:
    os.environ["OPENPANEL_TIMEZONE"] = zone
    sys.modules.pop("dagster_project.definitions", None)
    done = CliRunner().invoke(definitions_validate_command, ["-m", "dagster_project.definitions"])
    print(zone, done.exit_code, done.output if done.exit_code else "")
"""


def test_dagster_validates_the_shipped_location_with_its_models_in_every_timezone(manifest, tmp_path):
    """Dagster's own command, once for each, in one process: starting it takes longer than what it does."""
    environment = {**os.environ, "CONNECTOR_DBT": "on", "DAGSTER_HOME": str(tmp_path)}
    command = [sys.executable, "-c", VALIDATE, *ZONES, "Mars/Olympus"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    *valid, unknown = [line for line in done.stdout.splitlines() if line.startswith((*ZONES, "Mars"))]
    assert [line.split() for line in valid] == [[zone, "0"] for zone in ZONES], done.stdout
    assert unknown.startswith("Mars/Olympus 1")


def test_models_follow_landings_of_both_kinds_of_days(zone, manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENPANEL_TIMEZONE", zone)
    defs, _ = made(manifest, tmp_path / "warehouse.duckdb")
    dg.Definitions.validate_loadable(defs)
    with dg.DagsterInstance.ephemeral() as instance:
        works = Clockwork(defs, instance)
        works.tick()
        works.landed(dg.AssetKey(["openpanel", "insights_metrics"]), "2026-03-04")
        works.landed(dg.AssetKey(["openpanel", "events"]), "2026-03-04")
        asked = works.tick()
        assert asked[dg.AssetKey(["marts", "sessions"])] == {"2026-03-04"}
        for key in asked:
            works.landed(key, "2026-03-04")
        assert dg.AssetKey(["marts", "vendor_comparison"]) in works.tick()


def test_what_the_schedules_ask_for_runs(zone, daemon, vendor, url, tmp_path, monkeypatch):
    """The daemon's own ticks of one night; the runs are real, against an organization of that timezone."""
    variables = {"API_URL": url, "CLIENT_ID": READ.id, "CLIENT_SECRET": READ.secret, "PROJECT_ID": "demo"}
    for name, value in variables.items():
        monkeypatch.setenv(f"OPENPANEL_{name}", value)
    monkeypatch.setenv("OPENPANEL_TIMEZONE", zone)
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "w.duckdb"))
    monkeypatch.setenv("SPOOL_DIR", str(tmp_path / "spool"))
    vendor.projects["demo"].organisation.timezone = zone
    vendor.load_sample(date(2026, 3, 1), date(2026, 3, 4))
    workspace, instance = daemon
    code = (
        "from connector.dagster import openpanel_definitions\ndefs = openpanel_definitions(start_date='2026-03-02')\n"
    )
    with workspace(code) as context:
        found = repository(context)
        with freeze_time(NIGHT):
            for schedule in found.get_schedules():
                instance.start_schedule(schedule)
        list(launch_scheduled_runs(context, logging.getLogger("ticks"), NIGHT + timedelta(minutes=16), {}))
        asked = names(found.get_schedules())
    runs = instance.get_runs()
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert {run.tags["dagster/schedule_name"] for run in runs} == asked
    with Warehouse(tmp_path / "w.duckdb").read() as connection:
        last = dict(
            connection.execute("select table_name, max(day)::text from connector.landings group by 1").fetchall()
        )
    assert last["openpanel.events"] == "2026-03-04"  # of the hourly schedule
    assert last["openpanel.insights_metrics"] == ("2026-03-02" if zone == "America/New_York" else "2026-03-03")


TOKYO = "Asia/Tokyo"


@pytest.fixture
def tokyo(vendor, url, tmp_path, monkeypatch):
    """An organization in Tokyo with a sample; settings of everything but the timezone."""
    variables = {"API_URL": url, "CLIENT_ID": READ.id, "CLIENT_SECRET": READ.secret, "PROJECT_ID": "demo"}
    for name, value in variables.items():
        monkeypatch.setenv(f"OPENPANEL_{name}", value)
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "w.duckdb"))
    monkeypatch.setenv("SPOOL_DIR", str(tmp_path / "spool"))
    vendor.projects["demo"].organisation.timezone = TOKYO
    vendor.load_sample(date(2026, 3, 1), date(2026, 3, 6))
    return vendor


def chart(assets, **options):
    """Materialize the charts of 4 March, a day that begins in Tokyo at 15:00 UTC of 3 March."""
    (asset,) = (one for one in assets if one.key.path[-1] == "charts")
    return asset, dg.materialize([asset], partition_key="2026-03-04", raise_on_error=False, **options)


def given_to_the_builder():
    return build_definitions(timezone=TOKYO, questions=VIEWS).assets


def given_to_the_resource():
    return build_definitions(openpanel=OpenPanelResource(timezone=TOKYO), questions=VIEWS).assets


def given_by_a_variable_of_the_resource():
    return build_definitions(openpanel=OpenPanelResource(timezone=dg.EnvVar("SHOP_ZONE")), questions=VIEWS).assets


def given_to_assets_with_a_bound_resource():
    return openpanel_assets(start_date=FIRST, timezone=TOKYO, openpanel=OpenPanelResource(), streams=streams(VIEWS),
                            warehouse=WarehouseResource())  # fmt: skip


def given_to_assets_whose_resource_has_a_key():
    return openpanel_assets(start_date=FIRST, timezone=TOKYO, streams=streams(VIEWS))


@pytest.mark.parametrize(
    "given",
    [given_to_the_builder, given_to_the_resource, given_by_a_variable_of_the_resource,
     given_to_assets_with_a_bound_resource, given_to_assets_whose_resource_has_a_key],
)  # fmt: skip
def test_a_timezone_that_is_given_once_reaches_partitions_and_client(given, tokyo, tmp_path, monkeypatch):
    """Only a client that counts in the organization's days lands the numbers of that day."""
    monkeypatch.setenv("SHOP_ZONE", TOKYO)
    keyed = given == given_to_assets_whose_resource_has_a_key
    resources = {"openpanel": OpenPanelResource(), "warehouse": WarehouseResource()} if keyed else None
    asset, result = chart(given(), resources=resources)
    assert result.success
    assert asset.partitions_def.timezone == TOKYO
    with Warehouse(tmp_path / "w.duckdb").read() as connection:
        starts = connection.execute("select distinct starts_at from openpanel.charts").fetchall()
    assert [at.astimezone(UTC).isoformat() for (at,) in starts] == ["2026-03-03T15:00:00+00:00"]


def test_a_timezone_in_yaml_reaches_partitions_and_client(load, tokyo, tmp_path):  # noqa: F811
    reports = {"reports.yaml": "charts:\n  views: {series: [screen_view]}\n"}
    defs = load(OpenPanelComponent, files=reports, reports="reports.yaml", tables=["charts"], timezone=TOKYO, keep=True)
    asset, result = chart(defs.assets)
    assert result.success
    assert asset.partitions_def.timezone == TOKYO
    with Warehouse(tmp_path / "w.duckdb").read() as connection:
        assert connection.execute("select min(starts_at)::text from openpanel.charts").fetchone() == (
            "2026-03-03 15:00:00+00",
        )


def test_two_timezones_are_refused_where_they_are_given(monkeypatch):
    monkeypatch.setenv("SHOP_ZONE", "Europe/Stockholm")
    for resource in (
        OpenPanelResource(timezone="Europe/Stockholm"),
        OpenPanelResource(timezone=dg.EnvVar("SHOP_ZONE")),
    ):
        for build in (build_definitions, partial(openpanel_assets, start_date=FIRST)):
            with pytest.raises(SettingsError, match=r"Asia/Tokyo.*Europe/Stockholm"):
                build(timezone=TOKYO, openpanel=resource)
    with pytest.raises(SettingsError, match=r"Mars/Olympus"):
        build_definitions(openpanel=OpenPanelResource(timezone="Mars/Olympus"))
    with pytest.raises(SettingsError, match=r"NOWHERE is not set"):
        build_definitions(openpanel=OpenPanelResource(timezone=dg.EnvVar("NOWHERE")))


def test_two_timezones_that_meet_in_a_run_are_refused_before_the_first_request(tokyo):
    resources = {"openpanel": OpenPanelResource(timezone="Europe/Stockholm"), "warehouse": WarehouseResource()}
    _, result = chart(openpanel_assets(start_date=FIRST, timezone=TOKYO), resources=resources)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    said = failure.step_failure_data.user_failure_data.metadata
    assert "Asia/Tokyo" in said["what"].value
    assert "Europe/Stockholm" in said["what"].value
    assert said["where"].value == "settings"
    assert tokyo.requests == []


def built(sample, manifest, folder, given=""):  # noqa: F811
    """A run of the models by day in a code location whose landings are of Tokyo; its warehouse."""
    path, file = folder / "warehouse.duckdb", folder / "location.py"
    shutil.copy(sample.path, path)
    file.write_text(
        "from datetime import date\nimport dagster as dg\n"
        "from connector.dagster import WarehouseResource, build_definitions\n"
        "from connector.dagster.dbt import model_assets\nfrom dagster_project import dbt\n"
        f"start, store = date.fromisoformat({str(SAMPLE_FIRST)!r}), WarehouseResource(database={str(path)!r})\n"
        "models = model_assets(project_dir=dbt.PROJECT, manifest=dbt.MANIFEST, start_date=start, warehouse=store,\n"
        f"    dbt_executable=dbt.DBT, retry_policy=None, timezone={given!r})\n"
        f"landed = build_definitions(start_date=start, warehouse=store, timezone={TOKYO!r})\n"
        "defs = dg.Definitions.merge(landed, dg.Definitions(assets=models))\n"
    )
    location = ReconstructableRepository.for_file(str(file), "defs")
    sessions = dg.AssetSelection.assets(dg.AssetKey(["marts", "sessions"])).upstream()
    graph = location.get_definition().asset_graph
    chosen = [key for key in sessions.resolve(graph) if key.path[0] not in ("openpanel", "userpilot")]
    with dg.instance_for_test() as instance:
        job = location.get_reconstructable_job("__ASSET_JOB")
        tags = {"dagster/partition": "2026-03-04"}
        result = dg.execute_job(job, instance, asset_selection=chosen, tags=tags)
        failures = [event.step_failure_data.user_failure_data for event in result.get_step_failure_events()]
    return path, [failure.metadata["what"].value for failure in failures]


def test_a_timezone_given_to_the_landings_reaches_the_models(sample, manifest, tmp_path):  # noqa: F811
    path, failures = built(sample, manifest, tmp_path)
    assert not failures
    with Warehouse(path).read() as connection:
        days = connection.execute(
            "select count(*), count(*) filter (local_day = timezone('Asia/Tokyo', started_at)::date), "
            "count(*) filter (local_day = timezone('UTC', started_at)::date) from marts.sessions"
        ).fetchone()
    assert days[0] == days[1] > days[2]


def test_models_of_another_timezone_than_their_landings_are_not_built(sample, manifest, tmp_path):  # noqa: F811
    _, failures = built(sample, manifest, tmp_path, given="Europe/Stockholm")
    (what,) = failures
    assert "Europe/Stockholm" in what
    assert "Asia/Tokyo" in what
