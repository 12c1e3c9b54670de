"""The sensor that asks whether closed days are still what they were, and requests exactly those that moved.

One request with one row tells the vendor's count of a day. A few days are asked a tick, so that the nightly runs keep
the larger part of the request budget. It lands nothing itself.
"""

import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from connector.dagster.resources import OpenPanelResource, WarehouseResource
from connector.dagster.runs import UNFINISHED, without_silent
from connector.errors import BusyError, ConnectorError, SettingsError, TransientError
from connector.stream import Stream
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import announced_counts, record_counts

# A tick may take 60 seconds; whoever is slow stops here and goes on in the next tick.
TIME_BUDGET = 40.0
# The vendor allows 100 requests in 10 seconds; a tick may use this share of them.
REQUESTS_IN_WINDOW = 100


@dataclass(frozen=True)
class _Cursor:
    """Where the pass over the horizon stands; ``next`` is empty between passes."""

    next: str = ""
    pass_started: str = ""
    v: int = 1

    @classmethod
    def read(cls, text: str | None) -> "_Cursor":
        try:
            found = json.loads(text or "{}")
            cursor = cls(next=str(found.get("next", "")), pass_started=str(found.get("pass_started", "")))
            if cursor.next:
                date.fromisoformat(cursor.next)
            if cursor.pass_started:
                datetime.fromisoformat(cursor.pass_started)
        except (ValueError, AttributeError):
            return cls()
        return cursor

    def text(self) -> str:
        return json.dumps(asdict(self))


def openpanel_drift_sensor(
    asset: dg.AssetsDefinition,
    stream: Stream,
    *,
    name: str = "openpanel_drift_sensor",
    horizon_days: int = 30,
    every_hours: float = 6.0,
    budget_share: float = 0.2,
    openpanel: OpenPanelResource | None = None,
    warehouse: WarehouseResource | None = None,
    interval_seconds: int = 60,
) -> dg.SensorDefinition:
    """Find landed days whose vendor count moved, and request their partitions.

    Args:
        asset: the landed events.
        stream: its entry of the catalogue.
        horizon_days: how many closed days back to look.
        every_hours: between two passes over the horizon.
        budget_share: of the vendor's requests in one window that a tick may use.
        openpanel, warehouse: as for the assets.
    """
    source, target = openpanel or OpenPanelResource(), warehouse or WarehouseResource()
    a_tick = max(1, int(REQUESTS_IN_WINDOW * budget_share))

    @dg.sensor(
        name=name,
        target=dg.AssetSelection.assets(asset),
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compares the vendor's count of the last {horizon_days} closed days with what is landed; "
        "requests the partitions that moved.",
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        cursor = _Cursor.read(context.cursor)
        if not cursor.next and cursor.pass_started:
            due = datetime.fromisoformat(cursor.pass_started) + timedelta(hours=every_hours)
            if now < due:
                return dg.SkipReason(
                    f"all of the last {horizon_days} days were asked; again at {due:%Y-%m-%d %H:%M} UTC"
                )
        last = now.date() - timedelta(days=1)
        first = date.fromisoformat(cursor.next) if cursor.next else last - timedelta(days=horizon_days - 1)
        try:
            store = Warehouse(target.warehouse().name, lock_wait=10.0)
            landed = announced_counts(store, stream, first, last)
            if not landed and not cursor.next:
                return dg.SkipReason(f"none of the last {horizon_days} closed days is landed yet")
            counts, rest = _ask(source, stream, sorted(landed)[:a_tick], sorted(landed)[a_tick:])
            # Where this fails the coverage view stays a little older; what moved is requested all the same.
            with contextlib.suppress(ConnectorError):
                record_counts(store, stream, counts)
        except SettingsError as error:
            return dg.SkipReason(f"{error.what} {error.next_step}")
        except BusyError as error:
            return dg.SkipReason(f"{error.what}; asking again in the next tick")
        except TransientError as error:
            return dg.SkipReason(f"the vendor did not answer: {error.what}")
        started = cursor.pass_started if cursor.next else now.isoformat(timespec="seconds")
        after = _Cursor(next=rest[0].isoformat() if rest else "", pass_started=started)
        moved = [day for day, count in counts.items() if count != landed[day]]
        under_way = _under_way(context, name)
        moved, waiting = [day for day in moved if str(day) not in under_way], len(moved)
        waiting -= len(moved)
        reason = f"{len(counts)} days asked, {len(moved) + waiting} moved" + (
            f", {len(rest)} to go" if rest else ", pass done"
        )
        if waiting:
            reason += f"; {waiting} wait for a run that was requested before"
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    # A landing that failed is asked for again the next day; one count is asked for once a day.
                    run_key=f"{name}:{day}:{counts[day]}:{now.date()}",
                    partition_key=day.isoformat(),
                    tags={"connector/drift": f"{landed[day]} -> {counts[day]}"},
                )
                for day in moved
            ],
            skip_reason=None if moved else dg.SkipReason(reason),
            cursor=after.text(),
        )

    return _sensor


def _ask(
    source: OpenPanelResource, stream: Stream, days: Iterable[date], rest: list[date]
) -> tuple[dict[date, int], list[date]]:
    """Counts of the days that fitted into the time budget, and the days that are left."""
    until = time.monotonic() + TIME_BUDGET
    counts: dict[date, int] = {}
    left = list(days)
    if not left:
        return counts, rest
    with source.client() as client:
        while left and time.monotonic() < until:
            counts[left[0]] = client.count_day(stream, left[0])
            left.pop(0)
    return counts, left + rest


def _under_way(context: dg.SensorEvaluationContext, name: str) -> set[str]:
    """Days for which a run that this sensor requested has not ended: a second one would only stand behind it."""
    runs = context.instance.get_runs(
        dg.RunsFilter(tags={"dagster/sensor_name": name}, statuses=list(UNFINISHED)), limit=200
    )
    alive = [run for run in without_silent(context.instance, runs) if run.status in UNFINISHED]
    return {run.tags.get("dagster/partition", "") for run in alive}
