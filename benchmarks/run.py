"""Lands the same day with every contender, in turns, and prints what it cost.

``A B C A B C ...`` instead of ``A A A B B B``: on a machine with other things to do, a slow minute then hits everybody.
Compare numbers inside one table only. Exits 1 if a table is not exact, never because of a time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import uuid
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from benchmarks import environments, exported, report
from benchmarks.events import PAGE_SIZE, fingerprint
from benchmarks.measure import Run, Server, measure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SCRATCH = ROOT / ".bench"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A script, its mode, and whose environment it needs."""

    module: str
    mode: str = ""
    environment: Literal["library", "product", "peers"] = "library"


CONTENDERS = {
    "floor": Contender(module="floor"),
    "floor-httpx": Contender(module="floor", mode="httpx"),
    "floor-threads": Contender(module="floor", mode="threads"),
    "connector": Contender(module="connector_library"),
    "dlt-arrow": Contender(module="dlt_arrow", mode="replace", environment="peers"),
    "dlt-arrow-merge": Contender(module="dlt_arrow", mode="merge", environment="peers"),
    "dlt-rest": Contender(module="dlt_rest", mode="replace", environment="peers"),
    "dlt-rest-counted": Contender(module="dlt_rest", mode="replace counted", environment="peers"),
    "dlt-rest-merge": Contender(module="dlt_rest", mode="merge", environment="peers"),
    "dagster-pandas": Contender(module="dagster_pandas", environment="peers"),
    "connector-dagster": Contender(module="connector_dagster", environment="product"),
    "export-floor": Contender(module="export_floor"),
    "export-floor-threads": Contender(module="export_floor", mode="threads"),
    "export-connector": Contender(module="export_connector"),
    "export-dlt-duckdb": Contender(module="export_dlt", mode="duckdb", environment="peers"),
    "export-dlt-jsonl": Contender(module="export_dlt", mode="jsonl", environment="peers"),
}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One table: who runs, on how many events, against which manners of the source."""

    title: str
    contenders: tuple[str, ...]
    sizes: tuple[int, ...] = (100_000,)
    quick: tuple[int, ...] = (5_000,)
    latency_ms: float = 0
    rate_limit: str = ""
    quick_rate_limit: str = ""
    peers: tuple[str, ...] = ()
    """Ran only with ``--peers``: slow or hungry here, and no news."""
    repeat: int | None = None
    """At most so many repeats, where one run takes long and waits most of the time."""
    chunks: int = 0
    """So many files of an export instead of pages."""
    again: bool = False
    """Land the day once before, unmeasured, into the same file."""


SCENARIOS = {
    "A1": Scenario(
        title="A1: one day of events, no latency",
        contenders=("floor", "floor-threads", "connector", "dlt-arrow", "dlt-rest"),
        peers=("dlt-arrow-merge", "dlt-rest-merge", "dagster-pandas"),
    ),
    "A2": Scenario(
        title="A2: one day of events, 80 ms before every answer",
        contenders=("floor", "connector", "dlt-arrow", "dlt-rest"),
        latency_ms=80,
    ),
    "A3": Scenario(
        title="A3: one day of events, 100 requests in 10 s",
        contenders=("connector",),
        peers=("dlt-arrow", "dlt-rest-counted"),  # one request more would be one window more
        sizes=(500_000,),
        quick=(8_000,),
        rate_limit="100/10",
        quick_rate_limit="3/2",
        repeat=2,
    ),
    "A4": Scenario(
        title="A4: memory and cost as the day grows, no latency",
        contenders=("floor", "floor-threads", "connector"),
        peers=("dlt-arrow", "dlt-rest", "dagster-pandas"),
        sizes=(100_000, 300_000, 1_000_000),
        quick=(5_000, 20_000),
    ),
    "A5": Scenario(
        title="A5: the same day landed again into the same file, no latency",
        contenders=("floor", "connector", "dlt-arrow-merge", "dlt-rest-merge"),
        again=True,
    ),
    "B1": Scenario(
        title="B1: one export in 10 gzip files",
        contenders=(
            "export-floor",
            "export-floor-threads",
            "export-connector",
            "export-dlt-duckdb",
            "export-dlt-jsonl",
        ),
        sizes=(1_000_000,),
        quick=(10_000,),
        chunks=10,
        repeat=2,
    ),
    "B2": Scenario(
        title="B2: the same export in 40 gzip files",
        contenders=("export-connector",),
        sizes=(1_000_000,),
        quick=(10_000,),
        chunks=40,
        repeat=2,
    ),
    "C-D1": Scenario(
        title="C-D1: one day of events inside Dagster, one partition, in process",
        contenders=("dagster-pandas", "connector-dagster"),
    ),
}


class Bench:
    """Options, environments and folders of one invocation."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._interpreters = {"product": Path(sys.executable)}
        self._expected: dict[int, dict[str, int]] = {}

    def command(self, name: str) -> list[str]:
        """The command line of a contender; the first of an environment brings it about."""
        contender = CONTENDERS[name]
        if contender.environment not in self._interpreters:
            make = {"library": environments.library, "peers": environments.peers}[contender.environment]
            self._interpreters[contender.environment] = make(SCRATCH / contender.environment)
        return [str(self._interpreters[contender.environment]), "-m", f"benchmarks.contenders.{contender.module}"]

    def names(self, scenario: Scenario) -> list[str]:
        """Who runs in ``scenario``, in order; ``--contenders`` overrides, it may name anybody."""
        if self.options.contenders:
            return list(self.options.contenders)
        return [*scenario.contenders, *(scenario.peers if self.options.peers else ())]

    def land(self, key: str, server: Server, name: str, events: int, turn: str, *, again: bool = False) -> Run:
        """One measured process."""
        out = SCRATCH / "work" / f"{key}-{name}"
        unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{key}{name}{events}{turn}")
        return measure(
            name,
            self.command(name),
            server=server,
            events=events,
            mode=CONTENDERS[name].mode,
            out=out,
            # A client id of its own, so that no run inherits the request budget another has used up.
            client_id=str(uuid.UUID(bytes=unique.bytes, version=4)),
            expected=self._expected[events],
            again=again,
        )

    def scenario(self, key: str) -> report.Result:
        """Every contender of one scenario, in turns, at every size."""
        scenario = SCENARIOS[key]
        quick = self.options.quick
        sizes = tuple(self.options.events or (scenario.quick if quick else scenario.sizes))
        rate_limit = scenario.quick_rate_limit if quick else scenario.rate_limit
        repeat = 1 if quick else min(self.options.repeat, scenario.repeat or self.options.repeat)
        names = self.names(scenario)
        for name in names:
            self.command(name)  # environments first: an install in the middle would be a slow minute for somebody
        result = report.Result(
            key=key, title=scenario.title, rate_limit=rate_limit, machine=self.machine() | {"repeat": repeat}, runs=[]
        )
        for events in sizes:
            self._expected[events] = (
                exported.fingerprint(events, scenario.chunks) if scenario.chunks else fingerprint(events)
            )
            with Server(
                events=events, latency_ms=scenario.latency_ms, rate_limit=rate_limit, chunks=scenario.chunks
            ) as server:
                for turn in range(repeat):
                    for name in names:
                        if scenario.again:
                            self.land(key, server, name, events, f"{turn}-before")
                        run = self.land(key, server, name, events, str(turn), again=scenario.again)
                        result.runs.append(run)
                        self._progress(key, run, turn, repeat)
                        if not self.options.keep:
                            shutil.rmtree(SCRATCH / "work" / f"{key}-{name}", ignore_errors=True)
        return result

    def _progress(self, key: str, run: Run, turn: int, repeat: int) -> None:
        said = run.skipped or run.wrong or f"{run.wall:.2f} s wall, {run.cpu:.2f} s CPU, {run.rss_mb:.0f} MB"
        print(f"  {key} {run.events:,} {turn + 1}/{repeat} {run.contender}: {said}", file=sys.stderr, flush=True)

    def warm_up(self, keys: list[str]) -> None:
        """Every contender once on one page, unmeasured: bytecode is compiled, files are in the page cache."""
        for chunks in (0, 1):
            names = dict.fromkeys(
                name
                for key in keys
                if bool(SCENARIOS[key].chunks) == bool(chunks)
                for name in self.names(SCENARIOS[key])
            )
            self._expected[PAGE_SIZE] = exported.fingerprint(PAGE_SIZE, 1) if chunks else fingerprint(PAGE_SIZE)
            with Server(events=PAGE_SIZE, chunks=chunks) as server:
                for name in names:
                    self.land("warm-up", server, name, PAGE_SIZE, "")
        shutil.rmtree(SCRATCH / "work", ignore_errors=True)

    def machine(self) -> dict[str, Any]:
        """Where this ran, with nothing that names the machine."""
        ours = environments.versions(Path(sys.executable), ("duckdb", "httpx", "msgspec", "dagster"))
        theirs = {}
        if made := self._interpreters.get("peers"):
            theirs = environments.versions(made, ("dlt", "dagster-duckdb-pandas", "pandas", "pyarrow"))
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        return {
            "date": date.today().isoformat(),
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "memory_gb": round(pages * size / 2**30),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "packages": ours | theirs,
            "load": round(os.getloadavg()[0], 2),
        }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def main() -> int:
    """Run the chosen scenarios; 0 unless a table was not exact."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="SCENARIO",
                        help=f"of {', '.join(SCENARIOS)}")  # fmt: skip
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, metavar="NAME",
                        help=f"instead of the scenario's own: {', '.join(CONTENDERS)}")  # fmt: skip
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--events", type=int, nargs="+", help="instead of the scenario's sizes")
    parser.add_argument("--quick", action="store_true", help="a few thousand events, once: does everything still run?")
    parser.add_argument("--peers", action="store_true", help="also the slow peers that a scenario leaves out")
    parser.add_argument("--keep", action="store_true", help="leave files and logs in .bench/work")
    options = parser.parse_args()
    os.chdir(ROOT)

    bench = Bench(options)
    if not options.quick:
        bench.warm_up(options.only)
    # Only whole scenarios become results to be quoted; anything else is for the person at the terminal.
    whole = not (options.quick or options.contenders or options.events)
    folder = RESULTS if whole else SCRATCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for key in options.only:
        result = bench.scenario(key)
        results.append(result)
        print(f"\n{result.markdown()}", flush=True)
        (folder / f"{key}.json").write_text(json.dumps(result.document(), indent=1, ensure_ascii=False) + "\n")
    print(report.phases(results))
    print(report.targets(results))
    stored = [report.Result.load(folder / f"{key}.json") for key in SCENARIOS if (folder / f"{key}.json").exists()]
    (folder / "latest.md").write_text(report.page(stored if whole else results))

    broken = sorted(
        {f"{result.key} {run.contender}: {run.wrong}" for result in results for run in result.runs if run.wrong}
    )
    for line in broken:
        print(f"not exact: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
