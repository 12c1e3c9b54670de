"""The nightly clean-up as a job and its schedule, which is stopped until it is switched on.

What is removed, and what never is, is decided in ``connector/upkeep/prune.py``.
"""

import dagster as dg

from connector.dagster.failures import as_dagster_failure
from connector.dagster.resources import WarehouseResource


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
