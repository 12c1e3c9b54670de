"""The sensor that asks whether closed days are still what they were, and requests exactly those that moved.

One request with one row tells the vendor's count of a day. A few days are asked a tick, so that the nightly runs keep
the larger part of the request budget. It lands nothing itself.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import msgspec

from connector.dagster.days import LOCK_WAIT
from connector.dagster.resources import OpenPanelResource, WarehouseResource
from connector.dagster.runs import (
    WAREHOUSE_TAG,
    asset_job,
    days_under_way,
    decoded,
    encoded,
    unfinished,
    within,
)
from connector.errors import BusyError, ConnectorError, SettingsError, TransientError
from connector.nights import REQUESTS_IN_WINDOW, SHARE, listed
from connector.stream import Stream
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import announced_counts, record_counts

# A tick may take 60 seconds; a slow one stops here, and the next goes on.
TIME_BUDGET = 40.0


class _Cursor(msgspec.Struct):
    """Where the pass over the horizon stands.

    Attributes:
        next: the day to go on with; empty between passes.
        pass_started: when the pass began, or the last one.
        outside: landed days without a partition, as they were named last.
    """

    next: str = ""
    pass_started: str = ""
    outside: str = ""
    v: int = 1

    def __post_init__(self) -> None:
        if self.next:
            date.fromisoformat(self.next)
        if self.pass_started:
            datetime.fromisoformat(self.pass_started)


def openpanel_drift_sensor(
    asset: dg.AssetsDefinition,
    stream: Stream,
    *,
    name: str = "openpanel_drift_sensor",
    horizon_days: int = 30,
    every_hours: float = 6.0,
    budget_share: float = SHARE,
    openpanel: OpenPanelResource | None = None,
    warehouse: WarehouseResource | None = None,
    interval_seconds: int = 60,
) -> dg.SensorDefinition:
    """Find landed days whose vendor count moved, and request their partitions.

    Args:
        asset: the landed events.
        stream: its entry of the catalogue.
        name: with ``_late_days`` in place of ``_drift_sensor`` also of the job that it runs.
        horizon_days: how many closed days back to look.
        every_hours: between two passes over the horizon.
        budget_share: of the vendor's requests in one window that a tick may use.
        openpanel, warehouse: as for the assets.
    """
    drift = _Drift(
        name=name,
        asset=asset,
        stream=stream,
        source=openpanel or OpenPanelResource(),
        target=warehouse or WarehouseResource(),
        horizon_days=horizon_days,
        pause=timedelta(hours=every_hours),
        a_tick=max(1, int(REQUESTS_IN_WINDOW * budget_share)),
    )

    @dg.sensor(
        name=name,
        job=asset_job(
            f"{name.removesuffix('_drift_sensor')}_late_days",
            [asset],
            "Lands closed days again whose count at the vendor has moved.",
        ),
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compares the vendor's count of the last {horizon_days} closed days with what is landed; "
        "requests the partitions that moved.",
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return drift.tick(context)

    return _sensor


@dataclass(frozen=True)
class _Asked:
    """What one tick asked: the vendor's counts, and the days that are left of the pass."""

    counts: Mapping[date, int]
    rest: Sequence[date]


@dataclass(frozen=True, kw_only=True)
class _Drift:
    """One sensor: what it compares, and how much of it a tick."""

    name: str
    asset: dg.AssetsDefinition
    stream: Stream
    source: OpenPanelResource
    target: WarehouseResource
    horizon_days: int
    pause: timedelta
    a_tick: int

    def tick(self, context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """Ask for the counts of a few days, and request those that moved."""
        now = datetime.now(UTC)
        cursor = decoded(context.cursor, _Cursor)
        if not cursor.next and cursor.pass_started:
            due = datetime.fromisoformat(cursor.pass_started).astimezone(UTC) + self.pause
            if now < due:
                return dg.SkipReason(
                    f"every landed day of the last {self.horizon_days} was asked; again at {due:%Y-%m-%d %H:%M} UTC"
                )
        last = now.date() - timedelta(days=1)
        first = date.fromisoformat(cursor.next) if cursor.next else last - timedelta(days=self.horizon_days - 1)
        try:
            store = Warehouse(self.target.url, lock_wait=LOCK_WAIT)
            landed = announced_counts(store, self.stream, first, last)
            days, outside = within(self.asset.partitions_def, landed)
            asked = self._ask(days)
            # Where this fails the coverage view stays a little older; what moved is requested all the same.
            with contextlib.suppress(ConnectorError):
                record_counts(store, self.stream, asked.counts)
        except SettingsError as error:
            return dg.SkipReason(f"{error.what} {error.next_step}")
        except BusyError as error:
            return dg.SkipReason(f"{error.what}; asking again in the next tick")
        except TransientError as error:
            return dg.SkipReason(f"the vendor did not answer: {error.what}")
        if not days and not outside and not cursor.next:
            return dg.SkipReason(f"none of the last {self.horizon_days} closed days is landed yet")
        started = cursor.pass_started if cursor.next else now.isoformat(timespec="seconds")
        after = _Cursor(
            next=asked.rest[0].isoformat() if asked.rest else "",
            pass_started=started,
            outside=cursor.outside if cursor.next else listed(outside),
        )
        return self._result(context, landed, asked, after, told=cursor.outside)

    def _ask(self, days: Sequence[date]) -> _Asked:
        """Counts of the days that fit into a tick's requests and time."""
        until = time.monotonic() + TIME_BUDGET
        counts: dict[date, int] = {}
        if days:
            with self.source.client() as client:
                for day in days[: self.a_tick]:
                    if time.monotonic() > until:
                        break
                    counts[day] = client.count_day(self.stream, day)
        return _Asked(counts, days[len(counts) :])

    def _result(
        self,
        context: dg.SensorEvaluationContext,
        landed: Mapping[date, int],
        asked: _Asked,
        after: _Cursor,
        *,
        told: str,
    ) -> dg.SensorResult:
        moved = [day for day, count in asked.counts.items() if count != landed[day]]
        under_way = days_under_way(unfinished(context.instance, self.target) if moved else [], self.asset.key)
        due = [day for day in moved if day not in under_way]
        reason = f"{len(asked.counts)} days asked, {len(moved)} moved, " + (
            f"{len(asked.rest)} to go" if asked.rest else "pass done"
        )
        if waiting := len(moved) - len(due):
            reason += f"; {waiting} wait for a run that was requested before"
        if after.outside and after.outside != told:
            outside = f"landed days without a partition are not asked for: {after.outside}; see START_DATE"
            context.log.warning(outside)
            reason += f"; {outside}"
        return dg.SensorResult(
            run_requests=[self._request(day, landed[day], asked.counts[day]) for day in due],
            skip_reason=None if due else dg.SkipReason(reason),
            cursor=encoded(after),
        )

    def _request(self, day: date, before: int, now: int) -> dg.RunRequest:
        return dg.RunRequest(
            # A landing that failed is asked for again the next day; one count is asked for once a day.
            run_key=f"{self.name}:{day}:{now}:{datetime.now(UTC).date()}",
            partition_key=day.isoformat(),
            tags={"connector/drift": f"{before} -> {now}", WAREHOUSE_TAG: self.target.fingerprint()},
        )
