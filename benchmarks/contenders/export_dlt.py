"""dlt on the files of an export, tuned as for pages (see ``dlt_rest.py``).

``--mode jsonl`` is what its documentation offers: the filesystem source with ``read_jsonl``. ``--mode duckdb`` is what
somebody writes who knows where the time goes: DuckDB reads each file and dlt is handed Arrow tables. Both get their
files the way the floor does, by curl.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.contenders import EXPORT_COLUMNS, read_task
from benchmarks.contenders.dlt_rest import configure, phases
from benchmarks.contenders.export_floor import download


def tables(files: list[Path]) -> Iterator[Any]:
    """Arrow tables read by DuckDB, file by file."""
    import duckdb

    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in EXPORT_COLUMNS.items())
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for file in files:
        reader = connection.execute(
            f"SELECT * FROM read_json('{file}', columns={{{columns}}}, format='newline_delimited')"
        ).to_arrow_reader(50_000)
        yield from reader


def main() -> None:
    """One pipeline run."""
    task = read_task()
    files = download(task, task.out / "files")
    configure(task, buffer=50_000 if task.mode == "duckdb" else 5000)

    import dlt

    types = {"VARCHAR": "text", "JSON": "json", "TIMESTAMPTZ": "timestamp", "BIGINT": "bigint"}
    hints: Any = {name: {"data_type": types[kind]} for name, kind in EXPORT_COLUMNS.items()}
    events: Any
    if task.mode == "duckdb":
        json_hints: Any = {name: hint for name, hint in hints.items() if hint["data_type"] == "json"}
        events = dlt.resource(lambda: tables(files), name="events", columns=json_hints, write_disposition="replace")
    else:
        from dlt.sources.filesystem import filesystem, read_jsonl

        found = filesystem(bucket_url=f"file://{(task.out / 'files').resolve()}", file_glob="*.json.gz")
        events = (found | read_jsonl(chunksize=5000)).with_name("events")
        events.apply_hints(columns=hints, write_disposition="replace")
        events.max_table_nesting = 0
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
