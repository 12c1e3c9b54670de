"""`make demo`: the whole way, without credentials, in a minute and a half.

Starts the sandbox on loopback, lets a real Dagster (webserver and daemon) land its days into a DuckDB file, and
compares every day with the vendor's own count. The models of ``sql/`` follow by themselves.

Everything it makes lies in ``.demo/``, or in the new warehouse that is given; nothing else is touched.
"""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from connector import EVENTS, Warehouse
from connector.catalogue.userpilot import DEFAULT_EVENT_TYPES
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.dagster.runs import RANGE_END, RANGE_START
from connector.dagster.userpilot.assets import JOB_TAG
from connector.sandbox import OpenPanel, Userpilot, serve, serve_userpilot, vendor_variables
from connector.system.terminal import never_fail_on_a_character
from dagster_project.dbt import prepare
from dagster_project.local import LocalDagster, local_dagster

FOLDER = Path(".demo")
DAYS = 7
REPORTS = """
charts:
  views: {series: [screen_view]}
  people_by_country: {series: [{event: screen_view, segment: user}], breakdowns: [country]}
funnels:
  activation: {steps: [screen_view, signup]}
"""
TABLES = ("events", "insights_metrics", "insights_pages", "insights_breakdowns", "charts", "funnels")
LOOKUPS = ("features_events", "flows", "checklists", "surveys", "banners", "spotlights", "resource_center_modules")
MARTS = (
    "daily_active", "sessions", "funnel", "page_performance", "channel_performance", "feature_adoption",
    "flow_adoption", "people", "companies", "retention_cohorts", "vendor_comparison",
)  # fmt: skip
# How long the sandbox's export runs: long enough to see the sensor wait.
EXPORT_SECONDS = 20.0


# Dagster's own job of all assets.
_ASSETS = "__ASSET_JOB"
_SESSIONS = """
select session_id, {
    'began': strftime(started_at at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ'), 'person': visitor_id,
    'entry': coalesce(entry_path, ''), 'exit': coalesce(exit_path, ''), 'views': page_views, 'bounced': is_bounce,
    'milliseconds': (duration_seconds * 1000)::bigint
} from marts.sessions
"""


def main(arguments: Sequence[str] = ()) -> int:
    """Run the demo in the given warehouse, or a file of its own; 0 only if every day's rows equal the sandbox's."""
    never_fail_on_a_character()
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    warehouse = Warehouse(next(iter(arguments), str(FOLDER / "warehouse.duckdb")))
    if warehouse.exists():
        print(f"{warehouse.name} holds something already, and the demo wants a warehouse of its own")
        return 1
    last = datetime.now(UTC).date() - timedelta(days=1)
    days = [last - timedelta(days=back) for back in reversed(range(DAYS))]

    vendor = OpenPanel()
    loaded = vendor.load_sample(days[0], days[-1])
    pilot = Userpilot(seconds_to_complete=EXPORT_SECONDS)
    exported = pilot.load_sample(days[0], days[-1])
    with serve(vendor.app) as url, serve_userpilot(pilot) as (api, _):
        print(f"1. the sandbox plays OpenPanel on {url}: {loaded:,} events in {DAYS} days")
        print(f"   and Userpilot on {api}: {exported:,} events of the same people")
        variables = {
            **vendor_variables(openpanel=url, userpilot=api),
            **warehouse.environment,
            "SPOOL_DIR": str((FOLDER / "spool").resolve()),
            "START_DATE": days[0].isoformat(),
            "CONNECTOR_DBT": "on",
            "OPENPANEL_REPORTS": str((FOLDER / "reports.yaml").resolve()),
        }
        (FOLDER / "reports.yaml").write_text(REPORTS, encoding="utf-8")
        prepare()
        with local_dagster(FOLDER, variables) as dagster:
            print(f"2. Dagster runs on {dagster.url}, with its daemon")
            runs, right = _work(dagster, warehouse, (vendor, pilot), days, started)
        bad = [run for run in runs if run["status"] != "SUCCESS"]
        if bad or not runs:
            print(f"   {len(bad)} of {len(runs)} runs failed; see {FOLDER}/daemon.log and the runs in {FOLDER}/dagster")
            return 1
        print("4. what the models made of it, built and tested by dbt in Dagster")
        right &= _show_marts(warehouse, vendor, days)
    print(f"5. {warehouse.name} is yours to query; {time.monotonic() - started:.0f} s in all")
    if not right:
        print("   the tables do NOT reconcile")
        return 1
    return 0


def _work(
    dagster: LocalDagster,
    warehouse: Warehouse,
    vendors: tuple[OpenPanel, Userpilot],
    days: Sequence[date],
    started: float,
) -> tuple[list[dict[str, str]], bool]:
    """Land, compare and build; returns the runs with their status, and whether every day equals the sandbox's."""
    # It would build the models after every landing, rightly; here once is enough, when all has landed.
    dagster.switch_off("models_sensor")
    span, right = {RANGE_START: days[0].isoformat(), RANGE_END: days[-1].isoformat()}, True
    asked = dagster.launch(_ASSETS, assets=[["userpilot", "export_job"]], tags=span)
    print(f"   userpilot/export_job: one run asks for an export of {DAYS} days")
    landing = dagster.launch(_ASSETS, assets=[["openpanel", table] for table in TABLES], tags=span)
    print(f"   openpanel: one run lands {DAYS} days of {len(TABLES)} tables")
    runs = [{"id": run, "status": dagster.wait_for_run(run)} for run in (landing, asked)]
    lists = dagster.launch(_ASSETS, assets=[["userpilot", name] for name in LOOKUPS])
    if _all_succeeded(runs):
        print(f"3. after {time.monotonic() - started:.0f} s: what landed, and what the vendor says it has")
        right = _compare(warehouse, vendors[0], days)
    status = dagster.wait_for_tagged_run(
        JOB_TAG, "userpilot_export_sensor", tell=lambda line: print(f"   userpilot_export_sensor: {line}")
    )
    runs += [{"id": "the landing of the export", "status": status}]
    runs += [{"id": lists, "status": dagster.wait_for_run(lists)}]
    if _all_succeeded(runs):
        right &= _compare_export(warehouse, vendors[1], days)
        runs.append(_build_models(dagster, span))
    return runs, right


def _compare(warehouse: Warehouse, vendor: OpenPanel, days: Sequence[date]) -> bool:
    """Print every table by day beside what the vendor has; False if any differs."""
    with warehouse.read() as connection:

        def by_day(value: str, table: str) -> dict[str, int]:
            rows = connection.execute(f"select _day::varchar, {value} from openpanel.{table} group by 1").fetchall()
            return dict(rows)

        rows = {table: by_day("count(*)", table) for table in TABLES}
        twins = dict(
            connection.execute(
                "select day::varchar, arg_max(duplicates, landed_at) from connector.landings "
                f"where table_name = '{EVENTS.table}' and status = 'landed' group by 1"
            ).fetchall()
        )
        landed = {
            "sessions": by_day("any_value(total_sessions)", "insights_metrics"),
            "sessions by browser": by_day("sum(sessions) filter (dimension = 'browser')", "insights_breakdowns"),
            "views in a chart": by_day("sum(value) filter (chart = 'views')", "charts"),
        }
    right = True
    print(f"   {'day':<11} {'events':>7} {'twins':>6} {'vendor':>7}" + "".join(f" {table:>20}" for table in TABLES[1:]))
    for day in days:
        key, truth = day.isoformat(), vendor.count(day)
        whole = rows["events"].get(key, 0) + twins.get(key, 0) == truth
        right &= whole
        others = "".join(f" {rows[table].get(key, 0):>20,}" for table in TABLES[1:])
        print(
            f"   {key:<11} {rows['events'].get(key, 0):>7,} {twins.get(key, 0):>6} {truth:>7,}{others}  {_sign(whole)}"
        )
    sessions = [session for session in vendor.sessions() if str(session["created_at"])[:10] >= days[0].isoformat()]
    truths = {
        "sessions": len(sessions),
        "sessions by browser": len(sessions),
        "views in a chart": sum(row["name"] == "screen_view" for day in days for row in vendor.rows(day)),
    }
    for name, truth in truths.items():
        total = sum(int(value or 0) for value in landed[name].values())
        right &= total == truth
        print(f"   {name:<22} {total:>7,} landed, {truth:>7,} at the vendor  {_sign(total == truth)}")
    return right


def _compare_export(warehouse: Warehouse, pilot: Userpilot, days: Sequence[date]) -> bool:
    """The same for the export; identical records count once, and session_start is exported only on request."""
    with warehouse.read() as connection:
        landed = dict(connection.execute(f"select _day::varchar, count(*) from {EXPORTED.table} group by 1").fetchall())
    print(f"   {'day':<11} {EXPORTED.table:>16} {'vendor':>7}")
    right = True
    for day in days:
        rows, truth = landed.get(day.isoformat(), 0), pilot.count(day, types=DEFAULT_EVENT_TYPES, distinct=True)
        right &= rows == truth
        print(f"   {day.isoformat():<11} {rows:>16,} {truth:>7,}  {_sign(rows == truth)}")
    return right


def _all_succeeded(runs: Sequence[dict[str, str]]) -> bool:
    return all(run["status"] == "SUCCESS" for run in runs)


def _build_models(dagster: LocalDagster, span: Mapping[str, str]) -> dict[str, str]:
    """Build and test the models of the landed days, and those that look at all days; returns the run."""
    run = dagster.launch("models", tags=span)
    print("   models: one run builds and tests all of them, by day and whole")
    return {"id": run, "status": dagster.wait_for_run(run)}


def _show_marts(warehouse: Warehouse, vendor: OpenPanel, days: Sequence[date]) -> bool:
    """Print the rows of every mart; False if one is empty, or sessions are not the vendor's."""
    with warehouse.read() as connection:
        rows = {name: connection.execute(f"select count(*) from marts.{name}").fetchone() for name in MARTS}
        ours = dict(connection.execute(_SESSIONS).fetchall())
    for name, found in rows.items():
        print(f"   marts.{name:<20} {found[0] if found else 0:>7,} rows")
    first = days[0].isoformat()
    theirs = {one["id"]: _kept(one) for one in vendor.sessions() if str(one["created_at"])[:10] >= first}
    same = ours == theirs
    told = f"{len(ours):,}, the vendor's: {len(theirs):,}"
    print(f"   sessions rebuilt from events: {told}, equal in page, person, views and length {_sign(same)}")
    return same and all(found and found[0] for found in rows.values())


def _kept(session: dict[str, Any]) -> dict[str, Any]:
    """A session of the vendor as `_SESSIONS` reads ours."""
    return {
        "began": session["created_at"],
        "person": session["profile_id"],
        "entry": session["entry_path"],
        "exit": session["exit_path"],
        "views": session["screen_view_count"],
        "bounced": session["is_bounce"],
        "milliseconds": session["duration"],
    }


def _sign(same: bool) -> str:
    return "=" if same else "DIFFERS"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
