"""Which closed days of an asset never landed, and which of them are asked for next. It reads receipts and asks nothing.

The receipts of the warehouse decide, not Dagster's event log: a day that the command line landed is landed, and two
code locations that share an instance do not share their days.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import dagster as dg

from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import days_under_way, ranges, table_of, within
from connector.errors import ConnectorError
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import Landed, landed_tables

# The vendor allows 100 requests in 10 seconds; sensors, and each night's missing days, may use a fifth of them.
REQUESTS_IN_WINDOW, SHARE = 100, 0.2
# So many missing days a night cost about an hour at that share; the rest waits for the next night.
REQUESTS_A_NIGHT = int(REQUESTS_IN_WINDOW * SHARE * 360)
# Days that stand alone are a run each, and a queue of hundreds would keep the nightly days waiting.
RUNS_A_NIGHT = 20
# A tick may take 60 seconds; a longer wait for the warehouse would end it without any request.
LOCK_WAIT = 10.0


@dataclass(frozen=True)
class Missing:
    """Missing days of one asset, oldest first, with what is known of them."""

    key: dg.AssetKey
    days: Sequence[date]
    landed: Landed


def receipts(context: dg.ScheduleEvaluationContext, target: WarehouseResource) -> dict[str, Landed] | None:
    """What the receipts say of every table; None if the warehouse is busy or cannot be opened, which is logged."""
    try:
        return landed_tables(Warehouse(target.warehouse().name, lock_wait=LOCK_WAIT))
    except ConnectorError as error:
        context.log.warning(f"{error.what}; days that are missing are asked for in the next night")
        return None


def missing_days(
    assets: Iterable[dg.AssetsDefinition], tables: Mapping[str, Landed], now: datetime
) -> dict[str, Missing]:
    """Missing days by table, as far as they are partitions of the asset.

    Args:
        tables: see :func:`receipts`.
        now: a day that ends later is not missing yet.
    """
    found = {}
    for asset in assets:
        table, partitions = table_of(asset), asset.partitions_def
        if isinstance(partitions, dg.DailyPartitionsDefinition) and (landed := tables.get(table)):
            days, _ = within(partitions, landed.missing(partitions.timezone, now))
            if days:
                found[table] = Missing(asset.key, days, landed)
    return found


def to_ask(
    missing: Collection[Missing], runs: Collection[dg.DagsterRun], *, before: date, requests: int = REQUESTS_A_NIGHT
) -> list[tuple[date, date, list[dg.AssetKey]]]:
    """Ranges of missing days and the assets that miss them, as many as a night's requests allow.

    Oldest first, days that have failed behind those that have not: one that fails for ever keeps no other from landing.

    Args:
        runs: that have not ended; what they are about to land is left out.
        before: days from here on are asked for anyway.
        requests: of the vendor's, for all of them together.
    """
    waiting = []
    for one in missing:
        under_way = days_under_way(runs, one.key)
        cost = max(one.landed.requests, 1.0)
        waiting += [
            (one.landed.failed.get(day, 0), day, cost, one.key)
            for day in one.days
            if day < before and day not in under_way
        ]
    chosen: dict[date, set[dg.AssetKey]] = {}
    spent = 0.0
    for _, day, cost, key in sorted(waiting):
        if spent and spent + cost > requests:
            break
        spent += cost
        chosen.setdefault(day, set()).add(key)
    order = [one.key for one in missing]
    groups: dict[frozenset[dg.AssetKey], list[date]] = {}
    for day, keys in chosen.items():
        groups.setdefault(frozenset(keys), []).append(day)
    found = [
        (first, last, [key for key in order if key in keys])
        for keys, days in groups.items()
        for first, last in ranges(days)
    ]
    return sorted(found, key=lambda piece: piece[0])[:RUNS_A_NIGHT]
