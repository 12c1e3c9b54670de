"""One process, measured whole from outside, and the table it left behind, counted.

Nothing a contender says about its own time is believed: wall is ours, CPU and memory are the kernel's, the seconds
under DuckDB's file lock are read from ``/proc/locks``. This module stays small in memory and imports no DuckDB: on
Linux a child's peak RSS starts at what its parent held when it forked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from benchmarks.contenders import UNAVAILABLE
from benchmarks.events import DAY, PROJECT

_POLL = 0.01  # seconds between looks at the lock: the error of lock_seconds


@dataclass(kw_only=True)
class Run:
    """What one process cost and whether its table is right."""

    contender: str
    events: int
    wall: float = 0.0
    cpu: float = 0.0
    rss_mb: float = 0.0
    """Of the largest process in the tree, which flatters contenders that spread work over several."""
    lock_seconds: float | None = None
    """Seconds the DuckDB file was locked against other processes; None where the system does not tell."""
    file_mb: float = 0.0
    requests: int = 0
    refusals: int = 0
    in_flight: int = 0
    exact: bool = False
    wrong: str = ""
    skipped: str = ""
    facts: dict[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For the results file."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


class Server:
    """The local source, as a child process; leaves with us even if we die."""

    def __init__(self, *, events: int, latency_ms: float = 0, rate_limit: str = "", chunks: int = 0) -> None:
        limit = ["--rate-limit", rate_limit] if rate_limit else []
        files = ["--chunks", str(chunks)] if chunks else []
        options = ["--events", str(events), "--latency", str(latency_ms), *limit, *files]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.source", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the local source did not start")
        self.url: str = json.loads(line)["url"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def reset(self) -> dict[str, Any]:
        """Counts since the last reset; windows of the limiter are forgotten too."""
        with urlopen(f"{self.url}/reset") as answer:
            return dict(json.load(answer))


@contextmanager
def _lock_watch(database: Path) -> Iterator[list[float]]:
    """Sum up how long any process holds a lock on ``database``. Empty where there is no ``/proc/locks``."""
    seconds: list[float] = []
    if not Path("/proc/locks").exists():
        yield seconds
        return
    done = threading.Event()

    def watch() -> None:
        before = time.perf_counter()
        while not done.wait(_POLL):
            now = time.perf_counter()
            try:
                inode = f":{database.stat().st_ino} "
            except FileNotFoundError:
                before = now
                continue
            if inode in Path("/proc/locks").read_text():
                seconds.append(now - before)
            before = now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seconds
    finally:
        done.set()
        thread.join()


def measure(
    contender: str,
    command: list[str],
    *,
    server: Server,
    events: int,
    mode: str,
    out: Path,
    client_id: str,
    expected: dict[str, int],
    again: bool = False,
) -> Run:
    """Run one contender for the day and judge its table.

    With ``again`` the folder of an earlier run is kept, so the day is replaced and not created.
    """
    if not again:
        shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").unlink(missing_ok=True)
    database = out / "bench.duckdb"
    arguments = {
        "--url": server.url,
        "--day": DAY.isoformat(),
        "--project": PROJECT,
        "--client-id": client_id,
        "--client-secret": "secret",
        "--mode": mode,
        "--out": str(out),
    }
    server.reset()
    run = Run(contender=contender, events=events)
    log = out / "log.txt"
    with log.open("wb") as output, _lock_watch(database) as locked:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, *(f"{name}={value}" for name, value in arguments.items())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
        )
        _, status, usage = os.wait4(process.pid, 0)
        run.wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    run.cpu = usage.ru_utime + usage.ru_stime
    run.rss_mb = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
    run.lock_seconds = sum(locked) if Path("/proc/locks").exists() else None
    counts = server.reset()
    run.requests, run.refusals, run.in_flight = counts["requests"], counts["refusals"], counts["in_flight_peak"]
    if process.returncode == UNAVAILABLE:
        run.skipped = _last_lines(log, 1)
    elif process.returncode:
        run.wrong = f"exit code {process.returncode}: {_last_lines(log, 3)}"
    else:
        result = json.loads((out / "result.json").read_text())
        run.facts = result["facts"]
        run.file_mb = database.stat().st_size / 1e6
        run.wrong = judge(database, result["table"], expected)
        run.exact = not run.wrong
    return run


def _environment() -> dict[str, str]:
    """Ours, but with bytecode kept whatever the shell says: installed packages come with theirs, a checkout does not,
    and compiling the connector anew in every run takes 0.02 s that no user pays.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONHASHSEED": "0", "DAGSTER_DISABLE_TELEMETRY": "yes", "TZ": "UTC"}


def _last_lines(log: Path, count: int) -> str:
    """The end of a contender's output, without the folders of this machine."""
    text = " | ".join(log.read_text(errors="replace").strip().splitlines()[-count:])
    return re.sub(r"(?<![\w:/])(/[\w.-]+)+/", "", text)[-600:]


_JUDGE = """
import json, sys
import duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
connection.execute("SET TimeZone='UTC'")
columns = {row[0] for row in connection.execute(f"DESCRIBE {sys.argv[2]}").fetchall()}
if "internal_event_id" in columns:
    row = connection.execute(f'''
        SELECT count(*), count(DISTINCT internal_event_id), sum(epoch_ms(inserted_at::TIMESTAMPTZ))::HUGEINT::VARCHAR,
               count(*) FILTER (WHERE json_type(metadata::JSON) = 'OBJECT')
        FROM {sys.argv[2]}''').fetchone()
    print(json.dumps(dict(zip(("rows", "ids", "ms_sum", "metadata"), map(int, row)))))
    raise SystemExit
at = "created_at" if "created_at" in columns else "createdAt"
row = connection.execute(f'''
    SELECT count(*), count(DISTINCT id), sum(('0x' || left(id::VARCHAR, 8))::BIGINT)::BIGINT,
           sum(epoch_ms({at}::TIMESTAMPTZ))::HUGEINT::VARCHAR,
           count(*) FILTER (WHERE json_type(properties::JSON) = 'OBJECT')
    FROM {sys.argv[2]}''').fetchone()
print(json.dumps(dict(zip(("rows", "ids", "id_sum", "ms_sum", "properties"), map(int, row)))))
"""


def judge(database: Path, table: str, expected: dict[str, int]) -> str:
    """Open the file a contender left and say what is wrong with it; nothing means exact.

    Rows, distinct ids, the sum of the ids' first 32 bits, the sum of the timestamps, and that every row still carries
    its properties as an object. In a process of its own, see the module's docstring.
    """
    checked = subprocess.run(
        [sys.executable, "-c", _JUDGE, str(database), table], capture_output=True, text=True, check=False
    )
    if checked.returncode:
        lines = checked.stderr.strip().splitlines()
        return "cannot be counted: " + next(
            (line for line in lines if "Error:" in line or "Exception:" in line), lines[-1]
        )
    found = json.loads(checked.stdout)
    return ", ".join(
        f"{name} {found[name]} instead of {expected[name]}" for name in expected if found[name] != expected[name]
    )
