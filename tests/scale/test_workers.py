"""Runs on two Celery workers, one of which is killed: every day lands all the same, and nobody has to do anything."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance, RunsFilter

from connector import Warehouse
from connector.sandbox import OpenPanel, serve, vendor_variables
from dagster_project.local import local_dagster
from tests.kinds import new_lake
from tests.postgres import free_port, open_folder, ordinary_user

ROOT = Path(__file__).parents[2]
UNIT = (ROOT / "deploy" / "systemd" / "connector-worker.service").read_text()
SETTINGS = (ROOT / "deploy" / "celery" / "dagster.yaml").read_text()
FIRST = date(2026, 3, 1)


@pytest.fixture(params=[6, pytest.param(43, marks=pytest.mark.slow)])
def days(request):
    return [FIRST + timedelta(days=number) for number in range(request.param)]


@pytest.fixture
def redis():
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no Redis server is installed here (apt-get install redis-server)")
    folder, port = open_folder("connector-redis-"), free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **ordinary_user())
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


class Stubborn:
    """A vendor that does not answer the first request for one day, until whoever asked is gone."""

    def __init__(self, vendor, day):
        self._vendor, self._day, self.stuck = vendor, f"start={day}".encode(), threading.Event()

    async def __call__(self, scope, receive, send):
        if self._day in scope.get("query_string", b"") and not self.stuck.is_set():
            self.stuck.set()
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await self._vendor.app(scope, receive, send)


@pytest.fixture
def vendor(days):
    vendor = OpenPanel(rate_limit=None)
    vendor.load_sample(days[0], days[-1])
    return vendor


@pytest.fixture
def stubborn(vendor, days):
    return Stubborn(vendor, days[-1])


@pytest.fixture
def variables(stubborn, postgres, redis, tmp_path, monkeypatch, request):
    """What every machine has; in this process, too, because Dagster's settings name variables."""
    with serve(stubborn) as url:
        given = {
            **vendor_variables(openpanel=url),
            "CONNECTOR_SHARED_STATE": postgres.database(),
            "DAGSTER_POSTGRES_URL": postgres.database(),
            "CELERY_BROKER_URL": redis,
            "CELERY_RESULT_BACKEND": redis,
            "WAREHOUSE": new_lake("postgres", tmp_path, monkeypatch, request),
            "START_DATE": FIRST.isoformat(),
            "CONNECTOR_DBT": "off",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        yield given


@contextmanager
def worker(name, variables, folder):
    """The unit's process with disks of its own, as on another machine."""
    own = folder / name
    (own / "dagster").mkdir(parents=True)
    (own / "tmp").mkdir()
    shutil.copy(folder / "dagster" / "dagster.yaml", own / "dagster")
    (command,) = re.findall(r"(?m)^ExecStart=(.*)$", UNIT)
    command = command.replace("/opt/connector/.venv/bin/", f"{Path(sys.executable).parent}/")
    command = re.sub(r"--concurrency \d+", "--concurrency 1", command) + f" --hostname {name}@%h"
    environment = os.environ | variables | {
        "DAGSTER_HOME": str(own / "dagster"), "SPOOL_DIR": str(own / "spool"), "TMPDIR": str(own / "tmp"),
    }  # fmt: skip
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen(
            shlex.split(command), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def worker_of(instance, run):
    """The worker that has a run, by Celery's results."""
    tags = instance.get_run_by_id(run.run_id).tags
    info = instance.run_launcher.celery.AsyncResult(tags["dagster-celery/task_id"]).info
    return info["hostname"].partition("@")[0] if isinstance(info, dict) else None


def took(folder, name):
    """How many runs a worker took from the queue, by its log."""
    return (folder / f"{name}.log").read_text(errors="replace").count("Task execute_job[")


def until(true, seconds, what):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.3)
    return found


@pytest.mark.timeout(1200)
def test_days_of_a_killed_worker_land_on_the_other(vendor, stubborn, days, variables, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(SETTINGS.replace("poll_interval_seconds: 30", "poll_interval_seconds: 2"))
    with ExitStack() as stack:
        dagster = stack.enter_context(local_dagster(tmp_path, variables, settings=settings))
        workers = {name: stack.enter_context(worker(name, variables, tmp_path)) for name in ("one", "two")}
        instance = stack.enter_context(DagsterInstance.from_config(str(tmp_path / "dagster")))
        # Each day a run of its own, so that there is something to share out.
        asked = [dagster.backfill(["openpanel", "events"], partitions=[day.isoformat()]) for day in days]

        until(stubborn.stuck.is_set, 300, "a run hangs")
        (victim,) = instance.get_runs(RunsFilter(tags={"dagster/asset_partition_range_start": str(days[-1])}))
        name = until(lambda: worker_of(instance, victim), 30, "its worker is known")
        os.killpg(workers[name].pid, signal.SIGKILL)

        for backfill in asked:
            dagster.wait_for_backfill(backfill, timeout=900)
        runs = Counter(run.status.value for run in instance.get_runs())
        said = [entry.message for entry in instance.all_logs(victim.run_id)]
    with Warehouse(variables["WAREHOUSE"]).read() as connection:
        landed = dict(connection.execute("select _day, count(*) from openpanel.events group by 1").fetchall())
    assert landed == {day: len({row["id"] for row in vendor.rows(day)}) for day in days}
    assert any("does not answer" in line for line in said), "it was found by asking the worker"
    assert runs == {"SUCCESS": len(days), "FAILURE": 1}
    assert all(took(tmp_path, name) > 0 for name in workers)
