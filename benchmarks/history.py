"""Years of a warehouse in minutes: the landed week of the sandbox's sample, repeated in SQL with moved days.

A copy of a day has its own people, devices, sessions and ids; a later week has the same people with new sessions. So
tables grow as those of a product with steady traffic: rows with the days, people not.
"""

from __future__ import annotations

import argparse
import tempfile
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
# Copies of the sample's day: about 100,000 events of OpenPanel and 60,000 of Userpilot.
COPIES = {"openpanel.events": 100, "userpilot.events": 124}
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
        "created_at": "created_at + to_days($week * 7)",
    },
    "userpilot.events": {
        "user_id": _OF_COPY.format("user_id"),
        "company_id": _OF_COPY.format("company_id"),
        "internal_event_id": _OF_WEEK.format("internal_event_id"),
        "inserted_at": "inserted_at + to_days($week * 7)",
    },
    # The vendor's overview of as many copies.
    "openpanel.insights_metrics": {
        "date": "date + $week::integer * 7",
        **{
            name: f"{name} * {COPIES['openpanel.events']}"
            for name in ("unique_visitors", "total_sessions", "total_screen_views", "total_revenue")
        },
    },
}


def landed_week(path: Path) -> None:
    """Land the sample's week of both vendors as a deployment does."""
    last = FIRST + timedelta(days=WEEK - 1)
    vendor, pilot = Vendor(), Pilot(seconds_to_complete=0.0)
    vendor.load_sample(FIRST, last)
    pilot.load_sample(FIRST, last)
    spool, warehouse = path.parent / "spool", Warehouse(path)
    with (
        serve(vendor.app) as url,
        OpenPanel(url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo") as client,
    ):
        for offset in range(WEEK):
            for stream in (EVENTS, INSIGHTS_METRICS):
                sync_day(client, stream, FIRST + timedelta(days=offset), warehouse=warehouse, spool_dir=spool)
    with serve_userpilot(pilot) as (api, _), Userpilot(url=api, api_key=USERPILOT_KEY) as exporter:
        exports = Exports(exporter, spool)
        for job in exports.wait(Request.checked(FIRST, last, Options.of({}), today=datetime.now(UTC).date())):
            exports.land(job, warehouse=warehouse)
        for stream in LOOKUPS:
            sync_lookup(exporter, stream, warehouse=warehouse, spool_dir=spool)


def repeat_week(path: Path, days: int) -> None:
    """Replace the landed week by ``days`` days made from it, with a receipt for each; the first is ``FIRST``."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for table in ("openpanel.events", "userpilot.events", "connector.landings", "openpanel.insights_metrics"):
            connection.execute(f"create temp table week as from {table}")
            connection.execute(f"delete from {table}")
            day = "day" if table == "connector.landings" else "_day"
            moved = {day: f"{day} + $week::integer * 7", **_MOVED.get(table, {})}
            values = ", ".join(f'{value} as "{name}"' for name, value in moved.items())
            for offset in range(days):
                connection.execute(
                    f"insert into {table} by name select * exclude (copy) replace ({values}) from week "
                    f"cross join range({COPIES.get(table, 1)}) as copies (copy) where {day} = $day",
                    {"week": offset // WEEK, "day": FIRST + timedelta(days=offset % WEEK)},
                )
            connection.execute("drop table week")


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
