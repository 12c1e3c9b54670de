"""Runs that die by a real signal at any call of the connector, and runs that land the same partition at once.

A process with everything imported waits for orders and forks: a child counts the calls into the connector and, at the
one it was told, is killed. Its parent sees what is left on disk, runs it again, and compares.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any

import connector
from tests.soak import lakes
from tests.soak.stages import (
    TARGETS,
    Clock,
    Network,
    OpenPanelStage,
    Stage,
    Target,
    Try,
    UserpilotStage,
    land_day,
    rows_of,
    staged,
)

# Phases of an export are all in one landing.
KILLED = tuple(t for t in TARGETS if t.name not in ("userpilot trigger", "userpilot list", "userpilot show"))
_CODE = str(Path(connector.__file__).parent)
_SANDBOX = str(Path(_CODE) / "sandbox")


class Countdown:
    """Acts at the n-th call of this thread into the connector; counts them if there is nothing to do."""

    def __init__(self, at: int, act: Any) -> None:
        self.at, self.act, self.calls = at, act, 0

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        if event not in ("call", "return"):
            return
        name = frame.f_code.co_filename
        if name.startswith(_CODE) and not name.startswith(_SANDBOX):
            self.calls += 1
            if self.calls == self.at:
                self.act()


def serve_orders() -> None:
    """Fork a child for every line of orders, several at once if the line holds several; answer how each ended."""
    # Ignored or blocked signals are inherited, and whatever started this process may ignore the one to die of.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    lakes.install()
    for line in sys.stdin:
        children = [_child(order) for order in json.loads(line)]
        ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        print(json.dumps(ends), flush=True)


def _child(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if "day" in order:
            sys.setprofile(Countdown(order["at"], lambda: os.kill(os.getpid(), signal.SIGKILL)))
            land_day(order["url"], Path(order["folder"]), date.fromisoformat(order["day"]))
            os._exit(0)
        target = next(one for one in TARGETS if one.name == order["target"])
        kind = OpenPanelStage if target.stream.vendor == "openpanel" else UserpilotStage
        stage = kind.__new__(kind)
        stage.target, stage.base = target, order["url"]
        folder = Path(order["folder"])
        countdown = Countdown(order["at"], lambda: os.kill(os.getpid(), order["signal"]))
        attempt = Try(folder=folder, clock=Clock(), network=Network(), lock_wait=30.0)
        sys.setprofile(countdown)
        stage.run(attempt)
        sys.setprofile(None)
        (folder / f"calls-{order['name']}").write_text(f"{countdown.calls} {len(attempt.network.sent)}")
        code = 0
    except BaseException as fault:  # noqa: BLE001 - told by the exit code and a file
        sys.setprofile(None)
        Path(order["folder"], f"error-{order['name']}").write_text(f"{type(fault).__name__}: {fault}")
    finally:
        os._exit(code)


class Killer:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.kills"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, stage: Stage, folder: Path, *, at: int = 0, how: int = signal.SIGKILL, at_once: int = 1) -> list[int]:
        """Exit codes of as many runs at once."""
        orders = [
            {"target": stage.target.name, "url": stage.base, "folder": str(folder), "at": at, "signal": int(how),
             "name": str(number)}
            for number in range(at_once)
        ]  # fmt: skip
        return self._send(orders)

    def land(self, url: str, folder: Path, days: Sequence[date], *, at: int = 0) -> list[int]:
        """Exit codes of runs that land days at once; the runs die at a call if one is given."""
        return self._send([
            {"url": url, "folder": str(folder), "day": day.isoformat(), "at": at, "name": str(number)}
            for number, day in enumerate(days)
        ])  # fmt: skip

    def _send(self, orders: list[dict[str, Any]]) -> list[int]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(orders) + "\n")
        self._process.stdin.flush()
        ends: list[int] = json.loads(self._process.stdout.readline())
        return ends

    def close(self) -> None:
        """No more orders."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


@contextmanager
def killer() -> Iterator[Killer]:
    """A process to fork from, for as long as the block lasts."""
    one = Killer()
    try:
        yield one
    finally:
        one.close()


def calls_of(stage: Stage, by: Killer) -> int:
    """How many calls into the connector an undisturbed run has: the places where it can be killed."""
    folder = stage.attempt(stage.fresh(uuid.uuid4().hex)).folder
    assert by.run(stage, folder) == [0], _said(folder)
    return int((folder / "calls-0").read_text().split()[0])


def killed_at(stage: Stage, by: Killer, at: int, how: int, figures: dict[str, Any]) -> tuple[bool, list[str]]:
    """Whether the run died, and what is wrong with what it left, or with the next run."""
    folder, broken = stage.attempt(stage.fresh(uuid.uuid4().hex)).folder, list[str]()
    where = f"{stage.target.name}, {signal.Signals(how).name} at call {at}"
    with watched(stage, folder, figures, broken):
        (end,) = by.run(stage, folder, at=at, how=how)
    if end not in (0, -how):
        broken.append(f"{where}: ended as {end}: {_said(folder)}")
    rows = rows_of_any(folder / "w.duckdb", stage)
    if rows not in (stage.before, stage.truth):
        broken.append(f"{where}: {len(rows)} rows, neither the old nor the new ones")
    if by.run(stage, folder) != [0]:
        broken.append(f"{where}: the next run failed: {_said(folder)}")
    rows = rows_of_any(folder / "w.duckdb", stage)
    if rows != stage.truth and not stage.target.appends:
        broken.append(f"{where}: after the next run {len(rows)} rows, and not the new ones")
    if not stage.target.appends:
        due, found = Counter(map(repr, stage.truth)), Counter(map(repr, rows))
        figures["lost"] += (due - found).total()
        figures["doubled"] += (found - due).total()
    left = [path.name for path in (folder / "spool").rglob("part-*")]
    if left:
        broken.append(f"{where}: the next run left {left}")
    lakes.remove(folder / "w.duckdb")
    shutil.rmtree(folder)
    return end == -how, broken


def landed_at_once(stage: Stage, by: Killer, number: int, figures: dict[str, Any] | None = None) -> list[str]:
    """Several runs of one partition: each lands or says that it waited too long; what stands is one landing, whole."""
    folder, broken = stage.attempt(stage.fresh(uuid.uuid4().hex)).folder, list[str]()
    with watched(stage, folder, {} if figures is None else figures, broken):
        ends = by.run(stage, folder, at_once=number)
    told = [path.read_text().partition(":")[0] for path in folder.glob("error-*")]
    # The last run finds that the files of the export they shared have been landed.
    if set(ends) - {0, 1} or 0 not in ends or set(told) - {"BusyError", "LostError"}:
        broken.append(f"{stage.target.name}, {number} runs at once: {ends}: {_said(folder)}")
    rows = rows_of_any(folder / "w.duckdb", stage)
    if rows != stage.truth and not stage.target.appends:
        broken.append(f"{stage.target.name}, {number} runs at once: {len(rows)} rows, not the new ones")
    lakes.remove(folder / "w.duckdb")
    shutil.rmtree(folder)
    return broken


@contextmanager
def watched(stage: Stage, folder: Path, figures: dict[str, Any], broken: list[str]) -> Iterator[None]:
    """A reader of a lake sees the old rows or the new ones, whole, while runs land and die. A file's readers wait."""
    if not lakes.IS_LAKE:
        yield
        return
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                rows = rows_of(folder / "w.duckdb", stage.target.table)
            except Exception as fault:  # noqa: BLE001 - a reader's error is what is looked for
                figures["torn"] = figures.get("torn", 0) + 1
                broken.append(f"{stage.target.name}: a reader beside it met {type(fault).__name__}: {fault}"[:400])
                return
            figures["reads"] = figures.get("reads", 0) + 1
            if rows not in (stage.before, stage.truth) and not stage.target.appends:
                figures["torn"] = figures.get("torn", 0) + 1
                broken.append(f"{stage.target.name}: a reader beside it saw {len(rows)} rows, neither old nor new")

    reader = threading.Thread(target=look)
    reader.start()
    try:
        yield
    finally:
        stop.set()
        reader.join()


def rows_of_any(file: Path, stage: Stage) -> list[tuple[Any, ...]]:
    """The rows, after what a killed run left in the log was read in."""
    import duckdb

    if not lakes.IS_LAKE:
        with duckdb.connect(file):
            pass
    return rows_of(file, stage.target.table)


def _said(folder: Path) -> str:
    return "; ".join(path.read_text()[:300] for path in folder.glob("error-*"))


def run(seconds: float, seed: int, names: Sequence[str]) -> dict[str, Any]:
    """Kill and race until the time is over; figures, and what was violated."""
    chance, until = random.Random(seed), time.monotonic() + seconds
    figures: dict[str, Any] = {"kills": 0, "landings": 0, "races": 0, "violations": []}
    figures |= {"requests": 0, "lost": 0, "doubled": 0, "reads": 0, "torn": 0}
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    targets = [one for one in KILLED if one.name in names]
    with killer() as by:
        for number, target in enumerate(targets):
            share = (until - time.monotonic()) / (len(targets) - number)
            _one_target(target, folder / str(number), by, chance, time.monotonic() + share, figures)
    shutil.rmtree(folder, ignore_errors=True)
    return figures


def _one_target(
    target: Target, folder: Path, by: Killer, chance: random.Random, until: float, figures: dict[str, Any]
) -> None:
    with staged(target, folder) as stage:
        calls = calls_of(stage, by)
        # Every place once, in random order, as far as the time goes.
        places = chance.sample(range(1, calls + 1), calls)
        for turn, at in enumerate(places):
            if time.monotonic() > until:
                break
            died, broken = killed_at(stage, by, at, signal.SIGTERM if turn % 4 == 3 else signal.SIGKILL, figures)
            figures["kills"] += died
            figures["landings"] += 2 - died
            figures["violations"] += broken
            if turn % 10 == 5 and not target.appends:
                figures["races"] += 1
                figures["landings"] += 3
                figures["violations"] += landed_at_once(stage, by, 3, figures)
            figures["requests"] += stage.asked()
        figures.setdefault("places", {})[target.name] = calls


if __name__ == "__main__":
    serve_orders()
