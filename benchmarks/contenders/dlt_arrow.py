"""dlt at its best: a hand-written generator that yields Arrow tables, so that dlt never sees a single row.

httpx, orjson, one ``pyarrow.Table`` per page with a stated schema. What a team writes that knows where dlt's time
goes. ``--mode replace`` replaces the table (which holds one day), ``--mode merge`` replaces the day by ``_day``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from benchmarks.contenders import COLUMNS, Task, read_task
from benchmarks.contenders.dlt_rest import configure, phases


def tables(task: Task) -> Iterator[Any]:
    """One Arrow table per page; objects as JSON text, times as UTC microseconds."""
    import httpx
    import orjson
    import pyarrow as pa

    utc = pa.timestamp("us", "UTC")
    types = {"TIMESTAMPTZ": utc, "DOUBLE": pa.float64(), "BIGINT": pa.int64()}
    schema = pa.schema(
        [("_day", pa.date32())] + [(name, types.get(kind, pa.string())) for name, kind in COLUMNS.items()]
    )
    as_json = [name for name, kind in COLUMNS.items() if kind == "JSON" or kind.endswith("[]")]
    as_time = [name for name, kind in COLUMNS.items() if kind == "TIMESTAMPTZ"]
    day = date.fromisoformat(task.day)
    with httpx.Client(base_url=task.url, headers=task.headers, timeout=60) as client:
        number, pages = 1, 1
        while number <= pages:
            answer = get(client, "/export/events", task.params | {"page": number})
            document = orjson.loads(answer)
            pages = document["meta"]["pages"]
            rows = document["data"]
            for row in rows:
                row["_day"] = day
                for name in as_json:
                    if name in row:
                        row[name] = orjson.dumps(row[name]).decode()
                for name in as_time:
                    if name in row:
                        row[name] = datetime.fromisoformat(row[name])
            yield pa.Table.from_pylist(rows, schema=schema)
            number += 1


def get(client: Any, path: str, params: dict[str, str | int]) -> bytes:
    """One answer; a refusal is waited out as the server asks."""
    import time

    while True:
        answer = client.get(path, params=params)
        if answer.status_code != 429:
            answer.raise_for_status()
            return bytes(answer.content)
        time.sleep(float(answer.headers["retry-after"]))


def main() -> None:
    """One pipeline run."""
    task = read_task()
    configure(task, buffer=50_000)

    import dlt

    json_columns: Any = {name: {"data_type": "json"} for name, kind in COLUMNS.items() if kind == "JSON"}
    merge: Any = {"disposition": "merge", "strategy": "delete-insert"}
    events = dlt.resource(
        lambda: tables(task),
        name="events",
        columns=json_columns,
        write_disposition=merge if task.mode == "merge" else "replace",
        merge_key="_day" if task.mode == "merge" else None,
    )
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(task.out / "pipelines"),
        destination=dlt.destinations.duckdb(str(task.database)),
        dataset_name="raw",
    )
    pipeline.run(events, loader_file_format="parquet").raise_on_failed_jobs()
    task.done("raw.events", **phases(pipeline))


if __name__ == "__main__":
    main()
