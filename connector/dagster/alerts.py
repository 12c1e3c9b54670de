"""Tells people what failed, and what stays broken, with the connector's own next step; once per change of state.

Whom to tell is a function of yours, or a webhook. Nothing here repairs or retries a run.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import dagster as dg
import msgspec
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from connector.dagster.days import missing_days
from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import PARTITION, RANGE_END, RANGE_START, TABLE_TAG, decoded, encoded, table_of, within
from connector.errors import ConnectorError, SettingsError
from connector.redaction import excerpt
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import TWO_NIGHTS, failures_of, landed_tables, moved_days

# Set by Dagster on a failed run that it will start again; the last attempt tells.
WILL_RETRY_TAG = "dagster/will_retry"
# A tick may take 60 seconds.
TIME_BUDGET = 30.0
NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One message.

    Attributes:
        state: ``failed`` (a run), ``broken`` (days that stay failed), ``moved`` (days whose vendor count stays another
            one than landed), ``missing`` (days that never landed, though days before them did), ``mended`` (none of
            these any more).
        what, where, next_step: as every error of the connector has them.
        run_id: the run that failed; empty for states of days.
    """

    state: Literal["failed", "broken", "moved", "missing", "mended"]
    what: str
    where: str
    next_step: str
    run_id: str = ""

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.state}: {self.where}: {self.what} Next: {self.next_step}"

    def message(self) -> dict[str, str]:
        """What a webhook gets: ``text``, which chat tools show, and the fields one by one."""
        return {"text": self.text, **asdict(self)}


Tell = Callable[[Alert], None]


def connector_alerts(
    assets: Sequence[dg.AssetsDefinition] | None = None,
    *,
    tell: Tell | None = None,
    name: str = "connector_alerts",
    warehouse: WarehouseResource | None = None,
    broken_hours: float = 6.0,
    interval_seconds: int = 300,
) -> list[dg.SensorDefinition]:
    """Two sensors: one that tells of every failed run, and one that tells of days that stay broken.

    Args:
        assets: of the connector; runs without any of them are not told. All of the connector's in the code
            location if left out.
        tell: called with every alert; a POST to CONNECTOR_ALERT_WEBHOOK if left out. Without either the sensors run
            and say so.
        name: of the first sensor; the second one is ``<name>_broken``.
        warehouse: where coverage and receipts are.
        broken_hours: how long a day may stay failed, have moved or be missing before it is told. A day counts as
            missing from two nights after its end.
        interval_seconds: between two looks.
    """
    return [
        _failed_runs(assets, tell, name, interval_seconds),
        _broken_days(assets, tell, f"{name}_broken", warehouse or WarehouseResource(), broken_hours, interval_seconds),
    ]


def _failed_runs(
    assets: Sequence[dg.AssetsDefinition] | None, tell: Tell | None, name: str, interval: int
) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name=name,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of every failed run of the connector: what, where, and what to do next.",
    )
    def _sensor(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        if run.tags.get(WILL_RETRY_TAG, "").lower() == "true":
            return dg.SkipReason(f"run {run.run_id[:8]} is started again by itself")
        watched = _by_table(assets, context.repository_def).values()
        keys, ours = {key for asset in watched for key in asset.keys}, {asset.node_def.name for asset in watched}
        events = list(context.get_step_failure_events())
        failed = [event for event in events if (event.step_key or "").split("[")[0] in ours]
        if (events and not failed) or (run.asset_selection and not keys & set(run.asset_selection)):
            return dg.SkipReason(f"run {run.run_id[:8]} is not the connector's")
        steps = [event.step_failure_data for event in failed]
        alerts = [alert for step in steps if (alert := _of_step(step, run.run_id))]
        if not alerts:
            said = excerpt(context.failure_event.message or "the run failed", 300)
            alerts = [
                Alert(
                    state="failed",
                    what=said,
                    where=_days(run.tags) or run.job_name,
                    next_step="open the run in Dagster; a process that died leaves its last words in the logs.",
                    run_id=run.run_id,
                )
            ]
        return _tell_all(alerts, tell)

    return _sensor


def _of_step(step: Any, run_id: str) -> Alert | None:
    """The connector's own words from a failed step's metadata, or whatever the error says."""
    data = getattr(step, "user_failure_data", None)
    told: Mapping[str, Any] = {key: value.value for key, value in data.metadata.items()} if data else {}
    if told.get("where"):
        return Alert(
            state="failed",
            what=str(told.get("what", "")),
            where=str(told["where"]),
            next_step=str(told.get("next step", "")),
            run_id=run_id,
        )
    error = getattr(step, "error", None)
    if error is None:
        return None
    cause = error
    while getattr(cause, "cause", None):
        cause = cause.cause
    return Alert(
        state="failed",
        what=excerpt(str(data.description if data and data.description else cause.message), 300),
        where="run",
        next_step=str(told.get("next step") or "open the run in Dagster and read its log."),
        run_id=run_id,
    )


class _Seen(msgspec.Struct, array_like=True):
    """Since when a day of a table is in a bad state, and whether that was told."""

    state: str
    table: str
    day: str
    since: datetime
    told: bool = False


class _Cursor(msgspec.Struct):
    """Everything that is in a bad state."""

    seen: list[_Seen] = []
    v: int = 1


def _by_table(
    assets: Iterable[dg.AssetsDefinition] | None, repository: dg.RepositoryDefinition | None
) -> dict[str, dg.AssetsDefinition]:
    """Assets by the table they land, whatever a translator calls them; the connector's own if none are given."""
    if assets is None:
        every = repository.assets_defs_by_key.values() if repository else ()
        assets = [asset for asset in every if asset.is_executable and TABLE_TAG in asset.node_def.tags]
    return {table_of(asset): asset for asset in assets}


def _broken_days(
    assets: Sequence[dg.AssetsDefinition] | None,
    tell: Tell | None,
    name: str,
    warehouse: WarehouseResource,
    hours: float,
    interval: int,
) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells of days that stay failed or missing, or whose vendor count stays another one, for "
        f"{hours:g} hours; once, and once more when they are mended.",
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        cursor = decoded(context.cursor, _Cursor)
        seen = {(one.state, one.table, one.day): one for one in cursor.seen}
        # A busy warehouse or a slow tick leaves what was seen as it was.
        found, looked_at = _bad_days(context.instance, _by_table(assets, context.repository_def), warehouse, now)
        for thing in found:
            seen.setdefault(thing, _Seen(*thing, since=now))
        mended = [thing for thing in seen if thing not in found and thing[:2] in looked_at]
        due = [thing for thing in found if not seen[thing].told and now - seen[thing].since >= timedelta(hours=hours)]
        # A gap that grows is told once: the days that follow a told one belong to it.
        news = _without_grown(due, seen)
        alerts = [*_grouped(news, found, hours), *_mended([thing for thing in mended if seen[thing].told])]
        reason = f"{len(found)} days are in a bad state, {sum(one.told for one in seen.values())} of them told"
        if alerts and (skipped := _tell_all(alerts, tell)):
            # Not told is not done: asked again in the next tick.
            return dg.SensorResult(skip_reason=skipped, cursor=encoded(_Cursor(list(seen.values()))))
        for thing in due:
            seen[thing].told = True
        for thing in mended:
            del seen[thing]
        if alerts:
            reason = "told: " + "; ".join(alert.text for alert in alerts)
        after = encoded(_Cursor(list(seen.values())))
        return dg.SensorResult(skip_reason=dg.SkipReason(excerpt(reason, 1000)), cursor=after)

    return _sensor


_Thing = tuple[str, str, str]  # state, table, day


def _without_grown(due: Iterable[_Thing], seen: Mapping[_Thing, _Seen]) -> list[_Thing]:
    """What is news: not a missing day right after one that was told."""
    told = {thing for thing, one in seen.items() if one.told}
    news = []
    for state, table, day in sorted(due):
        before = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
        if state == "missing" and (state, table, before) in told:
            told.add((state, table, day))
        else:
            news.append((state, table, day))
    return news


def _bad_days(
    instance: dg.DagsterInstance,
    assets: Mapping[str, dg.AssetsDefinition],
    target: WarehouseResource,
    now: datetime,
) -> tuple[dict[_Thing, str], set[tuple[str, str]]]:
    """Days in a bad state with what is known of each; and which (state, table) could be looked at."""
    found: dict[_Thing, str] = {}
    looked_at: set[tuple[str, str]] = set()
    until = time.monotonic() + TIME_BUDGET
    by_day = {table: asset for table, asset in assets.items() if asset.partitions_def}
    for table, asset in by_day.items():
        if time.monotonic() > until:
            break
        looked_at.add(("broken", table))
        found |= {("broken", table, day): "" for day in _failed_days(instance, asset)}
    with suppress(ConnectorError):
        store = Warehouse(target.url, lock_wait=5.0)
        failed = [(table, day) for _, table, day in found]
        moved, receipts, said = moved_days(store, list(by_day)), landed_tables(store), failures_of(store, failed)
        looked_at |= {(state, table) for state in ("moved", "missing") for table in by_day}
        for table, day, before, after in moved:
            if within(by_day[table].partitions_def, [day])[0]:
                found["moved", table, day.isoformat()] = f"{before} -> {after}"
        found |= {("broken", table, day): error for (table, day), error in said.items()}
        for table, missing in missing_days(by_day.values(), receipts, now - TWO_NIGHTS).items():
            # A day that failed is told as such, with what its failure said.
            days = [day.isoformat() for day in missing.days if ("broken", table, day.isoformat()) not in found]
            found |= {("missing", table, day): "" for day in days}
    return found, looked_at


def _failed_days(instance: dg.DagsterInstance, asset: dg.AssetsDefinition) -> list[str]:
    """What ``instance.get_status_by_partition`` calls failed, without asking it about every day of ten years."""
    partitions = asset.partitions_def
    assert partitions is not None
    states = get_and_update_asset_status_cache_value(instance, asset.key, partitions)
    if states is None:
        return []
    failed, under_way = (
        set(subset.get_partition_keys())
        for subset in (
            states.deserialize_failed_partition_subsets(partitions),
            states.deserialize_in_progress_partition_subsets(partitions),
        )
    )
    return sorted(failed - under_way)


def _grouped(due: Iterable[_Thing], found: Mapping[_Thing, str], hours: float) -> list[Alert]:
    """One alert for every table and state."""
    groups: dict[tuple[str, str], list[str]] = {}
    for state, table, day in due:
        groups.setdefault((state, table), []).append(day)
    return [
        _of_days(state, table, sorted(days), found[state, table, max(days)], hours)
        for (state, table), days in groups.items()
    ]


def _of_days(state: str, table: str, days: Sequence[str], known: str, hours: float) -> Alert:
    if state == "moved":
        what = f"the vendor's count of {_listed(days)} has been another one than landed for {hours:g} hours ({known})."
        step = "land these days again, and see whether the drift sensor is running."
        return Alert(state="moved", what=what, where=table, next_step=step)
    if state == "missing":
        what = f"nothing has landed {_listed(days)} since these days ended, though days before them did land."
        step = (
            "see whether the nightly schedule is switched on and the daemon runs: it asks for such days, oldest first. "
            "To have them at once, materialize them."
        )
        return Alert(state="missing", what=what, where=table, next_step=step)
    what, _, step = known.partition(" Next: ")
    last = f" The last failure: {what}" if what else ""
    return Alert(
        state="broken",
        what=f"{_listed(days)} failed {hours:g} hours ago or more, and nothing landed since.{last}",
        where=table,
        next_step=step or "open the last run of these partitions in Dagster.",
    )


def _mended(things: Iterable[_Thing]) -> list[Alert]:
    groups: dict[str, list[str]] = {}
    for _, table, day in things:
        groups.setdefault(table, []).append(day)
    return [
        Alert(state="mended", what=f"{_listed(sorted(set(days)))} is well again.", where=table, next_step="nothing.")
        for table, days in groups.items()
    ]


def _listed(days: Sequence[str]) -> str:
    more = f" and {len(days) - NAMED} more days" if len(days) > NAMED else ""
    return ", ".join(days[:NAMED]) + more


def _tell_all(alerts: Collection[Alert], tell: Tell | None) -> dg.SkipReason | None:
    """Tell; or say why that was not possible."""
    if tell is not None:
        for alert in alerts:
            tell(alert)
        return None
    from connector.http.webhook import Webhook  # late: loading definitions needs no HTTP

    try:
        hook = Webhook.from_environment()
        if hook is None:
            return dg.SkipReason("set CONNECTOR_ALERT_WEBHOOK to be told: " + "; ".join(alert.text for alert in alerts))
        with hook:
            for alert in alerts:
                hook.post(alert.message())
    except SettingsError as error:
        return dg.SkipReason(f"{error.what} {error.next_step}")
    except ConnectorError as error:
        return dg.SkipReason(f"{error.what}; not told: " + "; ".join(alert.text for alert in alerts))
    return None


def _days(tags: Mapping[str, str]) -> str:
    first = tags.get(PARTITION) or tags.get(RANGE_START, "")
    last = tags.get(RANGE_END, first)
    return first if first == last else f"{first}..{last}"
