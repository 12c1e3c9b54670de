"""Years of a warehouse in minutes: the landed week of the sandbox's sample, repeated in SQL with moved days.

A copy of a day has its own people, devices, sessions and ids; a later week has the same people with new sessions. So
tables grow as those of a product with steady traffic: rows with the days, people not.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from connector import EVENTS, LOOKUPS, Exports, OpenPanel, Userpilot, Warehouse, sync_day, sync_lookup
from connector.catalogue.openpanel import INSIGHTS_METRICS
from connector.sandbox import READ, USERPILOT_KEY, serve, serve_userpilot
from connector.sandbox import OpenPanel as Vendor
from connector.sandbox import Userpilot as Pilot
from connector.userpilot.exports.request import Options, Request

FIRST = date(2026, 3, 2)
WEEK = 7
# Days whose rows are committed at once: a commit of its own for each of thousands of days takes longer than the rows.
PER_COMMIT = 28
# Copies of the sample's day: about 100,000 events of OpenPanel and 60,000 of Userpilot.
COPIES = {"openpanel.events": 100, "userpilot.events": 124}
TABLES = (*COPIES, "connector.landings", "openpanel.insights_metrics")
# A column's value in a later week and another copy; all others are as in the sample.
_OF_WEEK = "left({0}, -12) || printf('%06x%06x', $week, copy)"
_OF_COPY = "if({0} = '', '', {0} || '-' || copy)"
_MOVED = {
    "openpanel.events": {
        "id": _OF_WEEK.format("id"),
        "session_id": f"if(session_id = '', '', {_OF_WEEK.format('session_id')})",
        "device_id": f"if(device_id = '', '', {_OF_WEEK.format('device_id')})",
        # Anonymous visitors are their device.
        "profile_id": f"if(profile_id = device_id, {_OF_WEEK.format('device_id')}, {_OF_COPY.format('profile_id')})",
        "created_at": "created_at + to_days($days)",
    },
    "userpilot.events": {
        "user_id": _OF_COPY.format("user_id"),
        "company_id": _OF_COPY.format("company_id"),
        "internal_event_id": _OF_WEEK.format("internal_event_id"),
        "inserted_at": "inserted_at + to_days($days)",
    },
    # The vendor's overview of as many copies.
    "openpanel.insights_metrics": {
        "date": "date + $days::integer",
        **{
            name: f"{name} * $times"
            for name in ("unique_visitors", "total_sessions", "total_screen_views", "total_revenue")
        },
    },
}


def landed_week(path: Path) -> None:
    """Land the sample's week of both vendors as a deployment does."""
    vendor, pilot = Vendor(), Pilot(seconds_to_complete=0.0)
    for one in (vendor, pilot):
        one.load_sample(FIRST, FIRST + timedelta(days=WEEK - 1))
    land_week(path, vendor, pilot, FIRST)


def land_week(path: Path, vendor: Vendor, pilot: Pilot, first: date) -> None:
    """Land seven days of these vendors."""
    last = first + timedelta(days=WEEK - 1)
    spool, warehouse = path.parent / "spool", Warehouse(path)
    with (
        serve(vendor.app) as url,
        OpenPanel(url=url, client_id=READ.id, client_secret=READ.secret or "", project_id="demo") as client,
    ):
        for offset in range(WEEK):
            for stream in (EVENTS, INSIGHTS_METRICS):
                sync_day(client, stream, first + timedelta(days=offset), warehouse=warehouse, spool_dir=spool)
    with serve_userpilot(pilot) as (api, _), Userpilot(url=api, api_key=USERPILOT_KEY) as exporter:
        exports = Exports(exporter, spool)
        for job in exports.wait(Request.checked(first, last, Options.of({}), today=datetime.now(UTC).date())):
            exports.land(job, warehouse=warehouse)
        for stream in LOOKUPS:
            sync_lookup(exporter, stream, warehouse=warehouse, spool_dir=spool)


def repeat_week(path: Path, days: int, *, first: date = FIRST, copies: Mapping[str, int] = COPIES) -> None:
    """Replace the landed week by ``days`` days made from it, with a receipt for each.

    Args:
        first: the first day.
        copies: how many copies of the sample's day a day has, by table; one if left out.
    """
    moved_by = (first - FIRST).days
    with duckdb.connect(str(path)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for table in TABLES:
            connection.execute(f"create temp table week as from {table}")
            connection.execute(f"delete from {table}")
            day = "day" if table == "connector.landings" else "_day"
            moved = {day: f"{day} + $days::integer", **_MOVED.get(table, {})}
            values = ", ".join(f'{value} as "{name}"' for name, value in moved.items())
            insert = (
                f"insert into {table} by name select * exclude (copy) replace ({values}) from week "
                f"cross join range($copies) as copies (copy) where {day} = $day"
            )
            connection.execute("begin")
            for offset in range(days):
                given = {
                    "copies": copies.get(table, 1),
                    "times": copies["openpanel.events"],
                    "week": offset // WEEK,
                    "days": offset // WEEK * WEEK + moved_by,
                    "day": FIRST + timedelta(days=offset % WEEK),
                }
                connection.execute(insert, {name: value for name, value in given.items() if f"${name}" in insert})
                if offset % PER_COMMIT == PER_COMMIT - 1:
                    connection.execute("commit; begin")
            connection.execute("commit")
            connection.execute("drop table week")
    settle(path)


def settle(path: Path) -> None:
    """Join the small row groups that one insert a day left, as the checkpoint of each landing does little by little.

    Left undone, the first nights of a benchmark would pay for years. DuckDB does a part of it in each checkpoint, and
    none in the connection that inserted.
    """
    left = -1
    with duckdb.connect(str(path)) as connection:
        while True:
            # Without a change there is nothing to do for a checkpoint.
            connection.execute("create table changed as select 1 as n")
            connection.execute("drop table changed")
            connection.execute("checkpoint")
            each = " union all ".join(
                f"select distinct row_group_id from pragma_storage_info('{table}')" for table in TABLES
            )
            ((groups,),) = connection.execute(f"select count(*) from ({each})").fetchall()
            if groups == left:
                break
            left = groups


def main() -> None:
    """``python -m benchmarks.history --days 168 FILE``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--days", type=int, default=28)
    options = parser.parse_args()
    options.file.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        week = Path(folder) / "week.duckdb"
        landed_week(week)
        options.file.write_bytes(week.read_bytes())
    repeat_week(options.file, options.days)


if __name__ == "__main__":
    main()
