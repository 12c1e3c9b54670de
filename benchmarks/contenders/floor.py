"""The floor: what the machine allows a careful hand, without a single guarantee.

curl with 8 connections to disk, the ``data`` array cut out by bytes, one ``read_json`` into a typed table, on one
DuckDB thread. No retry, no check of counts, no dedupe, no spool that survives, and the table is replaced whole instead
of the day. ``--mode httpx`` downloads in Python, ``--mode threads`` leaves DuckDB all cores.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import duckdb

from benchmarks.contenders import COLUMNS, Task, read_task

CONNECTIONS = 8


def download(task: Task) -> list[Path]:
    """Every page of the day as one file, in page order."""
    first = Request(f"{task.url}/export/events?{urlencode(task.params | {'limit': 1})}", headers=task.headers)
    with urlopen(first) as answer:  # page numbers are only known once somebody asked how many there are
        total = json.load(answer)["meta"]["totalCount"]
    pages = -(-total // 1000)
    by_curl = "httpx" not in task.mode and shutil.which("curl") is not None
    (_by_curl if by_curl else _by_httpx)(task, pages)
    return [task.out / f"page-{number}.json" for number in range(1, pages + 1)]


def _by_curl(task: Task, pages: int) -> None:
    headers = [part for name, value in task.headers.items() for part in ("-H", f"{name}: {value}")]
    url = f"{task.url}/export/events?{urlencode(task.params)}&page=[1-{pages}]"
    parallel = ["--parallel", "--parallel-immediate", "--parallel-max", str(CONNECTIONS)]
    target = ["--output", f"{task.out}/page-#1.json"]
    subprocess.run(["curl", "--silent", "--fail", *parallel, *headers, *target, url], check=True)


def _by_httpx(task: Task, pages: int) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    with httpx.Client(headers=task.headers, timeout=60) as client, ThreadPoolExecutor(CONNECTIONS) as pool:

        def one(number: int) -> None:
            answer = client.get(f"{task.url}/export/events", params=task.params | {"page": number})
            answer.raise_for_status()
            (task.out / f"page-{number}.json").write_bytes(answer.content)

        list(pool.map(one, range(1, pages + 1)))


def slice_array(page: Path) -> str:
    """Cut the envelope away: DuckDB reads a bare array six times cheaper than the envelope around it."""
    body = page.read_bytes()
    start = body.index(b'"data":[', 0, 4096) + len(b'"data":')
    page.write_bytes(memoryview(body)[start:-1])
    return str(page)


def main() -> None:
    """Download, slice, read."""
    task = read_task()
    began = time.perf_counter()
    files = [slice_array(page) for page in download(task)]
    downloaded = time.perf_counter()
    # Written out instead of bound: binding a dict makes DuckDB import pandas where it is installed, 0.2 s for nothing.
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
    names = ", ".join(f"'{file}'" for file in files)
    with duckdb.connect(str(task.database)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if "threads" not in task.mode:  # a day is about one row group: a second thread costs CPU and saves no time
            connection.execute("SET threads = 1")
        connection.execute(
            "CREATE OR REPLACE TABLE events AS"
            f" SELECT * FROM read_json([{names}], columns={{{columns}}}, format='array')"
        )
    task.done("events", download_seconds=downloaded - began, load_seconds=time.perf_counter() - downloaded)


if __name__ == "__main__":
    main()
