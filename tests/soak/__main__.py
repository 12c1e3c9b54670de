"""`python -m tests.soak [--minutes 12] [--seed N]`: the whole matrix, kills, races and random schedules, with figures.

`--warehouse sqlite` and `--warehouse postgres` put a lake in the place of the file, and meet some streams only, which
the output names; `--streams` chooses others.

Two processes work at a time. Exit code 1 if any promise was broken, or if the time did not suffice for the matrix.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kinds import LAKES, keywords
from tests.postgres import Postgres, binaries
from tests.soak import borders, kills, lakes, matrix, schedules
from tests.soak.stages import TARGETS, staged


def _matrix(seconds: float, seed: int, names: Sequence[str]) -> dict[str, Any]:
    """Every cell; those that wait for their deadlines among them."""
    until = time.monotonic() + seconds
    figures: dict[str, Any] = {"cells": 0, "survived": 0, "told": 0, "requests": 0, "landings": 0, "unfinished": 0}
    figures |= {"faults": len(matrix.FAULTS), "lost": 0, "doubled": 0, "violations": []}
    folder = Path(tempfile.mkdtemp(prefix="matrix-"))
    for number, target in enumerate(one for one in TARGETS if one.name in names):
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
    if lakes.IS_LAKE:  # situations around a run are about the file
        return figures
    beside = borders.run(lambda: time.monotonic() < until)
    for name in ("unfinished", "lost", "doubled", "violations"):
        figures[name] += beside[name]
    return figures | {"borders": beside["kinds"]}


# Seconds; with what is around it, less than twenty minutes. Situations at the borders come last, and take two of them.
MATRIX_MOST = 18 * 60.0

_PARTS = {"matrix": _matrix, "kills": kills.run, "schedules": schedules.run}


def _start(part: str, seconds: float, seed: int, names: Sequence[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.soak", "--part", part, "--minutes", str(seconds / 60), "--seed", str(seed)]
    return subprocess.Popen([*command, "--streams", *names], stdout=subprocess.PIPE, text=True)


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
    parser.add_argument("--warehouse", choices=("file", *LAKES), default="file", help="what stands for the file")
    parser.add_argument("--streams", nargs="+", choices=[one.name for one in TARGETS], metavar="NAME")
    parser.add_argument("--part", choices=sorted(_PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    seconds = options.minutes * 60
    names = options.streams or (lakes.STREAMS if options.warehouse != "file" else [one.name for one in TARGETS])
    if options.part:
        lakes.install()
        print(json.dumps(_PARTS[options.part](seconds, seed, names)))
        return 0
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        os.environ["WAREHOUSE_KIND"] = options.warehouse
        if options.warehouse == "postgres":
            server = Postgres(binaries() or sys.exit("no PostgreSQL server is installed here"))
            stack.callback(server.close)
            os.environ[lakes.SERVER] = keywords(server)
        # The matrix is run to its end, which takes seven to ten minutes; kills and schedules take what time there is.
        first = _start("matrix", max(seconds, MATRIX_MOST), seed, names)
        killed = _ended(_start("kills", (seconds - 30) * 0.55, seed, names))
        played = _ended(_start("schedules", (seconds - 30) * 0.45, seed, names))
        told = _ended(first)
    if options.warehouse != "file":
        print(f"a lake with its catalogue in {options.warehouse}; streams: {'; '.join(names)}")
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
        **({"  ended as promised": sum(of["kept"] for of in told["borders"].values())} if "borders" in told else {}),
        "kills (SIGKILL, SIGTERM)": killed.get("kills", 0),
        "deaths inside the process": played.get("deaths", 0),
        "partitions landed by several runs at once": killed.get("races", 0),
        "random schedules": played.get("schedules", 0),
        "landings": landings,
        "requests": sum(part.get("requests", 0) for part in parts),
        "rows lost": sum(part.get("lost", 0) for part in parts),
        **({"reads of lakes beside landings": killed["reads"]} if killed.get("reads") else {}),
        **({"  torn, or in error": killed["torn"]} if killed.get("reads") else {}),
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
