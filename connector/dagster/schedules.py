"""When days are asked for: every night yesterday and the days before it, and today every hour.

Late rows are a fact of the vendor, so how far back to look is in the catalogue; the hour is this room's.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from connector.dagster.assets import INCREMENTAL_TAG, name_of
from connector.dagster.silent import without_silent
from connector.errors import SettingsError
from connector.openpanel.streams import STREAMS

# A run in one of these states has not ended: its days need no second run behind it.
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
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
            if run := _unfinished(context, name, keys):
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
            if run := _unfinished(context, name, [asset.key]):
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
        assets: as :func:`connector.dagster.exports.userpilot_assets` made them.
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
        if run := _unfinished(context, name, [asking.key]):
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
        if run := _unfinished(context, name, chosen):
            return dg.SkipReason(run)
        return dg.RunRequest(run_key=f"{name}:{context.scheduled_execution_time.isoformat()}")

    return _schedule


def _unfinished(context: dg.ScheduleEvaluationContext, name: str, keys: Sequence[dg.AssetKey]) -> str:
    """A sentence about a run of this schedule and these assets that has not ended; empty if there is none.

    The days a tick leaves out for it are in the next tick's lookback. Without this, nights that take longer than a day
    pile up in the queue, each landing the same days.
    """
    runs = context.instance.get_runs(
        dg.RunsFilter(tags={"dagster/schedule_name": name}, statuses=list(UNFINISHED)), limit=50
    )
    for run in without_silent(context.instance, runs):
        if run.status in UNFINISHED and (not run.asset_selection or run.asset_selection & set(keys)):
            return f"run {run.run_id[:8]} of an earlier tick is still {run.status.value.lower()}; nothing is requested"
    return ""


def ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Days as contiguous ranges, both ends included."""
    found: list[tuple[date, date]] = []
    for day in sorted(days):
        if found and day - found[-1][1] == timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def _pieces(first: date, last: date, longest: int) -> list[tuple[date, date]]:
    starts = range(0, (last - first).days + 1, longest)
    return [(first + timedelta(days=start), min(first + timedelta(days=start + longest - 1), last)) for start in starts]


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
