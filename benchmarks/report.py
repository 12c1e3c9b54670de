"""Runs in, tables out: medians, ratios to the floor and to the connector, targets beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.events import PAGE_SIZE
from benchmarks.measure import Run

Row = list[str]


def typical(runs: list[Run]) -> Run:
    """The median of each number over the repeats; exact only if every repeat was."""
    first = runs[0]
    locks = [run.lock_seconds for run in runs if run.lock_seconds is not None]
    return Run(
        contender=first.contender,
        events=first.events,
        wall=median(run.wall for run in runs),
        cpu=median(run.cpu for run in runs),
        rss_mb=median(run.rss_mb for run in runs),
        lock_seconds=median(locks) if locks else None,
        file_mb=median(run.file_mb for run in runs),
        requests=int(median(run.requests for run in runs)),
        refusals=max(run.refusals for run in runs),
        in_flight=max(run.in_flight for run in runs),
        exact=all(run.exact for run in runs),
        wrong=next((run.wrong for run in runs if run.wrong), ""),
        skipped=next((run.skipped for run in runs if run.skipped), ""),
        facts={name: median(run.facts.get(name, 0.0) for run in runs) for name in first.facts},
    )


def ratio(value: float, base: float | None) -> str:
    """``value / base``, or a dash where there is nothing to compare with."""
    return f"{value / base:.2f}" if base else "-"


def table(title: str, head: Row, rows: Iterable[Row]) -> str:
    """A markdown table whose columns also line up on a terminal."""
    body = [head, *rows]
    widths = [max(len(row[column]) for row in body) for column in range(len(head))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in body
    ]
    rule = (
        "|"
        + "|".join("-" * (width + 2) if index == 0 else "-" * (width + 1) + ":" for index, width in enumerate(widths))
        + "|"
    )
    return "\n".join([f"### {title}", "", lines[0], rule, *lines[1:], ""])


def cells(run: Run, *, floor: Run | None, ours: Run | None, minimum: float) -> dict[str, str]:
    """Every column a table may show of one run; ``minimum`` is the least possible wall time, 0 if nobody waits."""
    per_100k = 100_000 / run.events
    return {
        "contender": run.contender,
        "events": f"{run.events:,}",
        "wall s": f"{run.wall:.2f}",
        "CPU s": f"{run.cpu:.2f}",
        "CPU s per 100k": f"{run.cpu * per_100k:.2f}",
        "peak RSS MB": f"{run.rss_mb:.0f}",
        "rows/s": f"{run.events / run.wall:,.0f}",
        "wall / floor": ratio(run.wall, floor.wall if floor else None),
        "CPU / floor": ratio(run.cpu, floor.cpu if floor else None),
        "wall / connector": ratio(run.wall, ours.wall if ours else None),
        "CPU / connector": ratio(run.cpu, ours.cpu if ours else None),
        "wall / least": ratio(run.wall, minimum),
        "requests": str(run.requests),
        "429s": str(run.refusals),
        "at once": str(run.in_flight),
        "locked s per 100k": "-" if run.lock_seconds is None else f"{run.lock_seconds * per_100k:.2f}",
        "file MB": f"{run.file_mb:.0f}",
        "exact": "yes" if run.exact else "NO",
    }


_COST = ["contender", "wall s", "CPU s"]
_LANDED = ["locked s per 100k", "exact"]
_TO_FLOOR = ["wall / floor", "CPU / floor"]
_TO_OURS = ["wall / connector", "CPU / connector"]
_DAY = [*_COST, "peak RSS MB", "rows/s", *_TO_FLOOR, *_TO_OURS, "file MB", *_LANDED]
_LATENCY = [*_COST, *_TO_FLOOR, *_TO_OURS, "at once", *_LANDED]
_LIMITED = [*_COST, "wall / least", "requests", "429s", "peak RSS MB", *_LANDED]
_DAGSTER = [*_COST, "peak RSS MB", *_TO_OURS, *_LANDED]
_GROWTH = ["contender", "events", "wall s", "CPU s", "CPU s per 100k", "peak RSS MB", "file MB", *_LANDED]


@dataclass(kw_only=True)
class Result:
    """Every run of one scenario, and the machine it ran on: what is stored, and what the tables are made from."""

    key: str
    title: str
    rate_limit: str
    machine: dict[str, Any]
    runs: list[Run]

    def document(self) -> dict[str, Any]:
        """What ``load`` reads back."""
        return asdict(self) | {"runs": [run.document() for run in self.runs]}

    @classmethod
    def load(cls, path: Path) -> Result:
        """A stored result."""
        document = json.loads(path.read_text())
        return cls(**document | {"runs": [Run(**run) for run in document["runs"]]})

    @property
    def medians(self) -> list[Run]:
        """One run per contender and size, in the order they ran."""
        groups: dict[tuple[str, int], list[Run]] = {}
        for run in self.runs:
            groups.setdefault((run.contender, run.events), []).append(run)
        return [typical(group) for group in groups.values()]

    @property
    def minimum(self) -> float:
        """Least possible seconds under the rate limit; 0 without one. The last window needs no wait."""
        if not self.rate_limit:
            return 0.0
        requests, _, seconds = self.rate_limit.partition("/")
        pages = -(-self.runs[0].events // PAGE_SIZE)
        return (-(-pages // int(requests)) - 1) * float(seconds)

    def median(self, contender: str, *, largest: bool = False) -> Run | None:
        """The contender's run at the smallest or largest size, if it was exact."""
        exact = [run for run in self.medians if run.contender == contender and run.exact]
        return exact[-1 if largest else 0] if exact else None

    def markdown(self) -> str:
        """The table of this scenario, and a line for every contender that did not run or was wrong."""
        medians = self.medians
        in_dagster = self.key.startswith("C-D")
        title = f"{self.title}; {medians[0].events:,} events"
        if len({run.events for run in medians}) > 1:
            title, names = self.title, _GROWTH
            medians.sort(key=lambda run: (run.contender, run.events))
        elif self.rate_limit:
            title, names = f"{title}, least possible {self.minimum:.0f} s", _LIMITED
        else:
            names = _DAGSTER if in_dagster else _LATENCY if "before every answer" in self.title else _DAY
        export = "export-" if self.key.startswith("B") else ""
        floor = self.median(f"{export}floor")
        ours = self.median("connector-dagster" if in_dagster else f"{export}connector")
        rows = [cells(run, floor=floor, ours=ours, minimum=self.minimum) for run in medians if not run.skipped]
        notes = dict.fromkeys(
            f"- {run.contender}: {run.skipped or run.wrong}\n" for run in medians if run.skipped or run.wrong
        )
        return "\n".join([table(title, names, [[row[name] for name in names] for row in rows]), "".join(notes)])


def phases(results: list[Result]) -> str:
    """What the contenders say about their own time: compared with nothing, only to see where it goes."""
    rows = [
        [result.key, run.contender, f"{run.events:,}", name.removesuffix("_seconds").replace("_", " "), f"{value:.2f}"]
        for result in results
        for run in result.medians
        for name, value in run.facts.items()
        if name.endswith("_seconds")
    ]
    return table(
        "Where the seconds go, by the contenders' own account", ["in", "contender", "events", "phase", "s"], rows
    )


def targets(results: list[Result]) -> str:
    """What was aimed for beside what was measured. Nothing here fails a run."""
    by_key = {result.key: result for result in results}
    rows: list[Row] = []

    def add(what: str, value: float | None, target: float, *, at_least: bool = False) -> None:
        if value is not None:
            met = value >= target if at_least else value <= target
            rows.append([what, f"{value:.2f}", f"{'>=' if at_least else '<='} {target:g}", "yes" if met else "no"])

    def quotient(key: str, above: str, below: str, of: str) -> float | None:
        top = by_key[key].median(above) if key in by_key else None
        bottom = by_key[key].median(below) if key in by_key else None
        return getattr(top, of) / getattr(bottom, of) if top and bottom else None

    for floor in ("floor", "floor-threads"):
        add(f"A1 CPU, connector / {floor}", quotient("A1", "connector", floor, "cpu"), 1.3)
        add(f"A1 wall, connector / {floor}", quotient("A1", "connector", floor, "wall"), 1.3)
    add("A1 CPU, tuned dlt rest_api / connector", quotient("A1", "dlt-rest", "connector", "cpu"), 6, at_least=True)
    add("A1 wall, tuned dlt rest_api / connector", quotient("A1", "dlt-rest", "connector", "wall"), 6, at_least=True)
    add("A1 CPU, dlt arrow generator / connector", quotient("A1", "dlt-arrow", "connector", "cpu"), 2, at_least=True)
    if "A1" in by_key and (ours := by_key["A1"].median("connector")) and ours.lock_seconds is not None:
        add("A1 seconds under the file lock per 100k events", ours.lock_seconds / ours.events * 100_000, 0.8)
    add("A2 wall with latency, connector / floor", quotient("A2", "connector", "floor", "wall"), 1.2)
    if "A3" in by_key and (ours := by_key["A3"].median("connector")):
        add("A3 wall / least possible", ours.wall / by_key["A3"].minimum, 1.12)
        add("A3 refused requests", ours.refusals, 0)
    if "A4" in by_key:
        small, large = by_key["A4"].median("connector"), by_key["A4"].median("connector", largest=True)
        if small and large and small.events < large.events:
            add(f"A4 peak RSS MB at {large.events:,} events", large.rss_mb, 350)
            add(f"A4 memory, {large.events:,} / {small.events:,} events", large.rss_mb / small.rss_mb, 1.25)
    add("B1 CPU, connector / floor", quotient("B1", "export-connector", "export-floor", "cpu"), 1.3)
    add(
        "B1 CPU, dlt read_jsonl / connector",
        quotient("B1", "export-dlt-jsonl", "export-connector", "cpu"),
        9,
        at_least=True,
    )
    if "B1" in by_key and (ours := by_key["B1"].median("export-connector")):
        add("B1 peak RSS MB", ours.rss_mb, 400)
        if "B2" in by_key and (more := by_key["B2"].median("export-connector")):
            add("B2 / B1 memory, four times the files", more.rss_mb / ours.rss_mb, 1.15)
    in_dagster = quotient("C-D1", "dagster-pandas", "connector-dagster", "cpu")
    add("C-D1 CPU, dagster-duckdb-pandas / connector in Dagster", in_dagster, 1.5, at_least=True)
    return table("Targets", ["what", "measured", "target", "met"], rows) if rows else ""


def machine(description: dict[str, Any]) -> str:
    """One sentence: when and on what this was measured."""
    packages = ", ".join(f"{name} {version}" for name, version in description["packages"].items())
    return (
        f"{description['date']}, {description['repeat']} alternating runs, {description['cpu']} with "
        f"{description['cores']} cores and {description['memory_gb']} GB, {description['system']}, load average before "
        f"{description['load']}; Python {description['python']}, {packages}.\n"
    )


def page(results: list[Result]) -> str:
    """The whole report as markdown, to be quoted."""
    head = (
        "Medians of alternating runs; compare inside one table only. Whole process: interpreter start, imports, "
        "download, load, checkpoint. The source is a local server over plain HTTP. *exact*: the file was opened "
        "afterwards, and every event of the day was in it once.\n"
    )
    parts = [head, targets(results)]
    for result in results:
        parts += [result.markdown(), machine(result.machine)]
    return "\n".join([*parts, phases(results)])
