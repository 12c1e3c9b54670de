"""The nightly clean-up, and the maintenance of a lake, as jobs and their schedules.

What is removed, and what never is, is decided in ``connector/upkeep/prune.py`` and ``connector/warehouse``.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._check import CheckError

from connector.dagster.failures import as_dagster_failure
from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import PROJECT_TAG, TABLE_TAG
from connector.errors import ConnectorError

# Runs that are older than this lost their logs in an earlier night.
LOOKED_BACK = timedelta(days=60)


def prune_schedule(
    *,
    name: str = "connector_prune",
    cron: str = "30 5 * * *",
    warehouse: WarehouseResource | None = None,
    files_days: float = 4.0,
    receipts_days: float = 400.0,
    builds_days: float = 4.0,
    logs_days: float = 30.0,
) -> dg.ScheduleDefinition:
    """A job that does what ``connector prune`` does, and the schedule for it; stopped unless switched on.

    Args:
        cron: in UTC.
        files_days: age after which export files that were not landed are removed.
        receipts_days: age after which receipts that no row refers to are removed.
        builds_days: age after which the folders of builds of models in this code location are removed.
        logs_days: age after which the compute logs of runs of this package's jobs are removed; the event log stays.
    """
    target = warehouse or WarehouseResource()

    @dg.op(name=f"{name}_op", description="Removes files of dead runs and receipts that no row refers to.")
    def _op(context: dg.OpExecutionContext) -> None:
        from connector.upkeep.prune import Pruned, prune, prune_builds

        with as_dagster_failure():
            pruned = prune(target.warehouse(), target.spool_path, files_days=files_days, receipts_days=receipts_days)
        assets, jobs = _of_ours(context)
        for project in sorted({tag for one in assets if (tag := one.node_def.tags.get(PROJECT_TAG))}):
            pruned.append(prune_builds(Path(project) / "target", older_than_days=builds_days))
        pruned.append(Pruned("runs whose compute logs were removed", _prune_logs(context.instance, jobs, logs_days)))
        context.add_output_metadata({one.what: one.count for one in pruned})

    @dg.job(
        name=name,
        executor_def=dg.in_process_executor,
        description="Removes what is not needed any more; see connector prune.",
    )
    def _job() -> None:
        _op()

    return dg.ScheduleDefinition(
        name=f"{name}_nightly",
        job=_job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Removes files of dead runs and old receipts every night; what is needed to go on stays.",
    )


def _of_ours(context: dg.OpExecutionContext) -> tuple[list[dg.AssetsDefinition], list[str]]:
    """The assets of the code location that the builders of this package made, and the jobs that run them alone."""
    try:
        here = context.repository_def
    except CheckError:  # a job that is executed without its code location
        return [], []
    assets = [
        asset
        for asset in dict.fromkeys(here.assets_defs_by_key.values())
        if asset.is_executable and {TABLE_TAG, PROJECT_TAG} & asset.node_def.tags.keys()
    ]
    keys = {key for asset in assets for key in asset.keys}
    jobs = {job.name: job.asset_layer.selected_asset_keys for job in here.get_all_jobs()}
    return assets, [name for name, mine in jobs.items() if mine and mine <= keys and not name.startswith("__")]


def _prune_logs(instance: dg.DagsterInstance, jobs: list[str], days: float) -> int:
    """Remove the compute logs of old runs of some jobs; how many runs."""
    before, gone = datetime.now(UTC) - timedelta(days=days), 0
    for job in jobs:
        ended = dg.RunsFilter(
            job_name=job,
            statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
            created_before=before,
            created_after=before - LOOKED_BACK,
        )
        for run in instance.get_runs(ended):
            instance.compute_log_manager.delete_logs(prefix=[run.run_id])
            gone += 1
    return gone


def maintain_schedule(
    *,
    name: str = "connector_maintain",
    cron: str = "40 */6 * * *",
    warehouse: WarehouseResource | None = None,
    keep_hours: float = 24.0,
) -> dg.ScheduleDefinition:
    """A job that does what ``connector maintain`` does, and the schedule for it: on for a lake, off for other kinds.

    Args:
        cron: in UTC.
        keep_hours: how long replaced rows stay readable. Longer than any reading takes.
    """
    target = warehouse or WarehouseResource()

    @dg.op(name=f"{name}_op", description="Removes what a lake keeps of replaced rows, and merges its small files.")
    def _op(context: dg.OpExecutionContext) -> None:
        with as_dagster_failure():
            done = target.warehouse().maintain(keep=timedelta(hours=keep_hours))
        context.add_output_metadata({one.what: one.count for one in done})

    @dg.job(
        name=name,
        executor_def=dg.in_process_executor,
        description="Keeps a lake small and its readers safe; see connector maintain. A DuckDB file needs none.",
    )
    def _job() -> None:
        _op()

    return dg.ScheduleDefinition(
        name=f"{name}_schedule",
        job=_job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING if _is_needed(target) else dg.DefaultScheduleStatus.STOPPED,
        description="Maintains a lake every six hours; on by itself where WAREHOUSE names one.",
    )


def _is_needed(target: WarehouseResource) -> bool:
    with suppress(ConnectorError):  # what is wrong with the setting is said by the run that needs it
        return target.warehouse().needs_maintenance
    return False
