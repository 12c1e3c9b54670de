"""dlt's ducklake destination with its own default, a catalogue in SQLite and Parquet files beside it.

``install`` puts DuckDB's extensions where that DuckDB looks for them, from wheels: dlt would have DuckDB download them.
``land`` takes the hand-made generator of Arrow tables, dlt's fastest way, and replaces the day by ``_day``; ``count``
says what the table holds.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import util
from pathlib import Path
from typing import Any

from benchmarks.contenders import Task
from benchmarks.contenders.dlt_arrow import tables
from benchmarks.contenders.dlt_rest import configure

EXTENSIONS = ("ducklake", "sqlite_scanner")


def install() -> None:
    """Extensions of the wheels into the home's folder of extensions."""
    import duckdb

    with duckdb.connect() as connection:
        for name in EXTENSIONS:
            spec = util.find_spec(f"duckdb_extension_{name}")
            assert spec is not None
            assert spec.origin is not None
            file = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
            connection.execute(f"install '{file}'")


def land(task: Task) -> dict[str, Any]:
    """One pipeline run; the second one replaces the day."""
    configure(task, buffer=50_000)

    import dlt

    # The destination refuses JSON columns in Arrow tables, so they stay text.
    merge: Any = {"disposition": "merge", "strategy": "delete-insert"}
    events = dlt.resource(lambda: tables(task), name="events", write_disposition=merge, merge_key="_day")
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(task.out / "pipelines"),
        destination=dlt.destinations.ducklake(
            credentials={  # type: ignore[arg-type]
                "ducklake_name": "lake",
                "catalog": f"sqlite:///{task.out / 'lake.sqlite'}",
                "storage": {"bucket_url": f"file://{task.out / 'files'}"},
            }
        ),
        dataset_name="raw",
    )
    pipeline.run(events, loader_file_format="parquet").raise_on_failed_jobs()
    return {}


def count(task: Task) -> dict[str, Any]:
    """What the table holds."""
    import duckdb

    with duckdb.connect() as connection:
        for name in EXTENSIONS:
            connection.execute(f"load {name}")
        connection.execute(f"attach 'ducklake:sqlite:{task.out / 'lake.sqlite'}' as lake")
        row = connection.execute("select count(*), count(distinct id) from lake.raw.events").fetchone()
    return {"rows": row[0], "ids": row[1]} if row else {}


def main() -> None:
    """``python -m benchmarks.contenders.dlt_ducklake WORK URL FOLDER``."""
    verb, url, folder = sys.argv[1:]
    if verb == "install":
        install()
        return
    task = Task(
        url=url, day=os.environ["BENCH_DAY"], project=os.environ["BENCH_PROJECT"],
        client_id=os.environ["BENCH_CLIENT_ID"], client_secret="secret", out=Path(folder), mode="merge",
    )  # fmt: skip
    print(json.dumps({"land": land, "count": count}[verb](task)), flush=True)


if __name__ == "__main__":
    main()
