"""Which closed days of an asset never landed. It reads receipts and asks nothing; what is asked for: ``nights.py``.

The receipts of the warehouse decide, not Dagster's event log: a day that the command line landed is landed, and two
code locations that share an instance do not share their days.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import dagster as dg

from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import table_of, within
from connector.errors import ConnectorError
from connector.nights import Missing
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import Landed, landed_tables

# A tick may take 60 seconds; a longer wait for the warehouse would end it without any request.
LOCK_WAIT = 10.0


def receipts(context: dg.ScheduleEvaluationContext, target: WarehouseResource) -> dict[str, Landed] | None:
    """What the receipts say of every table; None if the warehouse is busy or cannot be opened, which is logged."""
    try:
        return landed_tables(Warehouse(target.url, lock_wait=LOCK_WAIT))
    except ConnectorError as error:
        context.log.warning(f"{error.what}; days that are missing are asked for in the next night")
        return None


def missing_days(
    assets: Iterable[dg.AssetsDefinition], tables: Mapping[str, Landed], now: datetime
) -> dict[str, Missing[dg.AssetKey]]:
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
