"""What a night of everything costs: every nightly schedule's runs at once, the export, the landing, the models.

``python -m benchmarks.night`` lands a week of the sample, starts a real Dagster, launches what each schedule asks for
tonight, and waits until nothing is left to do. It prints the runs, how many processes they took, CPU seconds and wall.
"""

from __future__ import annotations

import argparse
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.history import land_week
from benchmarks.report import table
from connector.dagster.runs import RANGE_END, RANGE_START
from connector.sandbox import OpenPanel, Userpilot, serve, serve_userpilot, vendor_variables
from dagster_project.dbt import prepare
from dagster_project.local import LOCATION, LocalDagster, local_dagster

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / ".bench" / "night"
RESULT = Path(__file__).parent / "results" / "night.md"
WEEK = 7
SCHEDULES = ("openpanel_nightly", "userpilot_nightly_export", "userpilot_lookups")
# Nothing runs for so long: the sensors looked twice, and asked for nothing.
QUIET_SECONDS = 60.0
EXPORT_SECONDS = 10.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}

_DRY_RUN = """
mutation ($schedule: ScheduleSelector!, $at: Float!) {
  scheduleDryRun(selectorData: $schedule, timestamp: $at) {
    __typename
    ... on DryRunInstigationTick {
      evaluationResult {
        skipReason error { message } runRequests { tags { key value } assetSelection { path } jobName }
      }
    }
    ... on PythonError { message }
  }
}"""
_RUNS = """
{ runsOrError(limit: 500) { ... on Runs { results {
  jobName status startTime endTime assetSelection { path } tags { key value }
} } } }"""


@dataclass
class Processes:
    """CPU seconds of every process that belongs to one Dagster, read from /proc ten times a second."""

    home: Path
    seen: dict[tuple[int, str], float] = field(default_factory=dict)

    def look(self) -> None:
        mine = f"DAGSTER_HOME={self.home}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mine not in (folder / "environ").read_bytes().split(b"\0"):
                    continue
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            self.seen[int(folder.name), fields[19]] = (int(fields[11]) + int(fields[12])) * _TICK

    def cpu(self) -> float:
        return sum(self.seen.values())

    @contextmanager
    def watched(self) -> Iterator[None]:
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.1):
                self.look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def launch(dagster: LocalDagster, schedule: str, at: datetime) -> int:
    """Launch what a schedule asks for at this moment; how many runs."""
    selector = {"repositoryName": "__repository__", "repositoryLocationName": LOCATION, "scheduleName": schedule}
    answer = dagster.query(_DRY_RUN, schedule=selector, at=at.timestamp())["scheduleDryRun"]
    result = answer["evaluationResult"]
    if result["error"]:
        raise RuntimeError(f"{schedule}: {result['error']['message']}")
    requests = result["runRequests"] or []
    for request in requests:
        assets = [one["path"] for one in request["assetSelection"] or []]
        tags = {tag["key"]: tag["value"] for tag in request["tags"]}
        dagster.launch(request["jobName"] or schedule, assets=assets, tags=tags)
    return len(requests)


def wait(dagster: LocalDagster) -> list[dict[str, Any]]:
    """Every run, when none was under way for a while."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        runs: list[dict[str, Any]] = dagster.query(_RUNS)["runsOrError"]["results"]
        if any(run["status"] not in _ENDED for run in runs):
            quiet_since = time.monotonic()
        time.sleep(1.0)
    return runs[::-1]


def night(first: date) -> tuple[list[dict[str, Any]], int, float, float, float]:
    """The runs of one night; processes, CPU seconds of them, CPU seconds of what was there before, and wall seconds."""
    vendor, pilot = OpenPanel(), Userpilot(seconds_to_complete=EXPORT_SECONDS)
    last = first + timedelta(days=WEEK)
    for one in (vendor, pilot):
        one.load_sample(first, last)
    warehouse = SCRATCH / "warehouse.duckdb"
    # The week before is landed and built; tonight's day is not.
    land_week(warehouse, vendor, pilot, first)
    prepare()
    with serve(vendor.app) as url, serve_userpilot(pilot) as (api, _):
        variables = {
            **vendor_variables(openpanel=url, userpilot=api),
            "WAREHOUSE": str(warehouse),
            "SPOOL_DIR": str(SCRATCH / "spool"),
            "START_DATE": first.isoformat(),
            "CONNECTOR_DBT": "on",
        }
        with local_dagster(SCRATCH, variables) as dagster:
            span = {RANGE_START: str(first), RANGE_END: str(last - timedelta(days=1))}
            dagster.launch("models", tags=span)
            earlier = wait(dagster)
            if any(run["status"] != "SUCCESS" for run in earlier):
                raise RuntimeError(f"the models of the week before: {[run['status'] for run in earlier]}")
            processes = Processes(dagster.home.resolve())
            processes.look()
            before, began, standing = dict(processes.seen), time.monotonic(), set(processes.seen)
            with processes.watched():
                at = datetime.combine(last + timedelta(days=1), datetime.min.time(), UTC) + timedelta(
                    hours=3, minutes=15
                )
                for schedule in SCHEDULES:
                    launch(dagster, schedule, at)
                runs = wait(dagster)[len(earlier) :]
            wall = time.monotonic() - began - QUIET_SECONDS
    ours = sum(cpu for key, cpu in processes.seen.items() if key not in standing)
    theirs = sum(cpu - before[key] for key, cpu in processes.seen.items() if key in standing)
    return runs, len(processes.seen.keys() - standing), ours, theirs, wall


def main() -> None:
    """One night; the table goes to results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    first = datetime.now(UTC).date() - timedelta(days=WEEK + 1)
    runs, processes, ours, theirs, wall = night(first)
    rows = []
    for run in runs:
        selected = run["assetSelection"] or []
        what = ", ".join("/".join(one["path"]) for one in selected[:2]) + (" ..." if len(selected) > 2 else "")
        seconds = (run["endTime"] or 0.0) - (run["startTime"] or 0.0)
        rows.append(
            [
                run["jobName"].replace("__ASSET_JOB", "by a sensor"),
                what,
                str(len(selected)),
                run["status"],
                f"{seconds:.1f}",
            ]
        )
    text = table("A night of everything: its runs", ["job", "assets", "of them", "ended as", "seconds"], rows)
    text += (
        f"\n{len(runs)} runs in {processes} processes: {ours:.1f} CPU s, and {theirs:.1f} CPU s of the daemon, the "
        f"webserver and their code servers; {wall:.0f} s from the first launch to the last end.\n"
    )
    print(text)
    RESULT.write_text(text, encoding="utf-8")
    shutil.rmtree(SCRATCH)


if __name__ == "__main__":
    main()
