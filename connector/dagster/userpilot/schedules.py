"""Schedules of Userpilot: the nightly export and the snapshot of the lookups."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg

from connector.dagster.days import receipts
from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import (
    WAREHOUSE_TAG,
    asset_job,
    days_under_way,
    name_of,
    range_tags,
    runs_under_way,
    snapshot_schedule,
    table_of,
    unfinished,
)
from connector.nights import last_days
from connector.userpilot.exports.due import DAYS_A_JOB, JOBS_A_NIGHT, LOOKBACK, exports_due
from connector.warehouse.coverage import Landed, end_of


def userpilot_nightly_export_schedule(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "userpilot_nightly_export",
    cron: str = "30 4 * * *",
    lookback_days: int = LOOKBACK,
    days_a_job: int = DAYS_A_JOB,
    jobs_a_night: int = JOBS_A_NIGHT,
    warehouse: WarehouseResource | None = None,
) -> dg.ScheduleDefinition:
    """Ask for yesterday and the days before it once more, and for the days that are not landed yet.

    Gaps between landed days come first, the oldest first and those that have failed last; then the days before the
    first landed one, the newest first. What a run is about to land is left out.

    Args:
        assets: as :func:`connector.dagster.userpilot.assets.userpilot_assets` made them.
        name: also of the job that it runs.
        cron: in UTC. Not before 03:00, when the vendor closes a day.
        lookback_days: days before yesterday that are exported again: imports and deletions change the past.
        days_a_job: longer ranges are asked for in pieces.
        jobs_a_night: with that of the last days; the rest the next night.
        warehouse: whose receipts tell which days are landed; the one of the WAREHOUSE variable if left out. Without
            any receipt of the table, Dagster's event log tells.
    """
    asking = next(asset for asset in assets if name_of(asset) == "export_job")
    landing = next(asset for asset in assets if name_of(asset) == "events")
    night = _Night(name, asking, landing, lookback_days, days_a_job, jobs_a_night, warehouse or WarehouseResource())

    about = (
        f"Asks for an export of the days not yet landed, of yesterday, and of the {lookback_days} days before it again."
    )

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        job=asset_job(name, [asking], about),
        description=about,
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        return night.requests(context)

    return _schedule


@dataclass(frozen=True)
class _Night:
    """What the nightly export asks for."""

    name: str
    asking: dg.AssetsDefinition
    landing: dg.AssetsDefinition
    lookback_days: int
    days_a_job: int
    jobs_a_night: int
    target: WarehouseResource

    def requests(self, context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        """The last days, and the older ones that are not landed, each as a request over a range."""
        partitions = self.asking.partitions_def
        assert isinstance(partitions, dg.DailyPartitionsDefinition)
        if run := runs_under_way(context, self.name, [self.asking.key], self.target):
            return dg.SkipReason(run)
        start = partitions.start.date()
        newest = last_days(context.scheduled_execution_time, "UTC", start=start, lookback=self.lookback_days)
        if newest is None:
            return dg.SkipReason("the first partition has not ended yet")
        runs = unfinished(context.instance, self.target)
        due = exports_due(
            newest,
            self._landed(context),
            set().union(*(days_under_way(runs, asset.key) for asset in (self.asking, self.landing))),
            start=start,
            days_a_job=self.days_a_job,
            jobs_a_night=self.jobs_a_night,
        )
        tags = {WAREHOUSE_TAG: self.target.fingerprint()}
        return [
            dg.RunRequest(
                run_key=f"{self.name}:{newest[1]}:{begin}",
                tags={**range_tags(begin, end), **tags},
                asset_selection=[self.asking.key],
            )
            for begin, end in due
        ]

    def _landed(self, context: dg.ScheduleEvaluationContext) -> Landed | None:
        """What is landed; None while that cannot be told."""
        tables = receipts(context, self.target)
        if tables is None:
            return None
        if found := tables.get(table_of(self.landing)):
            return found
        known = map(date.fromisoformat, context.instance.get_materialized_partitions(self.landing.key))
        return Landed({day: end_of(day, "UTC") for day in known}, {}, 0.0)


def userpilot_lookups_schedule(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "userpilot_lookups",
    cron: str = "45 3 * * *",
    warehouse: WarehouseResource | None = None,
) -> dg.ScheduleDefinition:
    """Land what the vendor lists now; what vanished since stays in the tables, marked."""
    return snapshot_schedule(
        [asset for asset in assets if asset.partitions_def is None],
        name=name,
        cron=cron,
        description="Lands the names of features, flows, surveys and properties that events refer to.",
        warehouse=warehouse or WarehouseResource(),
    )
