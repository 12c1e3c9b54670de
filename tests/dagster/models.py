"""The models of ``sql/`` as assets, and ticks of the sensor that asks for them: for all tests of models in Dagster."""

from contextlib import contextmanager

import dagster as dg
from dagster._core.execution.api import create_execution_plan

from connector.dagster import WarehouseResource, build_definitions
from dagster_project import dbt as deployed
from tests.sql.conftest import DAYS, FIRST
from tests.sql.project import PROJECT

OPENPANEL = dg.AssetKey(["openpanel", "events"])
LATE = DAYS[1]


def made(manifest, path, *, names=None, instance="", timezone="", start=FIRST):
    from connector.dagster.dbt import model_assets, model_sensor

    assets = model_assets(
        project_dir=PROJECT, manifest=manifest, start_date=start, warehouse=WarehouseResource(database=str(path)),
        dbt_executable=deployed.DBT, retry_policy=None, instance=instance, timezone=timezone, landed_by=names,
    )  # fmt: skip
    sensor = model_sensor(assets, name=f"models_sensor{instance and f'_{instance}'}")
    return dg.Definitions.merge(
        build_definitions(start_date=FIRST, instance=instance, translator=names),
        dg.Definitions(assets=assets, sensors=[sensor]),
    ), assets


class Clockwork:
    """Ticks of the automation sensor against one instance."""

    def __init__(self, defs, instance):
        self.defs, self.instance, self.cursor = defs, instance, None

    def tick(self):
        """What is asked for now: asset -> partitions, or None for an asset without."""
        found = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        asked = {}
        for result in found.results:
            if result.true_subset.size:
                found_in = result.true_subset
                asked[result.key] = (
                    set(found_in.expensively_compute_partition_keys()) if found_in.is_partitioned else None
                )
        return asked

    @contextmanager
    def landing(self, key, day):
        """A run is under way that lands this, and then has landed it."""
        job = self.defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection={key})
        run = self.instance.create_run_for_job(
            job, asset_selection=frozenset({key}), status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": str(day)}, execution_plan=create_execution_plan(job),
        )  # fmt: skip
        yield
        self.landed(key, day)
        self.instance.report_run_canceled(run)

    def landed(self, key, day=None):
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day and str(day)))
