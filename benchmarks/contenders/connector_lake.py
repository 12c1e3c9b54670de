"""The connector with any kind of warehouse, which WAREHOUSE names: one piece of work a process.

Each says on standard output, as JSON, what it did; what it cost is measured from outside.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from connector import EVENTS, OpenPanel, Receipt, Warehouse, sync_day

LANDINGS = 6  # that a reader has beside it
RELANDINGS, MAINTAINED_EVERY = 30, 5


@dataclass(frozen=True)
class Place:
    """Where the work is done."""

    warehouse: Warehouse
    out: Path
    client: OpenPanel

    def landed(self) -> Receipt:
        """Land the day, whatever it held before."""
        day = date.fromisoformat(os.environ["BENCH_DAY"])
        spool = self.out / "spool"
        return sync_day(self.client, EVENTS, day, warehouse=self.warehouse, spool_dir=spool, allow_drop=True)


def land(place: Place) -> dict[str, Any]:
    """One landing."""
    receipt = place.landed()
    return {"rows": receipt.landed, "lock_seconds": receipt.lock_seconds}


def count(place: Place) -> dict[str, Any]:
    """What the table holds."""
    with place.warehouse.read() as connection:
        row = connection.execute("select count(*), count(distinct id) from openpanel.events").fetchone()
    return {"rows": row[0], "ids": row[1]} if row else {}


def land_often(place: Place) -> dict[str, Any]:
    """Land again and again, then tell the reader to stop."""
    for _ in range(LANDINGS):
        place.landed()
    (place.out / "stop").touch()
    return {}


def read(place: Place) -> dict[str, Any]:
    """Ask for the day over and over: seconds from asking to the answer, quiet ones first.

    ``no_core`` is how long the slowest had to wait for a processor, which a busy machine costs and no lock.
    """

    def ask() -> tuple[float, float]:
        before, idle = time.perf_counter(), _without_core()
        with place.warehouse.read() as connection:
            connection.execute("set threads = 1")  # so that this thread does all of it
            connection.execute("select count(*), max(id), max(_load_id) from openpanel.events").fetchone()
        return time.perf_counter() - before, _without_core() - idle

    ask()  # opens the warehouse
    quiet = [ask()[0] for _ in range(20)]
    print("ready", flush=True)
    beside = []
    while not (place.out / "stop").exists():
        beside.append(ask())
        time.sleep(0.01)
    longest, no_core = max(beside)
    return {
        "quiet": median(quiet), "reads": len(beside), "median": median(one for one, _ in beside), "longest": longest,
        "no_core": no_core,
    }  # fmt: skip


def replace_often(place: Place) -> dict[str, Any]:
    """Land one day thirty times more, with maintenance after every fifth: megabytes of rows before and after."""
    place.landed()
    first = _megabytes(place.warehouse)
    for number in range(1, RELANDINGS + 1):
        place.landed()
        if number % MAINTAINED_EVERY == 0:
            place.warehouse.maintain(keep=timedelta(0))
    return {"first": first, "last": _megabytes(place.warehouse)}


def _megabytes(warehouse: Warehouse) -> float:
    """Of the file, or of all Parquet files of a lake, also those that nothing names any more."""
    place = os.environ.get("DUCKLAKE_DATA_PATH")
    if not place:
        return Path(os.environ["WAREHOUSE"]).stat().st_size / 1e6
    with warehouse.read() as connection:
        sql = f"select sum(size) from read_blob('{place.rstrip('/')}/**/*.parquet')"
        (size,) = connection.execute(sql).fetchone() or (0,)
    return float(size) / 1e6


def _without_core() -> float:
    """Seconds for which this thread could have run and had no processor; 0 where the system does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


WORK = {one.__name__: one for one in (land, count, land_often, read, replace_often)}


def main() -> None:
    """``python -m benchmarks.contenders.connector_lake WORK URL FOLDER``."""
    verb, url, folder = sys.argv[1:]
    # A client id of its own, so that no run inherits the request budget another has used up.
    identity = os.environ["BENCH_CLIENT_ID"]
    with OpenPanel(url=url, client_id=identity, client_secret="secret", project_id=os.environ["BENCH_PROJECT"]) as one:
        place = Place(Warehouse(os.environ["WAREHOUSE"]), Path(folder), one)
        print(json.dumps(WORK[verb](place)), flush=True)


if __name__ == "__main__":
    main()
