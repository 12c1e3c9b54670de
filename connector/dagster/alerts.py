"""Tells people what failed, and what stays broken, with the connector's own next step; once per change of state.

Whom to tell is a function of yours, or a webhook. Nothing here repairs or retries a run.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import dagster as dg

from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import TABLE_TAG, table_of
from connector.errors import ConnectorError, SettingsError
from connector.redaction import excerpt
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import failures_of, moved_days

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
            one than landed), ``mended`` (neither any more).
        what, where, next_step: as every error of the connector has them.
        run_id: the run that failed; empty for states of days.
    """

    state: Literal["failed", "broken", "moved", "mended"]
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
        assets: of the connector; runs without any of them are somebody else's. All of the connector's in the code
            location if left out.
        tell: called with every alert; a POST to CONNECTOR_ALERT_WEBHOOK if left out. Without either the sensors run
            and say so.
        name: of the first sensor; the second one is ``<name>_broken``.
        warehouse: where coverage and receipts are.
        broken_hours: how long a day may stay failed, or have moved, before it is told.
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


@dataclass
class _Seen:
    """Since when something is in a bad state, and whether that was told."""

    since: str
    told: bool = False


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
        description=f"Tells of days that stay failed, or whose vendor count stays another one, for {hours:g} hours; "
        "once, and once more when they are mended.",
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        seen = _read(context.cursor)
        # A busy warehouse or a slow tick leaves what was seen as it was.
        found, looked_at = _bad_days(context.instance, _by_table(assets, context.repository_def), warehouse)
        for thing in found:
            seen.setdefault(thing, _Seen(now.isoformat()))
        mended = [thing for thing in seen if thing not in found and thing[:2] in looked_at]
        due = [
            thing
            for thing in found
            if not seen[thing].told and now - datetime.fromisoformat(seen[thing].since) >= timedelta(hours=hours)
        ]
        alerts = [*_grouped(due, found, hours), *_mended([thing for thing in mended if seen[thing].told])]
        reason = f"{len(found)} days are in a bad state, {sum(one.told for one in seen.values())} of them told"
        if alerts and (skipped := _tell_all(alerts, tell)):
            # Not told is not done: asked again in the next tick.
            return dg.SensorResult(skip_reason=skipped, cursor=_written(seen))
        for thing in due:
            seen[thing].told = True
        for thing in mended:
            del seen[thing]
        if alerts:
            reason = "told: " + "; ".join(alert.text for alert in alerts)
        return dg.SensorResult(skip_reason=dg.SkipReason(excerpt(reason, 1000)), cursor=_written(seen))

    return _sensor


_Thing = tuple[str, str, str]  # state, table, day


def _bad_days(
    instance: dg.DagsterInstance, assets: Mapping[str, dg.AssetsDefinition], target: WarehouseResource
) -> tuple[dict[_Thing, str], set[tuple[str, str]]]:
    """Days in a bad state with what is known of each; and which (state, table) could be looked at."""
    found: dict[_Thing, str] = {}
    looked_at: set[tuple[str, str]] = set()
    until = time.monotonic() + TIME_BUDGET
    tables = []
    for table, asset in assets.items():
        partitions = asset.partitions_def
        if partitions is None or time.monotonic() > until:
            continue
        tables.append(table)
        states = instance.get_status_by_partition(asset.key, partitions.get_partition_keys(), partitions) or {}
        looked_at.add(("broken", table))
        found |= {("broken", table, day): "" for day, state in states.items() if _is_failed(state)}
    with suppress(ConnectorError):
        store = Warehouse(target.warehouse().name, lock_wait=5.0)
        moved = moved_days(store, tables)
        said = failures_of(store, [(table, day) for state, table, day in found if state == "broken"])
        looked_at |= {("moved", table) for table in tables}
        found |= {("moved", table, day.isoformat()): f"{before} -> {now}" for table, day, before, now in moved}
        found |= {("broken", table, day): error for (table, day), error in said.items()}
    return found, looked_at


def _is_failed(state: Any) -> bool:
    return state is not None and getattr(state, "value", state) == "FAILED"


def _grouped(due: Iterable[_Thing], found: Mapping[_Thing, str], hours: float) -> list[Alert]:
    """One alert for every table and state."""
    groups: dict[tuple[str, str], list[str]] = {}
    for state, table, day in due:
        groups.setdefault((state, table), []).append(day)
    alerts = []
    for (state, table), days in groups.items():
        days.sort()
        known = found[state, table, days[-1]]
        if state == "moved":
            what = (
                f"the vendor's count of {_listed(days)} has been another one than landed for {hours:g} hours ({known})."
            )
            step = "land these days again, and see whether the drift sensor is running."
            alerts.append(Alert(state="moved", what=what, where=table, next_step=step))
            continue
        what, _, step = known.partition(" Next: ")
        last = f" The last failure: {what}" if what else ""
        alerts.append(
            Alert(
                state="broken",
                what=f"{_listed(days)} failed {hours:g} hours ago or more, and nothing landed since.{last}",
                where=table,
                next_step=step or "open the last run of these partitions in Dagster.",
            )
        )
    return alerts


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
    """Tell; or say why nobody could be told."""
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
    first = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_start", "")
    last = tags.get("dagster/asset_partition_range_end", first)
    return first if first == last else f"{first}..{last}"


def _read(cursor: str | None) -> dict[_Thing, _Seen]:
    try:
        rows = json.loads(cursor or "{}").get("seen", [])
        found = {(str(s), str(table), str(day)): _Seen(str(since), bool(told)) for s, table, day, since, told in rows}
        for one in found.values():
            datetime.fromisoformat(one.since)
    except (ValueError, TypeError, AttributeError):
        return {}
    return found


def _written(seen: Mapping[_Thing, _Seen]) -> str:
    return json.dumps({"v": 1, "seen": [[*thing, one.since, one.told] for thing, one in seen.items()]})
