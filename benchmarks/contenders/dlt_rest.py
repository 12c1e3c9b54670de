"""dlt, declarative: its rest_api source, with every setting its documentation offers for speed.

Parquet loader files, stated columns, json columns and no child tables, no compression of the files in between, two
normalize workers with a file each, the buffer size that measured best, and a paginator that stops at an empty page.
``--mode replace`` replaces the table (all dlt has to do when it holds one day), ``merge`` keeps the rest of the table
and replaces by ``id``; with ``counted`` the paginator reads the number of pages.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks.contenders import COLUMNS, Task, read_task


def configure(task: Task, *, buffer: int = 5000) -> None:
    """Settings by environment, before dlt is imported: normalize workers are processes and read them again.

    Measured at 100k events: row buffers of 50,000 cost 1.3 x the CPU and 2 x the memory of 5,000.
    """
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DLT_DATA_DIR": str(task.out / "dlt"),
        "DATA_WRITER__BUFFER_MAX_ITEMS": str(buffer),
        "DATA_WRITER__DISABLE_COMPRESSION": "true",
        # dlt deals files out to workers, unevenly when they are few: with files of 50,000 one worker got them all.
        "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "20000",
        "EXTRACT__WORKERS": "4",
        "NORMALIZE__WORKERS": "2",
        "LOAD__WORKERS": "2",
        "LOAD__DELETE_COMPLETED_JOBS": "true",
    }


def phases(pipeline: Any) -> dict[str, float]:
    """Seconds of extract, normalize and load, from dlt's own trace."""
    return {
        f"{step.step}_seconds": (step.finished_at - step.started_at).total_seconds()
        for step in pipeline.last_trace.steps
        if step.step in ("extract", "normalize", "load")
    }


def column_hints() -> dict[str, dict[str, str]]:
    """Names and types stated, so that dlt has nothing to infer; ``groups`` has no list type here and goes as json."""
    types = {"VARCHAR": "text", "JSON": "json", "TIMESTAMPTZ": "timestamp", "DOUBLE": "double", "BIGINT": "bigint"}
    return {name: {"data_type": types.get(kind, "json")} for name, kind in COLUMNS.items()}


def main() -> None:
    """One pipeline run."""
    task = read_task()
    configure(task)

    import dlt
    from dlt.sources.rest_api import rest_api_source

    merge = "merge" in task.mode
    # Stopping at an empty page costs a request and saves parsing every answer a second time to find the page count.
    counted = "counted" in task.mode
    config: Any = {
        "client": {"base_url": task.url, "headers": task.headers},
        "resources": [
            {
                "name": "events",
                "endpoint": {
                    "path": "export/events",
                    "params": task.params,
                    "data_selector": "data",
                    "paginator": {
                        "type": "page_number",
                        "base_page": 1,
                        "total_path": "meta.pages" if counted else None,
                        "stop_after_empty_page": not counted,
                    },
                },
                "columns": column_hints(),
                "max_table_nesting": 0,
                "write_disposition": "merge" if merge else "replace",
                "primary_key": "id" if merge else None,
                "parallelized": True,
            }
        ],
    }
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(task.out / "pipelines"),
        destination=dlt.destinations.duckdb(str(task.database)),
        dataset_name="raw",
    )
    pipeline.run(rest_api_source(config), loader_file_format="parquet").raise_on_failed_jobs()
    task.done("raw.events", **phases(pipeline))


if __name__ == "__main__":
    main()
