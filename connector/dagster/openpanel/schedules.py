"""When days are asked for: every night yesterday and the days before it, and today every hour.

Late rows are a fact of the vendor, so how far back to look is in the catalogue; the hour is this room's.
"""

from collections.abc import Sequence
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from connector.catalogue.openpanel import STREAMS
from connector.dagster.runs import INCREMENTAL_TAG, name_of, runs_under_way
from connector.errors import SettingsError

# Streams that change within a day so much that every hour is worth a request.
INTRADAY = ("events", "insights_live")
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def openpanel_nightly_schedules(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "openpanel_nightly",
    cron: str = "15 3 * * *",
    lookback_days: int | None = None,
) -> list[dg.ScheduleDefinition]:
    """The nightly schedule; two if the organization's timezone is not UTC, because a job has days of one timezone.

    The second one is called ``<name>_reports`` and lands insights, charts and funnels; the first one then lands events
    alone. Arguments as for :func:`openpanel_nightly_schedule`.
    """
    groups: dict[dg.PartitionsDefinition[str], list[dg.AssetsDefinition]] = {}
    for asset in assets:
        if asset.partitions_def:
            groups.setdefault(asset.partitions_def, []).append(asset)
    if len(groups) < 2:
        return [openpanel_nightly_schedule(assets, name=name, cron=cron, lookback_days=lookback_days)]
    return [
        openpanel_nightly_schedule(
            group,
            name=name if any(name_of(asset) == "events" for asset in group) else f"{name}_reports",
            cron=cron,
            lookback_days=lookback_days,
        )
        for group in groups.values()
    ]


def openpanel_nightly_schedule(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "openpanel_nightly",
    cron: str = "15 3 * * *",
    lookback_days: int | None = None,
) -> dg.ScheduleDefinition:
    """Yesterday plus the lookback as one run over a range of days.

    Args:
        assets: partitioned by day, all in the same way; :func:`openpanel_nightly_schedules` takes any.
        cron: in UTC. Not before 01:00: session_end rows of a day are written up to 35 minutes after midnight.
        lookback_days: days before yesterday that are landed again; the catalogue's longest if left out.

    Raises:
        SettingsError: the assets have days of different timezones, which no job of Dagster can have.
    """
    if len(kinds := {asset.partitions_def for asset in assets if asset.partitions_def}) > 1:
        raise SettingsError(
            name,
            f"has assets with different days ({'; '.join(sorted(map(str, kinds)))}), and a job of Dagster has one kind",
            next_step="call openpanel_nightly_schedules, which makes a schedule for each kind.",
        )
    days = max(stream.lookback_days for stream in STREAMS) if lookback_days is None else lookback_days
    selection = dg.AssetSelection.assets(*(asset for asset in assets if asset.partitions_def))

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        target=selection,
        description=f"Lands yesterday and the {days} days before it again, because rows arrive late.",
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        requests, waiting = [], []
        for kind, (partitions, keys) in _by_days(assets).items():
            # Yesterday as the asset's own timezone has it: a day that has not ended there is not asked for.
            at = context.scheduled_execution_time.astimezone(ZoneInfo(partitions.timezone))
            start, last = partitions.start.date(), (at - timedelta(days=1)).date()
            if last < start:
                continue
            if run := runs_under_way(context, name, keys):
                waiting.append(f"{kind}: {run}")
                continue
            first = max(last - timedelta(days=days), start)
            requests.append(
                dg.RunRequest(
                    # One request a tick, also when the daemon evaluates a tick twice.
                    run_key=f"{name}:{kind}:{last.isoformat()}",
                    tags={RANGE_START: first.isoformat(), RANGE_END: last.isoformat()},
                    asset_selection=keys,
                )
            )
        return requests or dg.SkipReason("; ".join(waiting) or "the first partition has not ended yet")

    return _schedule


def openpanel_intraday_schedule(
    assets: Sequence[dg.AssetsDefinition], *, name: str = "openpanel_intraday", cron: str = "5 * * * *"
) -> dg.ScheduleDefinition:
    """Today's events, incrementally (only pages newer than what is landed, proven by the count), and a live sample."""
    chosen = [asset for asset in assets if name_of(asset) in INTRADAY]

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        target=dg.AssetSelection.assets(*chosen),
        description="Refreshes today's events, reading only what is newer than the landed rows; samples live visitors.",
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(UTC)
        requests, waiting = [], []
        for asset in chosen:
            if run := runs_under_way(context, name, [asset.key]):
                waiting.append(run)
                continue
            partitions, key = asset.partitions_def, f"{name}:{name_of(asset)}:{at.isoformat()}"
            if partitions is None:
                requests.append(dg.RunRequest(run_key=key, asset_selection=[asset.key]))
            elif isinstance(partitions, dg.DailyPartitionsDefinition) and at.date() >= partitions.start.date():
                requests.append(
                    dg.RunRequest(
                        run_key=key,
                        partition_key=at.date().isoformat(),
                        tags={INCREMENTAL_TAG: "true"},
                        asset_selection=[asset.key],
                    )
                )
        return requests or dg.SkipReason("; ".join(waiting) or "the first partition lies in the future")

    return _schedule


def _by_days(
    assets: Sequence[dg.AssetsDefinition],
) -> dict[str, tuple[dg.DailyPartitionsDefinition, list[dg.AssetKey]]]:
    """Assets that can share a run: one for the raw events, one for the aggregates, whose days may be others."""
    groups: dict[str, tuple[dg.DailyPartitionsDefinition, list[dg.AssetKey]]] = {}
    for asset in assets:
        if isinstance(asset.partitions_def, dg.DailyPartitionsDefinition):
            kind = "events" if name_of(asset) == "events" else "aggregates"
            groups.setdefault(kind, (asset.partitions_def, []))[1].append(asset.key)
    return groups
