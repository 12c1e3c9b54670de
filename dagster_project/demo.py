"""`make demo`: the whole way, without credentials, in a minute.

Starts the sandbox on loopback, lets a real Dagster (webserver and daemon) land its days into a DuckDB file, and
compares every day with the vendor's own count. Everything it makes lies in ``.demo/``; nothing else is touched.
"""

import shutil
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from connector import EVENTS, Warehouse
from connector.sandbox import READ, OpenPanel, serve
from dagster_project.local import local_dagster

FOLDER = Path(".demo")
DAYS = 7


def main() -> int:
    """Run the demo; returns 0 only if every day's rows equal the sandbox's."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    last = datetime.now(UTC).date() - timedelta(days=1)
    days = [last - timedelta(days=back) for back in reversed(range(DAYS))]

    vendor = OpenPanel()
    loaded = vendor.load_sample(days[0], days[-1])
    with serve(vendor.app) as url:
        print(f"1. the sandbox plays OpenPanel on {url}: {loaded:,} events in {DAYS} days")
        variables = {
            "OPENPANEL_API_URL": url,
            "OPENPANEL_CLIENT_ID": READ.id,
            "OPENPANEL_CLIENT_SECRET": READ.secret or "",
            "OPENPANEL_PROJECT_ID": "demo",
            "WAREHOUSE": str((FOLDER / "warehouse.duckdb").resolve()),
            "SPOOL_DIR": str((FOLDER / "spool").resolve()),
            "START_DATE": days[0].isoformat(),
        }
        with local_dagster(FOLDER, variables) as dagster:
            print(f"2. Dagster runs on {dagster.url}, with its daemon")
            backfill = dagster.backfill(["openpanel", "events"], [day.isoformat() for day in days])
            runs = dagster.wait_for_backfill(backfill, tell=lambda line: print(f"   {line}"))
        bad = [run for run in runs if run["status"] != "SUCCESS"]
        if bad or not runs:
            print(f"   {len(bad)} of {len(runs)} runs failed; see {FOLDER}/daemon.log and the runs in {FOLDER}/dagster")
            return 1
        print("3. what landed, and what the vendor says it has")
        right = _compare(vendor, days)
    print(f"4. {FOLDER / 'warehouse.duckdb'} is yours to query; {time.monotonic() - started:.0f} s in all")
    if not right:
        print("   the tables do NOT reconcile")
        return 1
    return 0


def _compare(vendor: OpenPanel, days: list[date]) -> bool:
    with Warehouse(FOLDER / "warehouse.duckdb").read() as connection:
        landed = dict(connection.execute(f"select _day::varchar, count(*) from {EVENTS.table} group by 1").fetchall())
        receipts = {
            day: (announced, duplicates)
            for day, announced, duplicates in connection.execute(
                "select day::varchar, announced, duplicates from connector.landings "
                "where status = 'landed' qualify row_number() over (partition by table_name, day "
                "order by landed_at desc) = 1"
            ).fetchall()
        }
    print(f"   {'table':<18} {'day':<11} {'rows':>7} {'duplicates':>11} {'vendor':>7}")
    right = True
    for day in days:
        key, truth = day.isoformat(), vendor.count(day)
        announced, duplicates = receipts.get(key, (None, 0))
        rows = landed.get(key, 0)
        whole = announced == truth == rows + duplicates
        right &= whole
        print(f"   {EVENTS.table:<18} {key:<11} {rows:>7,} {duplicates:>11} {truth:>7,}  {'=' if whole else 'DIFFERS'}")
    return right


if __name__ == "__main__":
    sys.exit(main())
