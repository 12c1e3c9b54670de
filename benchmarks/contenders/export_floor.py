"""The floor of an export: what the machine allows a careful hand, without a single guarantee.

curl with 8 connections to disk and one ``read_json`` over the compressed files into a typed table, on one DuckDB
thread. No job, no check of sizes or ends, no dedupe; the table is replaced whole. ``--mode threads`` leaves DuckDB all
cores, which spends more CPU and less time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from urllib.request import Request, urlopen

import duckdb

from benchmarks.contenders import EXPORT_COLUMNS, Task, read_task, unavailable


def links(task: Task) -> list[tuple[str, str]]:
    """Ask for the export and read its links: name and address."""
    api = f"{task.url}/api/v1/analytics/exports"
    with urlopen(Request(api, data=b"{}", method="POST")) as answer:
        job = json.load(answer)["job_id"]
    with urlopen(f"{api}/jobs/{job}") as answer:
        return [(entry["filename"], entry["url"]) for entry in json.load(answer)["presigned_urls"]]


def download(task: Task, folder: Path) -> list[Path]:
    """All files, by curl."""
    if shutil.which("curl") is None:
        unavailable("the floor needs curl")
    folder.mkdir(parents=True, exist_ok=True)
    command = ["curl", "--silent", "--fail", "--parallel", "--parallel-immediate", "--parallel-max", "8"]
    found = links(task)
    for name, url in found:
        command += ["--output", str(folder / name), url]
    subprocess.run(command, check=True)
    return [folder / name for name, _ in found]


def main() -> None:
    """Download, read."""
    task = read_task()
    began = time.perf_counter()
    files = download(task, task.out / "files")
    downloaded = time.perf_counter()
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in EXPORT_COLUMNS.items())
    names = ", ".join(f"'{file}'" for file in files)
    with duckdb.connect(str(task.database)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if "threads" not in task.mode:
            connection.execute("SET threads = 1")
        connection.execute(
            "CREATE OR REPLACE TABLE events AS"
            f" SELECT * FROM read_json([{names}], columns={{{columns}}}, format='newline_delimited')"
        )
    task.done("events", download_seconds=downloaded - began, load_seconds=time.perf_counter() - downloaded)


if __name__ == "__main__":
    main()
