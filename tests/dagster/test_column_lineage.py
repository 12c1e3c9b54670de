"""A column of a mart leads to the vendor's field: through the models to the columns that a landing wrote."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from connector import EVENTS
from connector.dagster import ConnectorTranslator, WarehouseResource
from dagster_project import dbt as deployed
from tests.sql.conftest import DAYS, FIRST, sample  # noqa: F401  the fixture
from tests.sql.project import PROJECT

MART, VIEW = dg.AssetKey(["marts", "daily_active"]), dg.AssetKey(["staging", "stg_openpanel__events"])
OTHER, LIST = dg.AssetKey(["staging", "stg_userpilot__events"]), dg.AssetKey(["staging", "stg_userpilot__flows"])


@pytest.fixture(scope="module")
def told(sample, tmp_path_factory):  # noqa: F811
    """What a real run says of each model."""
    from connector.dagster.dbt import model_assets, model_job

    deployed.prepare()
    path = Path(shutil.copy(sample.path, tmp_path_factory.mktemp("lineage") / "warehouse.duckdb"))
    assets = model_assets(
        project_dir=PROJECT, manifest=deployed.MANIFEST, start_date=FIRST, dbt_executable=deployed.DBT,
        warehouse=WarehouseResource(database=str(path)), retry_policy=None, keep_artifacts=False,
    )  # fmt: skip
    job = dg.Definitions(assets=assets, jobs=[model_job(assets)]).resolve_job_def("models")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(
            instance=instance, partition_key=str(DAYS[0]), asset_selection=[MART, VIEW, OTHER, LIST]
        )
    assert done.success
    events = done.get_asset_materialization_events()
    return {event.materialization.asset_key: event.materialization.metadata for event in events}


@pytest.fixture
def lineage(told):
    """Of each model: column -> the columns that it is made of, with their assets."""
    return {key: metadata["dagster/column_lineage"].value.deps_by_column for key, metadata in told.items()}


def test_a_column_of_a_mart_leads_through_staging_to_the_landed_column(lineage):
    above = {(dep.asset_key, dep.column_name) for dep in lineage[MART]["openpanel_users"]}
    assert above == {(VIEW, "user_id")}
    landed = {(dep.asset_key, dep.column_name) for dep in lineage[VIEW]["user_id"]}
    key = ConnectorTranslator().key(EVENTS)
    assert landed == {(key, "profile_id"), (key, "device_id")}
    shown = ConnectorTranslator().metadata(EVENTS)["dagster/column_schema"]
    assert {column for _, column in landed} <= {column.name for column in shown.columns}


def test_every_column_of_a_view_leads_to_a_landed_one(lineage):
    for view, vendor in ((VIEW, "openpanel"), (OTHER, "userpilot")):
        assert [name for name, above in lineage[view].items() if not above] == []
        above = {dep.asset_key for deps in lineage[view].values() for dep in deps}
        assert above == {dg.AssetKey([vendor, "events"])}


def test_types_are_spelt_as_those_of_the_landed_columns(told):
    """A column's type is one word in the catalogue, wherever it stands."""

    def types(schema):
        return {one.name: one.type for one in schema.columns}

    of_models = {key: types(data["dagster/column_schema"].value) for key, data in told.items()}
    shown, view = types(ConnectorTranslator().metadata(EVENTS)["dagster/column_schema"]), of_models[VIEW]
    assert view["path"] == shown["path"] == "VARCHAR"
    assert view["occurred_at"] == shown["created_at"]
    assert view["group_ids"] == shown["groups"]
    assert not [one for of_model in of_models.values() for one in of_model.values() if "varying" in one]


def test_a_run_of_the_job_counts_a_day_where_there_are_days_and_else_all(told):
    """Models by day and models built whole are one run of the job; a model without days has no partition to count."""
    assert told[MART]["dagster/partition_row_count"].value == 1
    assert "dagster/row_count" in told[LIST]
    assert "dagster/partition_row_count" not in told[LIST]
