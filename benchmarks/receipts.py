"""What looks at receipts and days, over ten years of landings: sensors, schedules, checks, coverage, doctor, prune.

``python -m benchmarks.receipts`` makes two warehouses with the same receipts, one with four times the events, and looks
at both in this process. Each look is the median of several, after one that warms up. Nothing fails because of a time.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import dagster as dg
import duckdb

from benchmarks.history import landed_week, repeat_week
from benchmarks.report import ratio, table
from connector import EVENTS, Warehouse
from connector.catalogue.openpanel import STREAMS as OPENPANEL
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.dagster import OpenPanelResource, UserpilotResource, WarehouseResource, build_definitions
from connector.dagster.checks import check_results
from connector.dagster.reporting import pictures_of
from connector.sandbox import READ, USERPILOT_KEY, serve, serve_userpilot
from connector.sandbox import OpenPanel as Vendor
from connector.sandbox import Userpilot as Pilot
from connector.settings import Environment
from connector.stream import Stream
from connector.upkeep.doctor import doctor
from connector.upkeep.prune import prune_receipts
from connector.upkeep.status import status
from connector.warehouse.coverage import newest_receipts

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / ".bench" / "receipts"
RESULT = Path(__file__).parent / "results" / "receipts.md"
YEARS = 10
PARTITIONS = 1000
LOOKS = 3
MORE = 4
# The number of copies of the sample's day that makes the smaller warehouse: about 1,000 and 500 events a day.
COPIES = {"openpanel.events": 1, "userpilot.events": 1}
# How often a day of events was landed: once, and again by the lookback of three nights.
AGAIN = 4


def yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


def history(week: Path, file: Path, days: int, times: int) -> None:
    """A warehouse whose newest day is yesterday, with a receipt for each day of every table that has days."""
    shutil.copy(week, file)
    first = yesterday() - timedelta(days=days - 1)
    repeat_week(file, days, first=first, copies={name: copies * times for name, copies in COPIES.items()})
    known = {EVENTS.table, "openpanel.insights_metrics"}
    others = [stream.table for stream in OPENPANEL if stream.days != "none" and stream.table not in known]
    with duckdb.connect(str(file)) as connection:
        for name in others:
            connection.execute(
                "insert into connector.landings select * replace ($name as table_name, load_id || $name as load_id) "
                "from connector.landings where table_name = $like",
                {"name": name, "like": EVENTS.table},
            )
        connection.execute("update connector.landings set landed_at = day + interval '27 hours'")
        connection.execute(
            "insert into connector.landings select * exclude (again) replace (load_id || again as load_id, "
            "landed_at - again * interval '1 minute' as landed_at) from connector.landings "
            f"cross join range(1, {AGAIN}) as nights (again) where table_name = $name",
            {"name": EVENTS.table},
        )


@contextmanager
def looks(file: Path, instance: dg.DagsterInstance) -> Iterator[dict[str, Callable[[], Any]]]:
    """Everything that is measured, by what a user calls it.

    Args:
        instance: knows every partition as materialized after the first call.
    """
    start = yesterday() - timedelta(days=PARTITIONS - 1)
    with ExitStack() as stack:
        url = stack.enter_context(serve(Vendor().app))
        api, _ = stack.enter_context(serve_userpilot(Pilot(seconds_to_complete=0.0)))
        store = WarehouseResource(database=str(file), spool_dir=str(file.parent / "spool"))
        definitions = build_definitions(
            start_date=start,
            warehouse=store,
            openpanel=OpenPanelResource(
                api_url=url,
                client_id=READ.id,
                client_secret=READ.secret or "",
                project_id="demo",
            ),
            userpilot=UserpilotResource(api_url=api, api_key=USERPILOT_KEY),
        )
        repository = definitions.get_repository_def()
        for asset in repository.assets_defs_by_key.values():
            if instance.get_latest_materialization_event(asset.key):
                continue
            for key in (asset.partitions_def.get_partition_keys() if asset.partitions_def else [])[-PARTITIONS:]:
                instance.report_runless_asset_event(dg.AssetMaterialization(asset.key, partition=key))
        env = Environment({"WAREHOUSE": str(file), "SPOOL_DIR": str(file.parent / "spool"), "START_DATE": str(start)})
        warehouse, day = Warehouse(file), yesterday()
        found: dict[str, Callable[[], Any]] = {}
        for sensor in definitions.sensors or []:
            assert isinstance(sensor, dg.SensorDefinition)
            found[f"tick of {sensor.name}"] = _tick(sensor, instance, repository)
        for schedule in definitions.schedules or []:
            if isinstance(schedule, dg.ScheduleDefinition):
                found[f"tick of {schedule.name}"] = _night(schedule, instance, repository)
        found["connector doctor --offline"] = lambda: list(doctor(env, offline=True))
        found["connector status"] = lambda: status(env)
        found["connector prune --dry-run"] = lambda: prune_receipts(warehouse, dry_run=True)
        found["the view connector.coverage"] = lambda: _read(file, "from connector.coverage")
        for stream in (EVENTS, EXPORTED):
            found[f"checks of a day of {stream.table}"] = partial(_checks, stream, warehouse)
            found[f"picture of a day of {stream.table}"] = partial(pictures_of, stream, [day], store)
        yield found


def _tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, repository: Any) -> Callable[[], Any]:
    def tick() -> Any:
        with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
            return sensor.evaluate_tick(context)

    return tick


def _night(schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, repository: Any) -> Callable[[], Any]:
    def tick() -> Any:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=datetime.now(UTC), repository_def=repository
        )
        return schedule.evaluate_tick(context)

    return tick


def _checks(stream: Stream, warehouse: Warehouse) -> list[Any]:
    newest = newest_receipts(warehouse, stream, most=1)
    return list(check_results(stream, dg.AssetKey(stream.name), newest, warehouse))


def _read(file: Path, sql: str) -> list[Any]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def seconds(look: Callable[[], Any]) -> float:
    """The median of several looks, after one that warms up."""
    look()
    found = []
    for _ in range(LOOKS):
        began = perf_counter()
        look()
        found.append(perf_counter() - began)
    return median(found)


def main() -> None:
    """Make both warehouses, look at each, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=YEARS * 365)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    shutil.rmtree(SCRATCH, ignore_errors=True)
    (SCRATCH / "dagster").mkdir(parents=True)
    landed_week(SCRATCH / "week.duckdb")
    found: list[dict[str, float]] = []
    told = []
    for times in (1, MORE):
        file = SCRATCH / f"{times}.duckdb"
        history(SCRATCH / "week.duckdb", file, options.days, times)
        ((landings,),) = _read(file, "select count(*) from connector.landings")
        ((rows,),) = _read(
            file, f"select (select count(*) from {EVENTS.table}) + (select count(*) from {EXPORTED.table})"
        )
        told.append(f"{landings:,} landings, {rows:,} events")
        print(told[-1], file=sys.stderr)
        with (
            dg.DagsterInstance.local_temp(str(SCRATCH / "dagster")) as instance,
            looks(file, instance) as all_looks,
        ):
            found.append({name: seconds(look) for name, look in all_looks.items()})
    few, many = found
    head = ["look", f"s, {told[0]}", f"s, {told[1]}", "ratio"]
    rows_of_table = [[name, f"{few[name]:.3f}", f"{many[name]:.3f}", ratio(many[name], few[name])] for name in few]
    text = table(f"What looks at {options.days:,} days of receipts and {PARTITIONS:,} partitions", head, rows_of_table)
    print(text)
    if options.days == YEARS * 365:
        RESULT.write_text(text + "\n", encoding="utf-8")
    shutil.rmtree(SCRATCH)


if __name__ == "__main__":
    main()
