"""A real Dagster on this machine for as long as a block lasts: webserver, daemon, instance folder, GraphQL.

The demo and the end-to-end tests drive it as a person would, only faster. It is no way to deploy: services want a
supervisor.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster import DagsterInstance

ROOT = Path(__file__).resolve().parent.parent
LOCATION = "dagster_project.definitions"
INSTANCE_SETTINGS = Path(__file__).with_name("dagster.yaml")

_BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
_LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
  }
}"""
_BACKFILL_STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill { status error { message } runs(limit: 1000) { id status } }
  }
}"""

_TICKS = """
query ($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) {
    __typename
    ... on Sensor {
      sensorState { status ticks(limit: 200) { tickId timestamp status skipReason runKeys error { message } } }
    }
  }
}"""
_RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_SENSOR_ID = """
query ($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { __typename ... on Sensor { sensorState { id } } }
}"""
_STOP = "mutation ($id: String!) { stopSensor(id: $id) { __typename } }"
_RUNS = """
{ runsOrError(limit: 500) { ... on Runs { results { id status tags { key value } } } } }"""


class LocalDagster:
    """GraphQL to one running webserver.

    Attributes:
        url: of the UI.
        home: the DAGSTER_HOME of this instance; its logs are beside it.
    """

    def __init__(self, url: str, home: Path, processes: Sequence[subprocess.Popen[bytes]] = ()) -> None:
        self.url, self.home, self._processes = url, home, processes

    def kill(self) -> None:
        """End every process at once, as a power cut would: webserver, daemon, code servers, runs."""
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def query(self, text: str, **variables: Any) -> dict[str, Any]:
        """The ``data`` of one GraphQL answer.

        Raises:
            RuntimeError: the answer has errors.
        """
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310  our own loopback address
            f"{self.url}/graphql", body, {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                document: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as refused:
            said = refused.read().decode(errors="replace")
            raise RuntimeError(f"GraphQL answered {refused.code}: {said[-2000:]}") from None
        if document.get("errors"):
            raise RuntimeError(f"GraphQL: {document['errors'][0].get('message')}")
        data: dict[str, Any] = document["data"]
        return data

    def backfill(self, asset: Sequence[str], *more: Sequence[str], partitions: Sequence[str]) -> str:
        """Ask for partitions of assets, as the UI's backfill button does; returns the backfill's id."""
        selection = [{"path": list(path)} for path in (asset, *more)]
        params = {"assetSelection": selection, "partitionNames": list(partitions)}
        answer = self.query(_BACKFILL, params=params)["launchPartitionBackfill"]
        if answer["__typename"] != "LaunchBackfillSuccess":
            raise RuntimeError(f"the backfill was refused: {answer.get('message') or answer['__typename']}")
        return str(answer["backfillId"])

    def launch(
        self, job: str, *, assets: Sequence[Sequence[str]] | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """Launch a run of a job, or of some of its assets; returns the run's id.

        Raises:
            RuntimeError: Dagster refused it.
        """
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": LOCATION,
            "pipelineName": job,
            "assetSelection": [{"path": list(path)} for path in assets] if assets else None,
        }
        named = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        params = {"selector": selector, "mode": "default", "executionMetadata": {"tags": named}}
        answer = self.query(_LAUNCH, params=params)["launchPipelineExecution"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise RuntimeError(f"{job} was not launched: {answer.get('message') or answer['__typename']}")
        return str(answer["run"]["runId"])

    def wait_for_backfill(self, backfill: str, *, timeout: float = 600.0) -> list[dict[str, str]]:
        """Wait until a backfill ended; returns its runs with their status.

        Raises:
            TimeoutError: it did not end in time.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            state = self.query(_BACKFILL_STATUS, id=backfill)["partitionBackfillOrError"]
            runs: list[dict[str, str]] = state.get("runs") or []
            if state["status"] in {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}:
                return runs
            time.sleep(1.0)
        raise TimeoutError(f"backfill {backfill} did not end in {timeout:.0f} s; see the logs in {self.home.parent}")

    def wait_for_run(self, run: str, *, timeout: float = 300.0) -> str:
        """Wait until a run ended; returns its status.

        Raises:
            TimeoutError: it did not end in time.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            status = str(self.query(_RUN, id=run)["runOrError"]["status"])
            if status in {"SUCCESS", "FAILURE", "CANCELED"}:
                return status
            time.sleep(1.0)
        raise TimeoutError(f"run {run} did not end in {timeout:.0f} s; see {self.home.parent}")

    def switch_off(self, sensor: str) -> None:
        """Let a sensor rest, as its page in the UI does.

        Right after the start the daemon writes the sensor's first state down, and only one of both can: the other is
        asked again.
        """
        for pause in (1.0, 2.0, 4.0, 0.0):
            state = self.query(_SENSOR_ID, sensor=_named(sensor))["sensorOrError"]["sensorState"]
            try:
                said = str(self.query(_STOP, id=state["id"])["stopSensor"]["__typename"])
            except RuntimeError as refused:
                said = f"Error: {refused}"
            if "Error" not in said:
                return
            time.sleep(pause)
        raise RuntimeError(f"{sensor} was not switched off: {said}")

    def ticks(self, sensor: str) -> list[dict[str, Any]]:
        """The ticks of a sensor, oldest first, as its page in the UI lists them."""
        found = self.query(_TICKS, sensor=_named(sensor))["sensorOrError"]
        if found["__typename"] != "Sensor":
            raise RuntimeError(f"there is no sensor {sensor}: {found['__typename']}")
        ticks: list[dict[str, Any]] = found["sensorState"]["ticks"]
        return ticks[::-1]

    def runs_tagged(self, key: str) -> list[dict[str, Any]]:
        """Runs that carry a tag, whatever its value, newest first."""
        runs: list[dict[str, Any]] = self.query(_RUNS)["runsOrError"]["results"]
        return [run for run in runs if any(tag["key"] == key for tag in run["tags"])]

    def wait_for_tagged_run(
        self, key: str, sensor: str, *, timeout: float = 300.0, tell: Callable[[str], None] | None = None
    ) -> str:
        """Wait until a run that a sensor requested has ended, saying what its ticks say; returns the run's status.

        Raises:
            TimeoutError: there was none in time.
        """
        until, said = time.monotonic() + timeout, 0
        while time.monotonic() < until:
            ticks = [tick for tick in self.ticks(sensor) if tick["status"] != "STARTED"]
            for tick in ticks[said:]:
                problem = (tick["error"] or {}).get("message")
                line = problem or tick["skipReason"] or f"requested {', '.join(tick['runKeys'])}"
                if tell:
                    tell(line)
            said = len(ticks)
            ended = [run for run in self.runs_tagged(key) if run["status"] in {"SUCCESS", "FAILURE", "CANCELED"}]
            if ended:
                return str(ended[0]["status"])
            time.sleep(1.0)
        raise TimeoutError(f"{sensor} requested no run that ended in {timeout:.0f} s; see {self.home.parent}")


def _named(sensor: str) -> dict[str, str]:
    return {"repositoryName": "__repository__", "repositoryLocationName": LOCATION, "sensorName": sensor}


@contextmanager
def local_dagster(
    folder: Path, environment: Mapping[str, str], *, port: int = 0, settings: Path = INSTANCE_SETTINGS
) -> Iterator[LocalDagster]:
    """Run webserver and daemon of this project until the block ends.

    Args:
        folder: DAGSTER_HOME is made below it, and the two logs.
        environment: variables for the code location, over the process's own.
        port: of the UI; 0 picks a free one.
        settings: the ``dagster.yaml`` of the instance. Variables that it names are read from this process, too.
    """
    home = folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(settings, home / "dagster.yaml")
    # Two processes that make the same SQLite files at the same time lock each other out.
    with DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs_count()
    port = port or _free_port()
    variables = {**os.environ, **environment, "DAGSTER_HOME": str(home.resolve()), "PYTHONUNBUFFERED": "1"}
    commands = {
        "webserver": ["dagster-webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
        "daemon": ["dagster-daemon", "run", "-w", "workspace.yaml"],
    }
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with open(folder / f"{name}.log", "wb") as log:
                processes.append(
                    subprocess.Popen(
                        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
                        cwd=ROOT,
                        env=variables,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        stdin=subprocess.DEVNULL,
                        start_new_session=True,  # one group, so that the code servers end with it
                    )
                )
        dagster = LocalDagster(f"http://127.0.0.1:{port}", home, processes)
        _wait_until_up(dagster, processes, folder)
        yield dagster
    finally:
        for process in processes:
            _end(process)


def _wait_until_up(dagster: LocalDagster, processes: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for process, name in zip(processes, ("webserver", "daemon"), strict=True):
            if process.poll() is not None:
                tail = (folder / f"{name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the {name} ended at once:\n{tail}")
        try:
            answer = dagster.query("{ workspaceOrError { __typename } }")
            if answer["workspaceOrError"]["__typename"] == "Workspace":
                return
        except (OSError, urllib.error.URLError, RuntimeError):
            pass
        time.sleep(0.3)
    raise TimeoutError(f"the webserver did not answer within 120 s; see {folder / 'webserver.log'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign, patience in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
