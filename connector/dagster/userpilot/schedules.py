"""Schedules of Userpilot: the nightly export and the snapshot of the lookups."""

from collections.abc import Sequence
from datetime import UTC, date, timedelta

import dagster as dg

from connector.dagster.openpanel.schedules import RANGE_END, RANGE_START
from connector.dagster.runs import name_of, ranges, runs_under_way


def userpilot_nightly_export_schedule(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "userpilot_nightly_export",
    cron: str = "30 4 * * *",
    lookback_days: int = 3,
    days_a_job: int = 92,
    jobs_a_night: int = 4,
) -> dg.ScheduleDefinition:
    """Ask for the days that are not landed yet, and for yesterday and the days before it once more.

    Args:
        assets: as :func:`connector.dagster.userpilot.assets.userpilot_assets` made them.
        cron: in UTC. Not before 03:00, when the vendor closes a day.
        lookback_days: days before yesterday that are exported again: imports and deletions change the past.
        days_a_job: longer ranges are asked for in pieces.
        jobs_a_night: the newest ones; the rest the next night.
    """
    asking = next(asset for asset in assets if name_of(asset) == "export_job")
    landing = next(asset for asset in assets if name_of(asset) == "events").key

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        target=dg.AssetSelection.assets(asking),
        description=f"Asks for an export of the days not yet landed, of yesterday, and of the {lookback_days} days "
        "before it again.",
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        partitions = asking.partitions_def
        assert isinstance(partitions, dg.DailyPartitionsDefinition)
        if run := runs_under_way(context, name, [asking.key]):
            return dg.SkipReason(run)
        last = (context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)).date()
        start = partitions.start.date()
        landed = context.instance.get_materialized_partitions(landing)
        days = [start + timedelta(days=offset) for offset in range((last - start).days + 1)]
        wanted = [day for day in days if day.isoformat() not in landed or (last - day).days <= lookback_days]
        found = [piece for stretch in ranges(wanted) for piece in _pieces(*stretch, days_a_job)]
        return [
            dg.RunRequest(
                run_key=f"{name}:{last.isoformat()}:{first.isoformat()}",
                tags={RANGE_START: first.isoformat(), RANGE_END: end.isoformat()},
                asset_selection=[asking.key],
            )
            for first, end in reversed(found[-jobs_a_night:])
        ] or dg.SkipReason("the first partition has not ended yet")

    return _schedule


def userpilot_lookups_schedule(
    assets: Sequence[dg.AssetsDefinition], *, name: str = "userpilot_lookups", cron: str = "45 3 * * *"
) -> dg.ScheduleDefinition:
    """Land what the vendor lists now; what vanished since stays in the tables, marked."""
    chosen = [asset.key for asset in assets if asset.partitions_def is None]

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        target=dg.AssetSelection.assets(*chosen),
        description="Lands the names of features, flows, surveys and properties that events refer to.",
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if run := runs_under_way(context, name, chosen):
            return dg.SkipReason(run)
        return dg.RunRequest(run_key=f"{name}:{context.scheduled_execution_time.isoformat()}")

    return _schedule


def _pieces(first: date, last: date, longest: int) -> list[tuple[date, date]]:
    starts = range(0, (last - first).days + 1, longest)
    return [(first + timedelta(days=start), min(first + timedelta(days=start + longest - 1), last)) for start in starts]
