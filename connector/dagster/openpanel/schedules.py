"""When days are asked for: every night yesterday and the days before it, and today every hour.

Late rows are a fact of the vendor, so how far back to look is in the catalogue; the hour is decided here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date
from functools import partial

import dagster as dg

from connector.catalogue.openpanel import STREAMS
from connector.dagster.days import missing_days, receipts
from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import (
    INCREMENTAL_TAG,
    RANGE_END,
    RANGE_START,
    WAREHOUSE_TAG,
    asset_job,
    days_under_way,
    name_of,
    range_tags,
    runs_under_way,
    unfinished,
)
from connector.errors import SettingsError
from connector.nights import Missing, last_days, lookback_of, missed

__all__ = [
    "RANGE_END",
    "RANGE_START",
    "openpanel_intraday_schedule",
    "openpanel_nightly_schedule",
    "openpanel_nightly_schedules",
]

# Streams that change within a day so much that every hour is worth a request.
INTRADAY = ("events", "insights_live")


def openpanel_nightly_schedules(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "openpanel_nightly",
    cron: str = "15 3 * * *",
    lookback_days: int | None = None,
    warehouse: WarehouseResource | None = None,
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
        return [
            openpanel_nightly_schedule(assets, name=name, cron=cron, lookback_days=lookback_days, warehouse=warehouse)
        ]
    return [
        openpanel_nightly_schedule(
            group,
            name=name if any(name_of(asset) == "events" for asset in group) else f"{name}_reports",
            cron=cron,
            lookback_days=lookback_days,
            warehouse=warehouse,
        )
        for group in groups.values()
    ]


def openpanel_nightly_schedule(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "openpanel_nightly",
    cron: str = "15 3 * * *",
    lookback_days: int | None = None,
    warehouse: WarehouseResource | None = None,
) -> dg.ScheduleDefinition:
    """Yesterday plus the lookback as one run over a range of days, and older days that never landed.

    A day is missing if it ended, no landing came after that, and a day before it did land. Missing days are asked for
    oldest first, within a share of the vendor's request budget; those that a run is about to land are left out.

    Args:
        assets: partitioned by day, all in the same way; :func:`openpanel_nightly_schedules` takes any.
        name: also of the job that it runs.
        cron: in UTC. Not before 01:00: session_end rows of a day are written up to 35 minutes after midnight.
        lookback_days: days before yesterday that are landed again; the catalogue's longest if left out.
        warehouse: whose receipts tell which days are missing; the one of the WAREHOUSE variable if left out.

    Raises:
        SettingsError: the assets have days of different timezones, which no job of Dagster can have.
    """
    if len(kinds := {asset.partitions_def for asset in assets if asset.partitions_def}) > 1:
        raise SettingsError(
            name,
            f"has assets with different days ({'; '.join(sorted(map(str, kinds)))}), and a job of Dagster has one kind",
            next_step="call openpanel_nightly_schedules, which makes a schedule for each kind.",
        )
    days = lookback_of(STREAMS) if lookback_days is None else lookback_days
    by_day = [asset for asset in assets if asset.partitions_def]
    night = _Night(name, by_day, days, warehouse or WarehouseResource())
    about = f"Lands yesterday, the {days} days before it again, because rows arrive late, and days that never landed."

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        job=asset_job(name, by_day, about),
        description=about,
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        return night.requests(context)

    return _schedule


@dataclass(frozen=True)
class _Night:
    """What one nightly schedule asks for."""

    name: str
    assets: Sequence[dg.AssetsDefinition]
    lookback_days: int
    target: WarehouseResource

    def requests(self, context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        """The days of this night for every kind of assets, unless the night before is still at it."""
        requests: list[dg.RunRequest] = []
        waiting = []
        missing = self._missing(context)
        runs = unfinished(context.instance, self.target) if missing else []
        for kind, (partitions, keys) in _by_days(self.assets).items():
            at, start = context.scheduled_execution_time, partitions.start.date()
            days = last_days(at, partitions.timezone, start=start, lookback=self.lookback_days)
            if days is None:
                continue
            if run := runs_under_way(context, self.name, keys, self.target):
                waiting.append(f"{kind}: {run}")
                continue
            first, last = days
            requests.append(self._request(f"{kind}:{last}", first, last, keys))
            mine = [one for one in missing if one.key in keys]
            requests += [
                self._request(f"{kind}:{last}:{piece[0]}", *piece)
                for piece in missed(mine, partial(days_under_way, runs), before=first)
            ]
        return requests or dg.SkipReason("; ".join(waiting) or "the first partition has not ended yet")

    def _missing(self, context: dg.ScheduleEvaluationContext) -> list[Missing[dg.AssetKey]]:
        tables = receipts(context, self.target) or {}
        return list(missing_days(self.assets, tables, context.scheduled_execution_time.astimezone(UTC)).values())

    def _request(self, key: str, first: date, last: date, keys: Sequence[dg.AssetKey]) -> dg.RunRequest:
        return dg.RunRequest(
            # One request a tick, also when the daemon evaluates a tick twice.
            run_key=f"{self.name}:{key}",
            tags={**range_tags(first, last), WAREHOUSE_TAG: self.target.fingerprint()},
            asset_selection=list(keys),
        )


def openpanel_intraday_schedule(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "openpanel_intraday",
    cron: str = "5 * * * *",
    warehouse: WarehouseResource | None = None,
) -> dg.ScheduleDefinition:
    """Today's events, incrementally (only pages newer than what is landed, proven by the count), and a live sample."""
    chosen = [asset for asset in assets if name_of(asset) in INTRADAY]
    target = warehouse or WarehouseResource()

    about = "Refreshes today's events, reading only what is newer than the landed rows; samples live visitors."

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        execution_timezone="UTC",
        job=asset_job(name, chosen, about),
        description=about,
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(UTC)
        requests, waiting = [], []
        tags = {WAREHOUSE_TAG: target.fingerprint()}
        for asset in chosen:
            if run := runs_under_way(context, name, [asset.key], target):
                waiting.append(run)
                continue
            partitions, key = asset.partitions_def, f"{name}:{name_of(asset)}:{at.isoformat()}"
            if partitions is None:
                requests.append(dg.RunRequest(run_key=key, asset_selection=[asset.key], tags=tags))
            elif isinstance(partitions, dg.DailyPartitionsDefinition) and at.date() >= partitions.start.date():
                requests.append(
                    dg.RunRequest(
                        run_key=key,
                        partition_key=at.date().isoformat(),
                        tags={INCREMENTAL_TAG: "true", **tags},
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
