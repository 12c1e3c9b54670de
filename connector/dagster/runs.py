"""What assets, schedules and sensors share about runs: tags, retries, partitions, days under way."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from connector.stream import Stream

# Three tries a partition, five a request: at most fifteen, and a minute or more between partition tries.
RETRIES = dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
ALLOW_DROP_TAG = "connector/allow_drop"
# Leave out rows of an export that no day can hold, instead of refusing all of it.
ALLOW_UNDATED_TAG = "connector/allow_undated"
# On the op of every asset of ours, whatever a translator calls the asset: the table it lands.
TABLE_TAG = "connector/table"
# Likewise: the timezone of the organization it is of.
TIMEZONE_TAG = "connector/timezone"
# Set by the intraday schedule: read only what is newer than the landed rows.
INCREMENTAL_TAG = "connector/incremental"


def table_of(asset: dg.AssetsDefinition) -> str:
    """The table an asset of ours lands, whatever a translator calls the asset."""
    return asset.node_def.tags.get(TABLE_TAG) or ".".join(asset.key.path)


def name_of(asset: dg.AssetsDefinition) -> str:
    """The name of its stream, such as ``events``."""
    return table_of(asset).rpartition(".")[2]


def days_of(stream: Stream, start_date: date, timezone: str) -> dg.DailyPartitionsDefinition | None:
    """A stream's days from ``start_date`` to today; today is included because it can be refreshed all day long."""
    if stream.days == "none":
        return None
    zone = timezone if stream.days == "local" else "UTC"
    return dg.DailyPartitionsDefinition(start_date=start_date.isoformat(), timezone=zone, end_offset=1)


def is_on(context: dg.AssetExecutionContext, tag: str) -> bool:
    """Whether a run carries a tag that says yes."""
    return context.run.tags.get(tag, "").lower() in {"1", "true", "yes"}


# A run in one of these states has not ended: its days need no second run behind it.
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def runs_under_way(context: dg.ScheduleEvaluationContext, name: str, keys: Sequence[dg.AssetKey]) -> str:
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


# Longer than any pause of a living run: waiting for the warehouse ends after 5 minutes, a retry comes within 3.
SILENT = timedelta(minutes=30)
_ALIVE = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def without_silent(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> list[dg.DagsterRun]:
    """The same runs; those whose process died are reported as failed, and come back so."""
    return [_failed(instance, run) if _is_silent(instance, run) else run for run in runs]


def _is_silent(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    if run.status not in _ALIVE or instance.run_launcher.supports_check_run_worker_health:
        return False
    said = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return bool(said) and datetime.now(UTC).timestamp() - said[0].timestamp > SILENT.total_seconds()


def _failed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    minutes = int(SILENT.total_seconds() // 60)
    instance.report_run_failed(
        run, f"The run has said nothing for {minutes} minutes: its process is gone. What had landed stays landed."
    )
    return instance.get_run_by_id(run.run_id) or run
