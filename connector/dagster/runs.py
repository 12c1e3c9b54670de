"""What assets, schedules and sensors share about runs: tags, jobs, retries, partitions, cursors, runs under way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import dagster as dg
import msgspec

from connector.dagster.resources import WarehouseResource
from connector.dagster.translator import ConnectorTranslator
from connector.nights import between
from connector.stream import Stream

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Three tries a partition, five a request: at most fifteen, and a minute or more between partition tries.
RETRIES = dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
ALLOW_DROP_TAG = "connector/allow_drop"
# Leave out rows of an export that no day can hold, instead of refusing all of it.
ALLOW_UNDATED_TAG = "connector/allow_undated"
# On the op of every asset of ours, whatever a translator calls the asset: the table it lands.
TABLE_TAG = "connector/table"
# Likewise, of models: the folder of their dbt project.
PROJECT_TAG = "connector/dbt_project"
# Likewise: the timezone of the organization it is of.
TIMEZONE_TAG = "connector/timezone"
# Set by the intraday schedule: read only what is newer than the landed rows.
INCREMENTAL_TAG = "connector/incremental"
# Set by every schedule and sensor: which warehouse the run lands in.
WAREHOUSE_TAG = "connector/warehouse"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all assets of one call of a builder share."""

    translator: ConnectorTranslator
    start_date: date
    pool: str
    retry_policy: dg.RetryPolicy | None


def asset_job(name: str, assets: Iterable[dg.AssetsDefinition], description: str) -> "UnresolvedAssetJobDefinition":
    """The job that a schedule or sensor runs. Its steps share one process, whatever the code location's executor is.

    The work waits for the network, not for cores: a process for each step would cost more than the step.
    """
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*assets),
        description=description,
        executor_def=dg.in_process_executor,
    )


def snapshot_schedule(
    assets: Sequence[dg.AssetsDefinition], *, name: str, cron: str, description: str, warehouse: WarehouseResource
) -> dg.ScheduleDefinition:
    """Land assets without days as they are now, unless the run before is still at it."""

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        job=asset_job(name, assets, description),
        description=description,
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if run := runs_under_way(context, name, [asset.key for asset in assets], warehouse):
            return dg.SkipReason(run)
        return dg.RunRequest(
            run_key=f"{name}:{context.scheduled_execution_time.isoformat()}",
            tags={WAREHOUSE_TAG: warehouse.fingerprint()},
        )

    return _schedule


_Cursor = TypeVar("_Cursor", bound=msgspec.Struct)


def decoded(text: str | None, kind: type[_Cursor]) -> _Cursor:
    """A sensor's cursor; an empty one if there is none, or if it cannot be read."""
    try:
        return msgspec.json.decode(text or "{}", type=kind)
    except msgspec.DecodeError:
        return kind()


def encoded(cursor: msgspec.Struct) -> str:
    """A sensor's cursor as the text that Dagster keeps."""
    return msgspec.json.encode(cursor).decode()


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
# A tick looks at so many runs at most.
MOST_RUNS = 500


def runs_under_way(
    context: dg.ScheduleEvaluationContext, name: str, keys: Sequence[dg.AssetKey], target: WarehouseResource
) -> str:
    """A sentence about a run of this schedule and these assets that has not ended; empty if there is none.

    The days a tick leaves out for it are in the next tick's lookback. Without this, nights that take longer than a day
    pile up in the queue, each landing the same days.
    """
    for run in unfinished(context.instance, target, {"dagster/schedule_name": name}):
        if not run.asset_selection or run.asset_selection & set(keys):
            return f"run {run.run_id[:8]} of an earlier tick is still {run.status.value.lower()}; nothing is requested"
    return ""


def unfinished(
    instance: dg.DagsterInstance, target: WarehouseResource, tags: dict[str, str] | None = None
) -> list[dg.DagsterRun]:
    """Runs that have not ended, except those that land in another warehouse: another code location may share names."""
    runs = instance.get_runs(dg.RunsFilter(tags=tags or {}, statuses=list(UNFINISHED)), limit=MOST_RUNS)
    here = target.fingerprint()
    ours = [run for run in runs if run.tags.get(WAREHOUSE_TAG, here) == here]
    return [run for run in without_silent(instance, ours) if run.status in UNFINISHED]


def days_under_way(runs: Iterable[dg.DagsterRun], key: dg.AssetKey) -> set[date]:
    """The days of an asset that runs are about to land, whatever started them."""
    found: set[date] = set()
    for run in runs:
        first = run.tags.get(PARTITION) or run.tags.get(RANGE_START)
        if first and (not run.asset_selection or key in run.asset_selection):
            found.update(_days(first, run.tags.get(PARTITION) or run.tags.get(RANGE_END, first)))
    return found


def _days(first: str, last: str) -> Iterable[date]:
    try:
        return between(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:  # partitions of another kind
        return []


def within(partitions: dg.PartitionsDefinition[str] | None, days: Iterable[date]) -> tuple[list[date], list[date]]:
    """Days that are partitions, and days that are not: START_DATE may have moved since they were landed."""
    every = sorted(set(days))
    first, last = (
        (partitions.get_first_partition_key(), partitions.get_last_partition_key()) if partitions else ("", "")
    )
    inside = [day for day in every if first and last and first <= day.isoformat() <= last]
    return inside, [day for day in every if day not in inside]


def range_tags(first: date, last: date) -> dict[str, str]:
    """The tags of a run over a range of partitions, both ends included."""
    return {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}


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
