"""The code location loads as the server loads it, with the promised names and without a secret."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from connector import SettingsError
from connector.dagster import (
    ConnectorTranslator,
    OpenPanelResource,
    WarehouseResource,
    build_definitions,
    openpanel_definitions,
)
from connector.dagster.runs import INCREMENTAL_TAG

ROOT = Path(__file__).parents[2]


@pytest.fixture
def defs():
    return build_definitions()


def test_asset_keys_are_a_promise(defs):
    assert {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()} == {
        f"openpanel/{name}"
        for name in (
            "events",
            "insights_metrics",
            "insights_pages",
            "insights_breakdowns",
            "insights_live",
        )
    } | {
        f"userpilot/{name}"
        for name in (
            "export_job",
            "events",
            "user_properties",
            "company_properties",
            "features_events",
            "events_properties",
            "segments",
            "flows",
            "banners",
            "spotlights",
            "surveys",
            "resource_center_modules",
            "checklists",
            "embeds",
        )
    }


def test_charts_and_funnels_are_assets_once_some_are_configured(tmp_path, monkeypatch):
    (tmp_path / "reports.yaml").write_text("charts: {views: {series: [screen_view]}}")
    monkeypatch.setenv("OPENPANEL_REPORTS", str(tmp_path / "reports.yaml"))
    graph = build_definitions().resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert "openpanel/charts" in keys
    assert "openpanel/funnels" not in keys
    checks = {key.name for key in graph.asset_check_keys if key.asset_key.path[-1] == "charts"}
    assert checks == {"key_is_unique", "nothing_unexpected", "every_question_was_asked"}


def test_lists_have_freshness_and_one_check_in_a_group_of_their_own(defs):
    graph = defs.resolve_asset_graph()
    flows = dg.AssetKey(["userpilot", "flows"])
    spec = defs.resolve_assets_def(flows).specs_by_key[flows]
    assert (spec.group_name, spec.freshness_policy is not None) == ("userpilot_lists", True)
    assert [key.name for key in graph.asset_check_keys if key.asset_key == flows] == ["key_is_unique"]
    assert graph.get(dg.AssetKey(["userpilot", "events"])).group_name == "userpilot"


def test_every_table_is_named_with_its_database_and_its_file(tmp_path):
    store = WarehouseResource(database=str(tmp_path / "shop.duckdb"))
    for asset in build_definitions(warehouse=store).assets:
        for spec in asset.specs if isinstance(asset, dg.AssetsDefinition) else ():
            if spec.key.path[-1] == "export_job":
                continue
            assert spec.metadata["dagster/table_name"] == f"shop.{'.'.join(spec.key.path)}"
            assert spec.metadata["dagster/storage_kind"] == "duckdb"
            assert spec.metadata["dagster/uri"] == (tmp_path / "shop.duckdb").as_uri()
            types = {column.type for column in spec.metadata["dagster/column_schema"].columns}
            assert "TIMESTAMPTZ" not in types


def test_loading_tells_no_beta_warning_of_ours():
    code = "import warnings; warnings.simplefilter('always'); import dagster_project.definitions"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"CONNECTOR_DBT": "off"})
    assert done.returncode == 0, done.stderr
    assert "BetaWarning" not in done.stderr


def test_schedules_are_a_promise(defs):
    assert {schedule.name for schedule in defs.schedules} == {
        "openpanel_nightly", "openpanel_intraday", "userpilot_nightly_export", "userpilot_lookups",
        "connector_prune_nightly",
        "connector_maintain_schedule",
    }  # fmt: skip


def test_sensors_are_a_promise_and_run_without_a_click(defs):
    assert {sensor.name: sensor.default_status for sensor in defs.sensors} == {
        "openpanel_drift_sensor": dg.DefaultSensorStatus.RUNNING,
        "userpilot_export_sensor": dg.DefaultSensorStatus.RUNNING,
        "connector_alerts": dg.DefaultSensorStatus.RUNNING,
        "connector_alerts_broken": dg.DefaultSensorStatus.RUNNING,
    }


def test_definitions_load_without_any_variable(defs):
    dg.Definitions.validate_loadable(defs)


def test_loading_imports_no_client_and_no_landing():
    """Types on the way from a sensor to an export are named, not imported: every run and step pays for what loads."""
    code = (
        "import sys; from connector.dagster import build_definitions; build_definitions(); "
        "late = ('httpx', 'pandas', 'connector.http', 'connector.landing', 'connector.sync', "
        "'connector.openpanel.client', 'connector.userpilot.client', 'connector.userpilot.exports.run'); "
        "print([name for name in late if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True, cwd=ROOT).strip() == "[]"


def test_a_malformed_start_date_is_told_when_the_location_loads(monkeypatch):
    monkeypatch.setenv("START_DATE", "soon")
    with pytest.raises(SettingsError, match="START_DATE"):
        build_definitions()


def test_days_are_utc_and_include_today(monkeypatch):
    monkeypatch.setenv("START_DATE", "2026-01-01")
    partitions = build_definitions().resolve_assets_def(dg.AssetKey(["openpanel", "events"])).partitions_def
    keys = partitions.get_partition_keys(current_time=datetime(2026, 3, 4, 12, tzinfo=UTC))
    assert (keys[0], keys[-1], partitions.timezone) == ("2026-01-01", "2026-03-04", "UTC")


def test_columns_and_links_are_shown_before_the_first_run(defs):
    spec = defs.resolve_assets_def(dg.AssetKey(["openpanel", "events"])).specs_by_key[
        dg.AssetKey(["openpanel", "events"])
    ]
    columns = {column.name: column for column in spec.metadata["dagster/column_schema"].columns}
    assert {"id", "created_at", "properties", "_day", "_extra", "_load_id", "_landed_at"} <= set(columns)
    assert all(column.description for column in columns.values())
    assert spec.group_name == "openpanel"
    assert spec.kinds == {"openpanel", "duckdb"}


def test_two_projects_live_side_by_side():
    both = dg.Definitions.merge(build_definitions(), build_definitions(instance="shop"))
    dg.Definitions.validate_loadable(both)
    keys = {key.to_user_string() for key in both.resolve_asset_graph().get_all_asset_keys()}
    assert {"openpanel/events", "openpanel_shop/events", "userpilot_shop/events"} <= keys
    assert len(keys) == 2 * (5 + 14)


def test_other_keys_leave_schedules_and_sensors_as_they_are(defs):
    """What an asset lands is known by its table, whatever a translator calls it."""

    class Ours(ConnectorTranslator):
        def key(self, stream):
            return dg.AssetKey(["raw", f"{stream.vendor}_{stream.name}".upper()])

    theirs = build_definitions(translator=Ours())
    dg.Definitions.validate_loadable(theirs)
    for kind in ("schedules", "sensors"):
        assert {one.name for one in getattr(theirs, kind)} == {one.name for one in getattr(defs, kind)}
    night = datetime(2026, 3, 4, 3, 15, tzinfo=UTC)
    assert [keys[0] for keys in ranges(tick(theirs, "openpanel_nightly", night))] == [
        "OPENPANEL_EVENTS",
        "OPENPANEL_INSIGHTS_METRICS",
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"start_date": "soon"}, "start_date"),
        ({"timezone": "Foo/Bar"}, "timezone"),
        ({"instance": "my-shop"}, "small letters"),
    ],
)
def test_arguments_that_cannot_be_are_told_as_the_variables_are(given, said):
    with pytest.raises(SettingsError, match=said):
        build_definitions(**given)


def test_a_day_may_be_a_text_and_one_table_needs_no_list():
    live = openpanel_definitions(start_date="2026-03-01", tables="events")
    (asset,) = live.assets
    assert asset.partitions_def.start.date() == date(2026, 3, 1)


def test_days_of_a_backfill_can_be_shared_out_to_several_runs():
    made = build_definitions(backfill_policy=dg.BackfillPolicy.multi_run(7))
    events = made.resolve_asset_graph().get(dg.AssetKey(["openpanel", "events"]))
    assert events.backfill_policy == dg.BackfillPolicy.multi_run(7)


def test_live_visitors_alone_are_sampled_every_hour():
    live = openpanel_definitions(tables=["insights_live", "insights_metrics"])
    assert {schedule.name for schedule in live.schedules} == {"openpanel_nightly", "openpanel_intraday"}


def test_resources_of_the_caller_cannot_clash():
    theirs = dg.Definitions(resources={"warehouse": dg.ResourceDefinition.hardcoded_resource(1)})
    dg.Definitions.validate_loadable(dg.Definitions.merge(build_definitions(), theirs))


def test_no_secret_is_in_the_code_locations_snapshot(monkeypatch):
    from dagster._core.remote_representation.external_data import RepositorySnap

    monkeypatch.setenv("OPENPANEL_CLIENT_SECRET", "very-secret-value")
    defs = build_definitions(openpanel=OpenPanelResource(client_secret=dg.EnvVar("OPENPANEL_CLIENT_SECRET")))
    snapshot = RepositorySnap.from_def(defs.get_repository_def())
    assert "very-secret-value" not in dg.serialize_value(snapshot)


def test_a_field_may_name_the_variable_that_holds_its_value(monkeypatch):
    """Bound to assets, a resource is never resolved by Dagster: the variable's name would go out as the secret."""
    monkeypatch.setenv("SHOP_SECRET", "very-secret-value")
    monkeypatch.setenv("OPENPANEL_CLIENT_ID", "11111111-1111-4111-8111-111111111111")
    monkeypatch.setenv("OPENPANEL_PROJECT_ID", "shop")
    resource = OpenPanelResource(client_secret=dg.EnvVar("SHOP_SECRET"), project_id=dg.EnvVar("SHOP_PROJECT"))
    with pytest.raises(SettingsError, match="SHOP_PROJECT is not set"):
        resource.settings()
    monkeypatch.setenv("SHOP_PROJECT", "another")
    settings = resource.settings()
    assert (settings.client_secret.reveal(), settings.project_id) == ("very-secret-value", "another")


def tick(defs, name, at):
    schedule = next(schedule for schedule in defs.schedules if schedule.name == name)
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
        )
        return schedule.evaluate_tick(context)


def ranges(result):
    start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    return {tuple(k.path[-1] for k in r.asset_selection): (r.tags[start], r.tags[end]) for r in result.run_requests}


AGGREGATES = ("insights_metrics", "insights_pages", "insights_breakdowns")


def test_every_night_lands_yesterday_and_the_days_before(defs):
    found = ranges(tick(defs, "openpanel_nightly", datetime(2026, 3, 4, 3, 15, tzinfo=UTC)))
    assert found == {("events",): ("2026-02-28", "2026-03-03"), AGGREGATES: ("2026-02-28", "2026-03-03")}


def test_a_day_that_has_not_ended_in_the_organizations_timezone_is_not_asked_for(monkeypatch):
    monkeypatch.setenv("OPENPANEL_TIMEZONE", "America/Los_Angeles")
    defs, night = build_definitions(), datetime(2026, 3, 4, 3, 15, tzinfo=UTC)
    assert ranges(tick(defs, "openpanel_nightly", night)) == {("events",): ("2026-02-28", "2026-03-03")}
    assert ranges(tick(defs, "openpanel_nightly_reports", night)) == {AGGREGATES: ("2026-02-27", "2026-03-02")}


def test_the_first_night_asks_for_no_day_before_the_first(monkeypatch):
    monkeypatch.setenv("START_DATE", "2026-03-03")
    found = ranges(tick(build_definitions(), "openpanel_nightly", datetime(2026, 3, 4, 3, 15, tzinfo=UTC)))
    assert set(found.values()) == {("2026-03-03", "2026-03-03")}
    result = tick(build_definitions(), "openpanel_nightly", datetime(2026, 3, 3, 3, 15, tzinfo=UTC))
    assert result.run_requests == []
    assert "not ended" in result.skip_message


def test_every_hour_refreshes_today_and_samples_live_visitors(defs):
    events, live = tick(defs, "openpanel_intraday", datetime(2026, 3, 4, 7, 5, tzinfo=UTC)).run_requests
    assert (events.partition_key, events.tags[INCREMENTAL_TAG]) == ("2026-03-04", "true")
    assert (live.partition_key, live.asset_selection) == (None, [dg.AssetKey(["openpanel", "insights_live"])])


def test_the_shipped_instance_settings_are_ones_dagster_accepts(tmp_path):
    import shutil

    shutil.copy(ROOT / "dagster_project" / "dagster.yaml", tmp_path / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 4
        assert instance.run_monitoring_enabled


def test_jobs_schedules_and_sensors_say_what_they_do():
    """A name alone does not tell a person whether to switch it on; the UI shows a sentence beside it."""
    defs = build_definitions()
    jobs = [job for job in defs.get_repository_def().get_all_jobs() if not job.name.startswith("__")]
    told = [*jobs, *(defs.schedules or ()), *(defs.sensors or ())]
    assert len(told) > 15
    assert [one.name for one in told if not (one.description or "").endswith(".")] == []
