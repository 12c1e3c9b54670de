"""The nightly clean-up, and the maintenance of a lake, as jobs and their schedules.

What is removed, and what never is, is decided in ``connector/upkeep/prune.py`` and ``connector/warehouse``.
"""

from contextlib import suppress
from datetime import timedelta

import dagster as dg

from connector.dagster.failures import as_dagster_failure
from connector.dagster.resources import WarehouseResource
from connector.errors import ConnectorError


def prune_schedule(
    *,
    name: str = "connector_prune",
    cron: str = "30 5 * * *",
    warehouse: WarehouseResource | None = None,
    files_days: float = 4.0,
    receipts_days: float = 400.0,
) -> dg.ScheduleDefinition:
    """A job that does what ``connector prune`` does, and the schedule for it; stopped unless switched on.

    Args:
        cron: in UTC.
        files_days: age after which export files that were not landed are removed.
        receipts_days: age after which receipts that no row refers to are removed.
    """
    target = warehouse or WarehouseResource()

    @dg.op(name=f"{name}_op", description="Removes files of dead runs and receipts that no row refers to.")
    def _op(context: dg.OpExecutionContext) -> None:
        from connector.upkeep.prune import prune

        with as_dagster_failure():
            pruned = prune(target.warehouse(), target.spool_path, files_days=files_days, receipts_days=receipts_days)
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
