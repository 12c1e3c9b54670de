"""Dagster's textbook way: a partitioned asset returns a DataFrame, dagster-duckdb-pandas stores it.

httpx and orjson for the pages, one DataFrame for the day. The I/O manager deletes the partition and inserts the frame.
"""

import time
from typing import Any

import dagster as dg
import httpx
import orjson
import pandas as pd
from dagster_duckdb_pandas import DuckDBPandasIOManager

from benchmarks.contenders import COLUMNS, read_task
from benchmarks.contenders.dlt_arrow import get

TASK = read_task()
DAYS = dg.DailyPartitionsDefinition(start_date=TASK.day)


@dg.asset(partitions_def=DAYS, metadata={"partition_expr": "created_at"})
def events(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """One day, one frame; objects as JSON text, because DuckDB would make STRUCTs of them otherwise."""
    rows: list[dict[str, Any]] = []
    with httpx.Client(base_url=TASK.url, headers=TASK.headers, timeout=60) as client:
        number, pages = 1, 1
        while number <= pages:
            params = TASK.params | {"start": context.partition_key, "end": context.partition_key, "page": number}
            document = orjson.loads(get(client, "/export/events", params))
            pages = document["meta"]["pages"]
            rows += document["data"]
            number += 1
    as_json = [name for name, kind in COLUMNS.items() if kind == "JSON" or kind.endswith("[]")]
    for row in rows:
        for name in as_json:
            if name in row:
                row[name] = orjson.dumps(row[name]).decode()
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["createdAt"] = pd.to_datetime(frame["createdAt"], format="ISO8601").dt.tz_localize(None)
    return frame.rename(columns={"createdAt": "created_at"})


def main() -> None:
    """One partition, in process."""
    began = time.perf_counter()
    result = dg.materialize(
        [events],
        partition_key=TASK.day,
        resources={"io_manager": DuckDBPandasIOManager(database=str(TASK.database), schema="raw")},
    )
    if not result.success:
        raise SystemExit(1)
    TASK.done("raw.events", materialize_seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()
