"""What a night costs as history grows: the same work over a short and a long history, each a process of its own.

``python -m benchmarks.growth`` makes both warehouses (benchmarks/history.py), builds every model anew, then the models
of three days, each in a run of its own, then the models that are built whole. Ratios compare the two histories, in one
run of this program. Nothing fails because of a time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

from benchmarks.history import FIRST
from benchmarks.report import ratio, table

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / ".bench" / "growth"
RESULT = Path(__file__).parent / "results" / "growth.md"
DBT = Path(sys.executable).with_name("dbt")
NIGHTS = 3
# DuckDB keeps what it has read as long as its limit allows. With this one it keeps what it needs.
TIGHT = "300MB"


@dataclass(frozen=True)
class Cost:
    """CPU seconds and peak megabytes of one process and its children."""

    cpu: float
    rss_mb: float


def measured(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a process to its end; its output goes to the terminal's error stream.

    Raises:
        RuntimeError: it failed.
    """
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def costs(days: int) -> tuple[dict[str, Cost], float]:
    """Each piece of work over a history of so many days; and the file's size against that of its landed part."""
    folder = SCRATCH / str(days)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    warehouse = folder / "warehouse.duckdb"
    measured([sys.executable, "-m", "benchmarks.history", str(warehouse), "--days", str(days)], {})
    landed = warehouse.stat().st_size
    environment = {
        "WAREHOUSE": str(warehouse),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
    }

    def build(*options: str, variables: dict[str, str] | None = None, limit: str = "1GB") -> Cost:
        command = [str(DBT), "--quiet", "build", "--project-dir", "sql", "--profiles-dir", "sql"]
        command += ["--exclude-resource-type", "unit_test", *options, "--vars", json.dumps(variables or {})]
        return measured(command, {**environment, "DBT_MEMORY_LIMIT": limit})

    found = {"full refresh": build("--full-refresh")}
    grown = warehouse.stat().st_size / landed
    last = FIRST + timedelta(days=days - 1)
    nights = []
    for back in range(NIGHTS):
        day = str(last - timedelta(days=back))
        nights.append(build("--select", "tag:by_day", variables={"min_date": day, "max_date": day}))
    found["models of one day"] = Cost(median(one.cpu for one in nights), median(one.rss_mb for one in nights))
    found["models built whole"] = build("--exclude", "tag:by_day")
    tight = build("--select", "tag:by_day", variables={"min_date": day, "max_date": day}, limit=TIGHT)
    found[f"models of one day, DBT_MEMORY_LIMIT={TIGHT}"] = tight
    found[f"models built whole, DBT_MEMORY_LIMIT={TIGHT}"] = build("--exclude", "tag:by_day", limit=TIGHT)
    return found, grown


def main() -> None:
    """Measure both histories and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, nargs=2, default=(28, 168), metavar=("SHORT", "LONG"))
    options = parser.parse_args()
    (short, few), (long, many) = (costs(days) for days in options.days)
    head = ["work", *(f"{what}, {days} days" for what in ("CPU s", "peak MB") for days in options.days), "CPU", "peak"]
    rows = [
        [
            name,
            f"{one.cpu:.1f}",
            f"{long[name].cpu:.1f}",
            f"{one.rss_mb:.0f}",
            f"{long[name].rss_mb:.0f}",
            ratio(long[name].cpu, one.cpu),
            ratio(long[name].rss_mb, one.rss_mb),
        ]
        for name, one in short.items()
    ]
    told = f"The file after the full refresh is {few:.2f} and {many:.2f} times the size of the landed tables.\n"
    text = table("What a night costs, by days of history", head, rows) + "\n" + told
    print(text)
    if tuple(options.days) == (28, 168):
        RESULT.write_text(text, encoding="utf-8")
    shutil.rmtree(SCRATCH)


if __name__ == "__main__":
    main()
