"""Group F: the same work with a file and with lakes, in turns, each piece a process of its own.

``python -m benchmarks.lakes`` lands a day of 100,000 events into a new warehouse of each kind and once more over it,
asks for the day while it is landed again and again, looks at what thirty landings leave behind, and builds the models
of a day. dlt's ducklake destination lands beside them. Ratios are to the file, in one run of this program. Nothing
fails because of a time. A kind whose server is not installed here has dashes, and a line that says why.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import environments
from benchmarks.events import DAY, PROJECT
from benchmarks.growth import DBT, NIGHTS
from benchmarks.history import FIRST
from benchmarks.measure import Server
from benchmarks.report import ratio, table
from tests.kinds import environment, keywords
from tests.postgres import Postgres, binaries
from tests.scale.store import MOTO, Store

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
SCRATCH = BENCH / "lakes"
RESULT = Path(__file__).parent / "results" / "lakes.md"
EVENTS, RELANDED, DAYS, REPEAT = 100_000, 20_000, 7, 5
# What a lake may cost beside a file, and how long its readers may wait.
MOST_CPU, MOST_WAIT = 1.3, 0.1
FILE, DLT = "file", "dlt ducklake, SQLite"
LOCAL = ("lake, SQLite", "lake, PostgreSQL")
IN_BUCKET = "lake, PostgreSQL, bucket"


@dataclass
class Cost:
    """One process and what it said; ``servers`` is CPU of the servers that it asked meanwhile."""

    wall: float
    cpu: float
    rss_mb: float
    servers: float
    said: dict[str, Any] = field(default_factory=dict)


@dataclass
class Bench:
    """Servers, interpreters, and the kinds that can be had here.

    Attributes:
        kinds: by name, the variables of a new warehouse in a folder.
        missing: by name, why it cannot be had here.
    """

    interpreters: dict[str, Path]
    kinds: dict[str, Callable[[Path], dict[str, str]]]
    missing: dict[str, str]
    pids: list[int]

    def run(self, kind: str, work: str, url: str, folder: Path, variables: dict[str, str]) -> Cost:
        """One piece of work from outside."""
        return measured(self.command(kind, work, url, folder), self._with(variables, kind), self.pids)

    def start(self, kind: str, work: str, url: str, folder: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
        """The same, to go on beside others."""
        command = self.command(kind, work, url, folder)
        return subprocess.Popen(
            command, cwd=ROOT, env=os.environ | self._with(variables, kind), stdout=subprocess.PIPE, text=True
        )

    def command(self, kind: str, work: str, url: str, folder: Path) -> list[str]:
        """A contender's command line."""
        module = "dlt_ducklake" if kind == DLT else "connector_lake"
        interpreter = self.interpreters["peers" if kind == DLT else "lake"]
        return [str(interpreter), "-m", f"benchmarks.contenders.{module}", work, url, str(folder)]

    def _with(self, variables: dict[str, str], kind: str) -> dict[str, str]:
        ours = {
            "BENCH_DAY": DAY.isoformat(), "BENCH_PROJECT": PROJECT, "BENCH_CLIENT_ID": str(uuid.uuid4()),
            "DO_NOT_TRACK": "1",
        }  # fmt: skip
        return ours | variables | ({"HOME": str(SCRATCH / "home")} if kind == DLT else {})


def measured(command: list[str], variables: dict[str, str], pids: list[int]) -> Cost:
    """Run a process to its end; the last line it prints is what it says.

    Raises:
        RuntimeError: it failed.
    """
    servers, began = sum(map(_cpu_of, pids)), time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    return Cost(
        time.perf_counter() - began,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        sum(map(_cpu_of, pids)) - servers,
        json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {},
    )


def _cpu_of(pid: int) -> float:
    """CPU seconds of a server, of its processes and of those that have ended; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(_cpu_of(int(child)) for child in children)


def bench(stack: ExitStack) -> Bench:
    """What can be had here, started."""
    missing: dict[str, str] = {}
    kinds: dict[str, Callable[[Path], dict[str, str]]] = {
        FILE: lambda folder: {"WAREHOUSE": str(folder / "warehouse.duckdb")},
        LOCAL[0]: lambda folder: {
            "WAREHOUSE": f"ducklake:sqlite:{folder / 'lake.sqlite'}", "DUCKLAKE_DATA_PATH": str(folder / "files")
        },
    }  # fmt: skip
    interpreters, pids = {"lake": environments.lake(BENCH / "lake")}, list[int]()
    programs = binaries()
    if programs is None:
        missing |= dict.fromkeys((LOCAL[1], IN_BUCKET), "no PostgreSQL server is installed here")
    else:
        server = Postgres(programs)
        stack.callback(server.close)
        pids.append(server.pid)

        def in_postgres(folder: Path) -> dict[str, str]:
            url = f"ducklake:postgres:{keywords(server)}"
            return {"WAREHOUSE": url, **environment(f"lake_{uuid.uuid4().hex[:12]}", folder / "files")}

        kinds[LOCAL[1]] = in_postgres
        if MOTO.exists():
            store = stack.enter_context(Store())
            pids.append(store.process.pid)
            kinds[IN_BUCKET] = lambda folder: in_postgres(folder) | store.variables(uuid.uuid4().hex)
        else:
            missing[IN_BUCKET] = "no stand-in for S3 is installed here (make .moto)"
    try:
        interpreters["peers"] = environments.lake_peers(BENCH / "lake-peers")
        kinds[DLT] = lambda _: {}
    except subprocess.CalledProcessError:
        missing[DLT] = "it could not be installed here"
    made = Bench(interpreters, kinds, missing, pids)
    if DLT in kinds:
        (SCRATCH / "home").mkdir(parents=True)
        made.run(DLT, "install", "-", SCRATCH, {})
    return made


def places(made: Bench, work: str, *, dlt: bool = False) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """A new warehouse of each kind, removed afterwards."""
    for kind, variables in made.kinds.items():
        if kind == DLT and not dlt:
            continue
        folder = SCRATCH / f"{work}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        yield kind, folder, variables(folder)
        shutil.rmtree(folder)


def landings(made: Bench, events: int, repeat: int) -> dict[str, tuple[Cost, Cost]]:
    """The first landing and the next, by kind: medians; each counted afterwards.

    Raises:
        RuntimeError: a table does not hold the day once.
    """
    runs: dict[str, list[tuple[Cost, Cost]]] = {}
    with Server(events=events) as server:
        for turn in range(repeat + 1):
            for kind, folder, variables in places(made, "land", dlt=True):
                both = [made.run(kind, "land", server.url, folder, variables) for _ in range(2)]
                found = made.run(kind, "count", server.url, folder, variables).said
                if found != {"rows": events, "ids": events}:
                    raise RuntimeError(f"{kind} holds {found} of {events} events")
                if turn:  # the first one warms up
                    runs.setdefault(kind, []).append((both[0], both[1]))
                    print(f"  {kind}: {both[0].cpu:.2f} and {both[1].cpu:.2f} s CPU", file=sys.stderr, flush=True)
    return {kind: (typical([one for one, _ in of]), typical([two for _, two in of])) for kind, of in runs.items()}


def typical(costs: list[Cost]) -> Cost:
    """The median of each number."""
    return Cost(*(median(getattr(one, name) for one in costs) for name in ("wall", "cpu", "rss_mb", "servers")))


def reading(made: Bench, events: int, repeat: int) -> dict[str, list[dict[str, float]]]:
    """What a reader in another process sees of landings, by kind and turn."""
    found: dict[str, list[dict[str, float]]] = {}
    with Server(events=events) as server:
        for _ in range(repeat):
            for kind, folder, variables in places(made, "read"):
                made.run(kind, "land", server.url, folder, variables)
                with made.start(kind, "read", server.url, folder, variables) as reader:
                    assert reader.stdout is not None
                    if reader.stdout.readline() != "ready\n":
                        raise RuntimeError(f"the reader of {kind} did not begin")
                    made.run(kind, "land_often", server.url, folder, variables)
                    found.setdefault(kind, []).append(json.loads(reader.stdout.read()))
    return found


def replacing(made: Bench, events: int) -> dict[str, Cost]:
    """Thirty landings of one day with maintenance, by kind."""
    with Server(events=events) as server:
        return {
            kind: made.run(kind, "replace_often", server.url, folder, variables)
            for kind, folder, variables in places(made, "replace")
        }


def models(made: Bench, days: int) -> dict[str, Cost]:
    """The models of one day, each day a run of its own, over a history that was moved from a file; medians by kind."""
    history = SCRATCH / "history.duckdb"
    measured([sys.executable, "-m", "benchmarks.history", str(history), "--days", str(days)], {}, [])
    found = {}
    for kind, folder, variables in places(made, "models"):
        paths = {"DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs")}
        if kind == FILE:
            shutil.copy(history, variables["WAREHOUSE"])
        else:
            move = [sys.executable, "-m", "connector.cli", "move", "--quiet", "--to", variables["WAREHOUSE"]]
            own = {"WAREHOUSE": str(history), "SPOOL_DIR": str(folder / "spool")}
            measured(move, variables | own, [])

        def build(*options: str, environment: dict[str, str] = variables | paths, **wanted: str) -> Cost:
            command = [str(DBT), "--quiet", "build", "--project-dir", "sql", "--profiles-dir", "sql"]
            command += ["--exclude-resource-type", "unit_test", *options, "--vars", json.dumps(wanted)]
            return measured(command, environment, made.pids)

        build("--full-refresh")
        nights = [str(FIRST + timedelta(days=days - 1 - back)) for back in range(NIGHTS)]
        found[kind] = typical([build("--select", "tag:by_day", min_date=day, max_date=day) for day in nights])
        print(f"  {kind}: models {found[kind].cpu:.2f} s CPU", file=sys.stderr, flush=True)
    history.unlink()
    return found


# ---------- tables


def page(made: Bench, found: dict[str, Any], events: int) -> str:
    """Every table, with what was aimed for."""
    parts = [makes(found[name], events) for name, makes in _TABLES.items() if name in found]
    parts.append(targets(found.get("landings", {}), found.get("reading", {})))
    return "\n".join([*parts, *(f"- {kind}: {why}" for kind, why in made.missing.items())])


def _landings(landed: dict[str, tuple[Cost, Cost]], events: int) -> str:
    file = landed[FILE]
    head = ["kind", "CPU s", "again", "wall s", "again", "peak MB", "servers' CPU s", "CPU / file", "again / file"]
    rows = [
        [
            kind, f"{one.cpu:.2f}", f"{two.cpu:.2f}", f"{one.wall:.2f}", f"{two.wall:.2f}",
            f"{max(one.rss_mb, two.rss_mb):.0f}", f"{one.servers:.2f}", ratio(one.cpu, file[0].cpu),
            ratio(two.cpu, file[1].cpu),
        ]
        for kind, (one, two) in landed.items()
    ]  # fmt: skip
    return table(f"F: a day of {events:,} events, landed into a new warehouse and once more", head, rows)


def _reading(read: dict[str, list[dict[str, float]]], _: int) -> str:
    head = ["kind", "quiet median s", "reads beside", "median s", "longest s", "of it without a core", "waited s"]
    rows = [[kind, *_of_reader(runs)] for kind, runs in read.items()]
    return table("F: a reader beside six landings of that day", head, rows)


def _replacing(replaced: dict[str, Cost], _: int) -> str:
    head = ["kind", "MB after one", "MB after thirty more", "CPU s"]
    rows = [
        [kind, f"{one.said['first']:.1f}", f"{one.said['last']:.1f}", f"{one.cpu:.1f}"]
        for kind, one in replaced.items()
    ]
    title = f"F: a day of {RELANDED:,} events landed thirty times more, maintenance after every fifth"
    return table(title, head, rows)


def _models(built: dict[str, Cost], _: int) -> str:
    head = ["kind", "CPU s", "wall s", "peak MB", "servers' CPU s", "CPU / file"]
    rows = [
        [
            kind, f"{one.cpu:.1f}", f"{one.wall:.1f}", f"{one.rss_mb:.0f}", f"{one.servers:.1f}",
            ratio(one.cpu, built[FILE].cpu),
        ]
        for kind, one in built.items()
    ]  # fmt: skip
    return table("F: the models of one day", head, rows)


_TABLES: dict[str, Callable[[Any, int], str]] = {
    "landings": _landings, "reading": _reading, "replacing": _replacing, "models": _models
}  # fmt: skip


def _of_reader(runs: list[dict[str, float]]) -> Iterator[str]:
    """Medians of turns; of the longest reading, the longest of all and what it waited beyond a quiet one."""
    longest = max(runs, key=lambda one: one["longest"])
    yield f"{median(one['quiet'] for one in runs):.3f}"
    yield f"{sum(one['reads'] for one in runs):.0f}"
    yield f"{median(one['median'] for one in runs):.3f}"
    yield f"{longest['longest']:.3f}"
    yield f"{longest['no_core']:.3f}"
    yield f"{waited(runs):.3f}"


def waited(runs: list[dict[str, float]]) -> float:
    """The longest reading but for what a quiet one takes, and for what it stood in line for a processor."""
    return max(max(0.0, one["longest"] - one["quiet"] - one["no_core"]) for one in runs)


def targets(landed: Any, read: Any) -> str:
    """What was aimed for beside what was measured."""
    rows = []
    for kind in LOCAL:
        if kind in landed:
            for which, name in ((0, "first"), (1, "again")):
                quotient = landed[kind][which].cpu / landed[FILE][which].cpu
                met = "yes" if quotient <= MOST_CPU else "no"
                rows.append([f"CPU of a landing, {name}: {kind} / file", f"{quotient:.2f}", f"<= {MOST_CPU}", met])
        if kind in read:
            wait = waited(read[kind])
            met = "yes" if wait <= MOST_WAIT else "no"
            rows.append([f"longest wait of a reader, s: {kind}", f"{wait:.3f}", f"<= {MOST_WAIT}", met])
    return table("Targets", ["what", "measured", "target", "met"], rows) if rows else ""


def main() -> None:
    """Measure it all and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=REPEAT)
    parser.add_argument("--quick", action="store_true", help="a few thousand events, once: does everything still run?")
    parser.add_argument("--only", nargs="+", choices=_TABLES, default=list(_TABLES), help="some of the tables")
    options = parser.parse_args()
    events, repeat = (3_000, 1) if options.quick else (EVENTS, options.repeat)
    shutil.rmtree(SCRATCH, ignore_errors=True)
    with ExitStack() as stack:
        made = bench(stack)
        work: dict[str, Callable[[], Any]] = {
            "landings": lambda: landings(made, events, repeat),
            "reading": lambda: reading(made, events, min(repeat, 3)),
            "replacing": lambda: replacing(made, 1_000 if options.quick else RELANDED),
            "models": lambda: models(made, 2 if options.quick else DAYS),
        }
        found = {}
        for name in options.only:
            found[name] = work[name]()
            print("\n" + _TABLES[name](found[name], events), flush=True)
    text = page(made, found, events) + "\n"
    print(text)
    if not options.quick and found.keys() == _TABLES.keys():
        RESULT.write_text(text, encoding="utf-8")
    shutil.rmtree(SCRATCH)


if __name__ == "__main__":
    main()
