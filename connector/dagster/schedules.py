"""When days are asked for: every night yesterday and the days before it, and today every hour.

Late rows are a fact of the vendor, so how far back to look is in the catalogue; the hour is this room's.
"""

from collections.abc import Sequence
from datetime import UTC, timedelta

import dagster as dg

from connector.dagster.assets import INCREMENTAL_TAG
from connector.openpanel.streams import STREAMS

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def openpanel_nightly_schedule(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "openpanel_nightly",
    cron: str = "15 3 * * *",
    lookback_days: int | None = None,
) -> dg.ScheduleDefinition:
    """Yesterday plus the lookback as one run over a range of days.

    Args:
        assets: partitioned by day.
        cron: in UTC. Not before 01:00: session_end rows of a day are written up to 35 minutes after midnight.
        lookback_days: days before yesterday that are landed again; the catalogue's longest if left out.
    """
    days = max(stream.lookback_days for stream in STREAMS) if lookback_days is None else lookback_days
    selection = dg.AssetSelection.assets(*assets)

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        target=selection,
        description=f"Lands yesterday and the {days} days before it again, because rows arrive late.",
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(UTC)
        last = (at - timedelta(days=1)).date()
        first = last - timedelta(days=days)
        partitions = _partitions(assets)
        start = partitions.start.date()
        if last < start:
            return dg.SkipReason(f"the first partition is {start}, which has not ended yet")
        first = max(first, start)
        return dg.RunRequest(
            # One request a tick, also when the daemon evaluates a tick twice.
            run_key=f"{name}:{last.isoformat()}",
            tags={RANGE_START: first.isoformat(), RANGE_END: last.isoformat()},
        )

    return _schedule


def openpanel_intraday_schedule(
    assets: Sequence[dg.AssetsDefinition], *, name: str = "openpanel_intraday", cron: str = "5 * * * *"
) -> dg.ScheduleDefinition:
    """Today, incrementally: only pages newer than what is landed, proven by the vendor's count."""
    selection = dg.AssetSelection.assets(*assets)

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        target=selection,
        description="Refreshes today's partition; reads only what is newer than the landed rows.",
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(UTC)
        if at.date() < _partitions(assets).start.date():
            return dg.SkipReason("the first partition lies in the future")
        return dg.RunRequest(
            run_key=f"{name}:{at.isoformat()}", partition_key=at.date().isoformat(), tags={INCREMENTAL_TAG: "true"}
        )

    return _schedule


def _partitions(assets: Sequence[dg.AssetsDefinition]) -> dg.DailyPartitionsDefinition:
    partitions = assets[0].partitions_def
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    return partitions
