"""`python -m tests.soak [--minutes 12] [--seed N]`: the whole matrix, kills, races and random schedules, with figures.

Two processes work at a time. Exit code 1 if any promise was broken, or if the time did not suffice for the matrix.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.soak import borders, kills, matrix, schedules
from tests.soak.stages import TARGETS, staged


def _matrix(seconds: float, seed: int) -> dict[str, Any]:
    """Every cell; those that wait for their deadlines among them."""
    until = time.monotonic() + seconds
    figures: dict[str, Any] = {"cells": 0, "survived": 0, "told": 0, "requests": 0, "landings": 0, "unfinished": 0}
    figures |= {"faults": len(matrix.FAULTS), "lost": 0, "doubled": 0, "violations": []}
    folder = Path(tempfile.mkdtemp(prefix="matrix-"))
    for number, target in enumerate(TARGETS):
        chosen = list(matrix.cells((target,)))
        random.Random(seed).shuffle(chosen)
        with staged(target, folder / str(number)) as stage:
            for cell in chosen:
                if time.monotonic() > until:
                    figures["unfinished"] += 1
                    continue
                outcome = matrix.judged(stage, cell)
                figures["cells"] += 1
                figures["survived"] += outcome.how == "exact"
                figures["told"] += outcome.how.startswith("told")
                figures["requests"] += outcome.requests
                figures["landings"] += 2 if outcome.how.startswith("told") else 1
                figures["lost"] += outcome.lost
                figures["doubled"] += outcome.doubled
                figures["violations"] += [f"{cell}: {text}" for text in outcome.violations]
        shutil.rmtree(folder / str(number), ignore_errors=True)
    beside = borders.run(lambda: time.monotonic() < until)
    for name in ("unfinished", "lost", "doubled", "violations"):
        figures[name] += beside[name]
    return figures | {"borders": beside["kinds"]}


# Seconds; with what is around it, less than twenty minutes. Situations at the borders come last, and take two of them.
MATRIX_MOST = 18 * 60.0

_PARTS = {"matrix": _matrix, "kills": kills.run, "schedules": schedules.run}


def _start(part: str, seconds: float, seed: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.soak", "--part", part, "--minutes", str(seconds / 60), "--seed", str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _ended(process: "subprocess.Popen[str]") -> dict[str, Any]:
    said, _ = process.communicate()
    if process.returncode:
        return {"violations": [f"{process.args[4]} ended with {process.returncode}"]}  # type: ignore[index]
    found: dict[str, Any] = json.loads(said)
    return found


def main() -> int:
    """Run it all, or one part."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=12.0, help="of kills and schedules; the matrix runs to its end"
    )
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--part", choices=sorted(_PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    seconds = options.minutes * 60
    if options.part:
        print(json.dumps(_PARTS[options.part](seconds, seed)))
        return 0
    started = time.monotonic()
    # The matrix is run to its end, which takes seven to ten minutes; kills and schedules take what time there is.
    first = _start("matrix", max(seconds, MATRIX_MOST), seed)
    killed = _ended(_start("kills", (seconds - 30) * 0.55, seed))
    played = _ended(_start("schedules", (seconds - 30) * 0.45, seed))
    told = _ended(first)
    return _report(told, killed, played, seed, time.monotonic() - started)


def _report(told: dict[str, Any], killed: dict[str, Any], played: dict[str, Any], seed: int, seconds: float) -> int:
    violations = [*told["violations"], *killed["violations"], *played["violations"]]
    if told.get("unfinished"):
        violations.append(f"{told['unfinished']} cells of the matrix were not reached: give it more minutes")
    parts = (told, killed, played)
    landings = sum(part.get("landings", 0) for part in parts)
    lines = {
        "faults x streams x (once, for ever)": told.get("cells", 0),
        "  kinds of fault": told.get("faults", 0),
        "  ended in the exact rows": told.get("survived", 0),
        "  ended in a clear error, old rows in place": told.get("told", 0),
        **{f"{kind}: situations": of["cells"] for kind, of in told.get("borders", {}).items()},
        "  ended as promised": sum(of["kept"] for of in told.get("borders", {}).values()),
        "kills (SIGKILL, SIGTERM)": killed.get("kills", 0),
        "deaths inside the process": played.get("deaths", 0),
        "partitions landed by several runs at once": killed.get("races", 0),
        "random schedules": played.get("schedules", 0),
        "landings": landings,
        "requests": sum(part.get("requests", 0) for part in parts),
        "rows lost": sum(part.get("lost", 0) for part in parts),
        "rows doubled": sum(part.get("doubled", 0) for part in parts),
        "violations": len(violations),
        "seed": seed,
        "minutes": f"{seconds / 60:.1f}",
    }
    for name, value in lines.items():
        print(f"{name:45} {value:>10}" if isinstance(value, str) else f"{name:45} {value:>10,}")
    for text in violations[:50]:
        print(f"VIOLATED {text}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
