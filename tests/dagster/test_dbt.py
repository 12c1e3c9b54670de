"""Models below the landed tables: what they report, where they are, of which instance, and how to do without."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import duckdb
import pytest

from connector import EVENTS, SettingsError, Warehouse
from connector.dagster import ConnectorTranslator
from connector.openpanel.reports.config import streams
from dagster_project import dbt as deployed
from tests.dagster.models import LATE, OPENPANEL, Clockwork, made
from tests.sql.conftest import DAYS, FIRST, Landed, sample  # noqa: F401  the fixture
from tests.sql.project import BY_DAY, PROJECT, frame
from tests.sql.test_late_days import late_visit, of_other_days

ROOT = Path(__file__).parents[2]
USERPILOT = dg.AssetKey(["userpilot", "events"])


def test_lineage_runs_from_the_landed_table_to_the_mart(defs):
    graph = defs.resolve_asset_graph()
    above = graph.get_ancestor_asset_keys(dg.AssetKey(["marts", "people"]))
    assert {OPENPANEL, USERPILOT, dg.AssetKey(["staging", "stg_openpanel__events"])} <= above
    modules = graph.get(dg.AssetKey(["staging", "stg_userpilot__surveys_modules"]))
    assert modules.parent_keys == {dg.AssetKey(["userpilot", "surveys"])}
    assert graph.get(dg.AssetKey(["marts", "sessions"])).freshness_policy
    sensor = next(one for one in defs.sensors if one.name == "models_sensor")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_every_model_is_named_with_its_database_and_where_it_is(defs, tmp_path):
    for asset in defs.assets:
        for spec in asset.specs if isinstance(asset, dg.AssetsDefinition) else ():
            if spec.key.path[-1] != "export_job" and spec.key.path[0] in ("marts", "staging", "intermediate"):
                schema, table = spec.key.path
                assert spec.metadata["dagster/table_name"] == f"warehouse.{schema}.{table}"
                assert spec.metadata["dagster/storage_kind"] == "duckdb"
                assert spec.metadata["dagster/uri"] == (tmp_path / "warehouse.duckdb").as_uri()


def test_models_can_be_left_out(manifest, monkeypatch):
    monkeypatch.setenv("CONNECTOR_DBT", "off")
    assert not deployed.models().assets
    monkeypatch.setattr(deployed, "MANIFEST", Path("nowhere.json"))
    monkeypatch.setenv("CONNECTOR_DBT", "")
    assert not deployed.models().assets
    for value, said in (("on", "make install"), ("maybe", "on or off")):
        monkeypatch.setenv("CONNECTOR_DBT", value)
        with pytest.raises(SettingsError, match=said):
            deployed.models()


def test_without_models_loading_imports_no_dbt():
    code = (
        "import sys, dagster_project.definitions; print([m for m in sys.modules if m.split('.')[0].find('dbt') >= 0])"
    )
    environment = {**os.environ, "CONNECTOR_DBT": "off"}
    found = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT, env=environment)
    assert found.strip() == "[]"


@contextmanager
def landing_all_the_time(path):
    """Another process's landings, as often as they can be had: a writer that takes the file and lets it go."""
    code = (
        "import sys, threading, time\nfrom connector import Warehouse\n"
        "over = threading.Event()\n"
        "threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()\n"
        "w = Warehouse(sys.argv[1], lock_wait=120)\n"
        "n = 0\n"
        "while not over.is_set() or n < 3:\n"
        "    with w.write() as c:\n"
        "        c.execute('create table if not exists connector.busy as select 1 as n'); time.sleep(0.3)\n"
        "    n += 1; time.sleep(0.5)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, cwd=ROOT)
    try:
        yield
    finally:
        writer.communicate(timeout=180)
        assert writer.returncode == 0


def test_a_late_event_reaches_the_marts_of_its_day_alone_while_others_land(sample, manifest, tmp_path):  # noqa: F811
    """The whole way, without a click: landed again, asked for by the sensor's condition, built in this process while
    another one keeps writing; and this process can land again right after."""
    path = tmp_path / "warehouse.duckdb"
    shutil.copy(sample.path, path)
    defs, (by_day, whole) = made(manifest, path)
    tags = {"dagster/asset_partition_range_start": str(DAYS[0]), "dagster/asset_partition_range_end": str(DAYS[-1])}
    with dg.DagsterInstance.ephemeral() as instance:
        with landing_all_the_time(path):
            first = dg.materialize([by_day], instance=instance, tags=tags)
        assert first.success
        rows = {
            event.materialization.partition: event.materialization.metadata["dagster/partition_row_count"].value
            for event in first.get_asset_materialization_events()
            if event.materialization.asset_key == dg.AssetKey(["marts", "sessions"])
        }
        days = frame(path, "select day::varchar as day, count(*) as n from marts.sessions group by 1")
        assert rows == dict(zip(days["day"], days["n"], strict=True))
        lineage = next(
            event.materialization.metadata["dagster/column_lineage"].value.deps_by_column
            for event in first.get_asset_materialization_events()
            if event.materialization.asset_key == dg.AssetKey(["marts", "daily_active"])
        )
        assert {dep.asset_key.path[-1] for dep in lineage["users"]} == {
            "stg_openpanel__events",
            "stg_userpilot__events",
        }
        assert len(first.get_asset_check_evaluations()) > 10
        before = {name: frame(path, f"select * from marts.{name}") for name in BY_DAY}

        works = Clockwork(defs, instance)
        works.tick()
        landed = Landed(tmp_path, type(sample.vendor)())
        landed.vendor.load_sample(DAYS[0], DAYS[-1])
        landed.vendor.load(late_visit("late-session")[:2])
        landed.land([LATE])
        works.landed(OPENPANEL, LATE)
        (asked,) = set(map(frozenset, works.tick().values()))
        assert asked == {str(LATE)}
        with nothing_but_dbt_itself():
            again = dg.materialize([by_day], instance=instance, partition_key=str(LATE))
        assert again.success
        # Other tests build in this folder, too.
        (made_by_it,) = PROJECT.glob(f"target/models_by_day-{again.run_id[:8]}-*")
        log = (made_by_it / "dbt.log").read_text()
        assert "Running with dbt" in log
        assert "Unable to do partial parsing" not in log
        assert columns_of(again) == columns_of(first)
        for name in BY_DAY:
            after = frame(path, f"select * from marts.{name}")
            days = [LATE - timedelta(days=1), LATE] if name == "funnel" else [LATE]
            assert of_other_days(before[name], days).equals(of_other_days(after, days)), name
            assert not before[name].equals(after), name
        assert set(works.tick()) >= {dg.AssetKey(["marts", "people"])}
        assert dg.materialize([whole], instance=instance).success
        assert list(frame(path, "select person_id from marts.people where person_id = 'u-late'")["person_id"])
        landed.land([LATE])
    with Warehouse(path).read() as connection:
        assert connection.execute(f"select count(*) > 0 from {EVENTS.table}").fetchone() == (True,)


def columns_of(result):
    """Columns and lineage of each model, as a run reported them."""
    return {
        (event.materialization.asset_key, name): event.materialization.metadata[name]
        for event in result.get_asset_materialization_events()
        for name in ("dagster/column_schema", "dagster/column_lineage")
        if name in event.materialization.metadata
    }


@contextmanager
def nothing_but_dbt_itself():
    """What a run of the same project does not need again: dbt's version and an adapter here."""
    from dagster_dbt import DbtCliResource

    with (
        patch.object(DbtCliResource, "_initialize_dbt_core_adapter", side_effect=AssertionError("an adapter was made")),
        patch("dagster_dbt.core.resource.check_output", side_effect=AssertionError("dbt was asked for its version")),
    ):
        yield


class Raw(ConnectorTranslator):
    """Other keys than the tables' names."""

    def key(self, stream):
        return dg.AssetKey(["raw", stream.schema, stream.name])


def parents(defs, *path):
    return defs.resolve_asset_graph().get(dg.AssetKey(list(path))).parent_keys


def external(defs):
    """Names of tables that models read and no asset lands: only those that nobody asked for may be."""
    return {key.path[-1] for key in defs.resolve_asset_graph().external_asset_keys}


def test_models_hang_below_the_keys_that_a_translator_gives(manifest, tmp_path):
    """And are asked for by them: a landing under another name rebuilds its day."""
    defs, _ = made(manifest, tmp_path / "warehouse.duckdb", names=Raw())
    assert parents(defs, "staging", "stg_openpanel__events") == {Raw().key(EVENTS)}
    assert parents(defs, "staging", "stg_userpilot__surveys_modules") == {dg.AssetKey(["raw", "userpilot", "surveys"])}
    assert external(defs) <= {one.name for one in streams() if not one.by_default}
    with dg.DagsterInstance.ephemeral() as instance:
        works = Clockwork(defs, instance)
        works.tick()
        works.landed(Raw().key(EVENTS), LATE)
        asked = works.tick()
        assert asked[dg.AssetKey(["marts", "sessions"])] == {str(LATE)}


def test_names_landed_under_another_key_reach_the_marts(manifest, tmp_path):
    defs, _ = made(manifest, tmp_path / "warehouse.duckdb", names=Raw())
    with dg.DagsterInstance.ephemeral() as instance:
        works = Clockwork(defs, instance)
        works.tick()
        works.landed(dg.AssetKey(["raw", "userpilot", "flows"]))
        assert dg.AssetKey(["marts", "flow_adoption"]) in works.tick()


def test_models_of_two_instances_live_side_by_side(manifest, tmp_path):
    """Each below its own landings, and asked for by those alone."""
    both = dg.Definitions.merge(
        made(manifest, tmp_path / "warehouse.duckdb")[0],
        made(manifest, tmp_path / "warehouse.duckdb", instance="shop")[0],
    )
    assert parents(both, "staging", "stg_openpanel__events") == {OPENPANEL}
    assert parents(both, "staging_shop", "stg_openpanel__events") == {dg.AssetKey(["openpanel_shop", "events"])}
    mart = both.resolve_asset_graph().get(dg.AssetKey(["marts_shop", "sessions"]))
    assert (mart.group_name, bool(mart.freshness_policy)) == ("marts_shop", True)
    assert external(both) <= {one.name for one in streams() if not one.by_default}
    with dg.DagsterInstance.ephemeral() as instance:
        works = Clockwork(both, instance)
        works.tick()
        works.landed(dg.AssetKey(["openpanel_shop", "events"]), LATE)
        asked = set(works.tick())
        assert dg.AssetKey(["marts_shop", "sessions"]) in asked
        assert all(key.path[0].endswith("_shop") for key in asked)


def test_models_of_an_instance_read_its_schemas_and_write_their_own(sample, manifest, tmp_path):  # noqa: F811
    """Built in a process with another timezone than theirs, which they were given in Python."""
    path = tmp_path / "warehouse.duckdb"
    shutil.copy(sample.path, path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema openpanel_shop")
        connection.execute(
            f"create table openpanel_shop.events as select * from openpanel.events where _day = '{LATE}'"
        )
    _, (by_day, _) = made(manifest, path, instance="shop", timezone="Asia/Tokyo")
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([by_day], instance=instance, partition_key=str(LATE))
    counted = {
        event.materialization.asset_key: event.materialization.metadata["dagster/partition_row_count"].value
        for event in done.get_asset_materialization_events()
        if "dagster/partition_row_count" in event.materialization.metadata
    }
    found = frame(
        path,
        "select count(*) as n, count(*) filter (where day <> $late) as others, "
        "count(*) filter (where local_day <> (started_at at time zone 'Asia/Tokyo')::date) as wrong, "
        "count(*) filter (where local_day <> day) as moved from marts_shop.sessions",
        late=str(LATE),
    ).iloc[0]
    assert counted[dg.AssetKey(["marts_shop", "sessions"])] == found["n"] > 0
    assert (found["others"], found["wrong"]) == (0, 0)
    assert found["moved"] > 0
    assert frame(path, "select count(*) as n from duckdb_tables() where schema_name = 'marts'")["n"][0] == 0
