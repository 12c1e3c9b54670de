"""Components: the builders' arguments as YAML, checked where they are written."""

from contextlib import ExitStack

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

from connector import EVENTS, Warehouse, frame
from connector.dagster.components import (
    ConnectorModelsComponent,
    OpenPanelComponent,
    UpkeepComponent,
    UserpilotComponent,
)
from connector.sandbox import READ
from dagster_project import dbt as deployed


@pytest.fixture
def load(request):
    """The definitions of one component, written as YAML into a project of its own; ``keep`` leaves it there."""

    def load(component, files=(), keep=False, **attributes):
        with ExitStack() as stack:
            # Loading asks the current instance; one of an earlier test may be gone by now.
            stack.enter_context(dg.DagsterInstance.ephemeral())
            sandbox = stack.enter_context(create_defs_folder_sandbox())
            folder = sandbox.scaffold_component(component)
            name = f"{component.__module__.rsplit('.', 1)[0]}.{component.__name__}"
            (folder / "defs.yaml").write_text(yaml.safe_dump({"type": name, "attributes": attributes}))
            for file, text in dict(files).items():
                (folder / file).write_text(text)
            with sandbox.load_component_and_build_defs(defs_path=folder) as (_, defs):
                dg.Definitions.validate_loadable(defs)
            if keep:
                request.addfinalizer(stack.pop_all().close)
            return defs

    return load


def keys(defs):
    return {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}


def test_yaml_with_nothing_in_it_is_the_whole_project(load):
    assert {"openpanel/events", "openpanel/insights_live"} <= keys(load(OpenPanelComponent))
    assert {"userpilot/export_job", "userpilot/events", "userpilot/flows"} <= keys(load(UserpilotComponent))


def test_a_second_project_has_its_own_names(load):
    defs = load(OpenPanelComponent, instance="shop", tables=["events"])
    assert keys(defs) == {"openpanel_shop/events"}
    assert {schedule.name for schedule in defs.schedules} == {"openpanel_shop_nightly", "openpanel_shop_intraday"}


def test_some_tables_are_some_schedules(load):
    defs = load(OpenPanelComponent, tables=["charts"])
    assert keys(defs) == {"openpanel/charts"}
    assert [schedule.name for schedule in defs.schedules] == ["openpanel_nightly"]
    assert not defs.sensors


def test_a_backfill_is_shared_out_to_runs_of_as_many_days_as_the_yaml_says(load):
    def policy(**attributes):
        graph = load(OpenPanelComponent, tables=["events"], **attributes).resolve_asset_graph()
        return graph.get(dg.AssetKey(["openpanel", "events"])).backfill_policy

    assert policy() == dg.BackfillPolicy.single_run()
    week = {"type": "multi_run", "max_partitions_per_run": 7}
    assert policy(backfill_policy=week) == dg.BackfillPolicy.multi_run(7)


def test_a_lake_is_landed_in_and_maintained_as_the_yaml_says(load, tmp_path):
    lake = {"warehouse": f"ducklake:sqlite:{tmp_path / 'lake.sqlite'}"}
    graph = load(OpenPanelComponent, tables=["events"], lock_wait=7.5, **lake).resolve_asset_graph()
    (uri,) = [node.metadata["dagster/uri"] for node in graph.asset_nodes if "dagster/uri" in node.metadata]
    assert uri == lake["warehouse"]
    defs = load(UpkeepComponent, maintain_cron="5 3 * * *", keep_hours=48, **lake)
    (schedule,) = [one for one in defs.schedules if one.name == "connector_maintain_schedule"]
    assert (schedule.cron_schedule, schedule.default_status) == ("5 3 * * *", dg.DefaultScheduleStatus.RUNNING)


def test_what_a_code_location_needs_once_is_a_component_of_its_own(load):
    defs = load(UpkeepComponent, name="ours", broken_hours=2)
    assert {sensor.name for sensor in defs.sensors} == {"ours_alerts", "ours_alerts_broken"}
    assert "for 2 hours" in next(sensor.description for sensor in defs.sensors if sensor.name == "ours_alerts_broken")
    assert {schedule.name: schedule.default_status for schedule in defs.schedules} == {
        "ours_prune_nightly": dg.DefaultScheduleStatus.STOPPED,
        "ours_maintain_schedule": dg.DefaultScheduleStatus.STOPPED,  # this warehouse is a file
    }
    assert not keys(defs)


def test_translation_changes_what_people_see(load):
    translation = {"group_name": "product", "owners": ["team:data"], "key": "web/{{ data.name }}"}
    graph = load(OpenPanelComponent, translation=translation, tables=["events"]).resolve_asset_graph()
    node = graph.get(dg.AssetKey(["web", "events"]))
    assert (node.group_name, node.owners) == ("product", ["team:data"])


def test_a_subclass_may_say_it_in_python():
    class Ours(OpenPanelComponent):
        def get_asset_spec(self, stream):
            return super().get_asset_spec(stream).replace_attributes(group_name=f"raw_{stream.name}")

    translator = Ours().translator
    assert translator.spec(EVENTS).group_name == "raw_events"


def test_reports_lie_beside_the_yaml(load):
    defs = load(OpenPanelComponent, files={"reports.yaml": "charts:\n  views: {series: [screen_view]}\n"},
                reports="reports.yaml", tables=["charts"])  # fmt: skip
    assert keys(defs) == {"openpanel/charts"}


def test_models_show_what_the_landing_component_lands(load, monkeypatch):
    monkeypatch.delenv("OPENPANEL_REPORTS", raising=False)
    deployed.prepare()
    reports = {"reports.yaml": "charts:\n  views: {series: [screen_view]}\n"}
    with_charts = keys(load(ConnectorModelsComponent, files=reports, reports="reports.yaml"))
    assert with_charts - keys(load(ConnectorModelsComponent)) == {"openpanel/charts", "staging/stg_openpanel__charts"}
    events_alone = keys(load(ConnectorModelsComponent, tables=["events"]))
    assert "staging/stg_openpanel__insights_pages" not in events_alone
    assert "staging/stg_openpanel__insights_metrics" in events_alone  # vendor_comparison reads it


def test_rules_for_personal_data_lie_beside_the_yaml_and_hold(load, vendor, url, tmp_path, monkeypatch):
    for name, value in (("ID", READ.id), ("SECRET", READ.secret), ("PROJECT", "demo"), ("KEY", "k" * 32)):
        monkeypatch.setenv(f"SHOP_{name}", value)
    vendor.add("e", at="2026-03-04T01:00:00Z", profile_id="user-1")
    with_rules = {"rules.yaml": "openpanel.events: {hash: [profile_id], drop: [path]}\n"}
    defs = load(
        OpenPanelComponent, files=with_rules, keep=True, api_url=url, tables=["events"], start_date="2026-03-04",
        client_id_variable="SHOP_ID", client_secret_variable="SHOP_SECRET", project_id_variable="SHOP_PROJECT",
        hash_key_variable="SHOP_KEY", personal_data="rules.yaml", warehouse=str(tmp_path / "w.duckdb"),
        spool_dir=str(tmp_path / "spool"),
    )  # fmt: skip
    assert dg.materialize(list(defs.assets), partition_key="2026-03-04").success
    row = frame("openpanel.events", columns=["profile_id", "path"], warehouse=Warehouse(tmp_path / "w.duckdb")).iloc[0]
    assert len(row.profile_id) == 32
    assert row.path is None or row.path != row.path


@pytest.mark.parametrize(
    "component, attributes, said",
    [
        (OpenPanelComponent, {"tables": ["evnts"]}, "evnts"),
        (OpenPanelComponent, {"start_date": "2026-02-30"}, "no such day"),
        (OpenPanelComponent, {"start_date": "yesterday"}, "start_date"),
        (OpenPanelComponent, {"client_secret": "oops"}, "client_secret"),
        (UserpilotComponent, {"lookups": ["flow"]}, "flow"),
        (UserpilotComponent, {"export": {"user": "x"}}, "user"),
    ],
)
def test_what_cannot_be_is_said_when_the_project_loads(load, component, attributes, said):
    with pytest.raises(Exception) as caught:
        load(component, **attributes)
    fault, chain = caught.value, []
    while fault:
        chain.append(str(fault))
        fault = fault.__cause__ or fault.__context__
    assert said in " ".join(chain)


def test_no_secret_is_in_the_snapshot_of_a_project(load, monkeypatch):
    from dagster._core.remote_representation.external_data import RepositorySnap

    monkeypatch.setenv("SHOP_SECRET", "very-secret-value")
    defs = load(OpenPanelComponent, client_secret_variable="SHOP_SECRET")
    assert "very-secret-value" not in dg.serialize_value(RepositorySnap.from_def(defs.get_repository_def()))


def test_a_days_error_names_the_variable_that_is_missing(load, monkeypatch, tmp_path):
    defs = load(OpenPanelComponent, client_id_variable="SHOP_ID", warehouse=str(tmp_path / "w.duckdb"))
    asset = next(asset for asset in defs.assets if asset.key.path[-1] == "events")
    result = dg.materialize([asset], partition_key="2026-03-04", raise_on_error=False)
    assert not result.success
    failure = result.get_step_failure_events()[0].event_specific_data
    assert "SHOP_ID is not set" in str(failure)
