"""deploy/ does what it says: its commands run as they stand there; what no engine here can run has the same ones."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster_k8s.job import DagsterK8sJobConfig

from connector.sandbox import READ, serve, vendor_variables
from connector.settings import Environment
from connector.upkeep import dagster_settings
from dagster_project.local import LocalDagster
from tests.conftest import DAY

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
UNITS = ("code", "daemon", "web")
INSTALLED, STATE, ENV = "/opt/connector", "/var/lib/connector", "/etc/connector/env"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
IMAGE = (DEPLOY / "Dockerfile").read_text()
# Keys that Dagster's chart knows, from its schema; it ignores others without a word.
CHART = [
    "additionalInstanceConfig",
    "busybox",
    "computeLogManager",
    "concurrency",
    "dagster-user-deployments",
    "dagsterDaemon",
    "dagsterWebserver",
    "flower",
    "generateCeleryConfigSecret",
    "generatePostgresqlPasswordSecret",
    "global",
    "imagePullSecrets",
    "ingress",
    "migrate",
    "postgresql",
    "pythonLogs",
    "rabbitmq",
    "redis",
    "retention",
    "runLauncher",
    "scheduler",
    "serviceAccount",
    "telemetry",
]
CODE_LOCATION = [
    "affinity",
    "annotations",
    "codeServerArgs",
    "dagsterApiGrpcArgs",
    "env",
    "envConfigMaps",
    "envSecrets",
    "image",
    "includeConfigInLaunchedRuns",
    "labels",
    "livenessProbe",
    "name",
    "nodeSelector",
    "podSecurityContext",
    "port",
    "readinessProbe",
    "resources",
    "schedulerName",
    "securityContext",
    "startupProbe",
    "tolerations",
    "volumeMounts",
    "volumes",
]


def unit(name):
    """The settings of a unit; every one a list, as systemd lets most stand several times."""
    found = {}
    for line in (DEPLOY / "systemd" / f"connector-{name}.service").read_text().splitlines():
        if re.match(r"\w+=", line):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def environment(name):
    return dict(one.partition("=")[::2] for one in unit(name).get("Environment", []))


def in_container(command):
    """A unit's command as a container of the image has to spell it."""
    return command.replace(f"{INSTALLED}/.venv/bin/", "").replace(f"{INSTALLED}/", "").replace("127.0.0.1", "0.0.0.0")


def test_only_the_code_server_has_credentials():
    assert [name for name in UNITS if "EnvironmentFile" in unit(name)] == ["code"]
    assert [name for name, one in COMPOSE["services"].items() if "env_file" in one] == ["code"]


def test_the_pages_are_published_on_loopback_only():
    (command,) = unit("web")["ExecStart"]
    assert "--host 127.0.0.1" in command
    assert COMPOSE["services"]["web"]["ports"] == ["127.0.0.1:3000:3000"]
    assert not any("ports" in COMPOSE["services"][name] for name in ("code", "daemon"))


@pytest.mark.parametrize("name", UNITS)
def test_containers_run_what_the_units_run(name):
    service, own = COMPOSE["services"][name], unit(name)
    steps = [in_container(step) for step in own.get("ExecStartPre", []) + own["ExecStart"]]
    command = service["command"]
    if command[:2] == ["sh", "-c"]:
        command = shlex.split(command[2].replace("exec ", ""))
    assert shlex.join(command) == " '&&' ".join(steps)
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]


def test_the_image_has_the_units_variables_and_is_nobody_special():
    values = dict(re.findall(r"(?m)^(?:ENV|   ) (\w+)=(\S+?)(?: \\)?$", IMAGE))
    assert values == environment("code")
    assert all(value.startswith(f"{STATE}/") for value in values.values())
    assert f"VOLUME {STATE}\n" in IMAGE
    assert re.findall(r"(?m)^USER (\w+)$", IMAGE) == ["connector"]


def test_the_image_is_made_of_what_is_here_and_of_nothing_secret():
    wanted = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", IMAGE)
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert let_in[1] == "*"
    allowed = {line[1:] for line in let_in if line.startswith("!")}
    copied = {name for line in wanted for name in line.split()}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    assert not any(".env" in name for name in allowed)


WORKERS = yaml.safe_load((DEPLOY / "compose.workers.yaml").read_text())["services"]
VALUES = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
CELERY = (DEPLOY / "celery" / "dagster.yaml").read_text()
LAKE = {
    "WAREHOUSE",
    "DUCKLAKE_DATA_PATH",
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
}
ADDRESSES = {"DAGSTER_POSTGRES_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"}


def test_a_worker_has_what_the_code_server_has():
    own, code = unit("worker"), unit("code")
    assert own["EnvironmentFile"] == code["EnvironmentFile"]
    assert own["StateDirectory"] == code["StateDirectory"]
    assert environment("worker") == environment("code")
    service = WORKERS["worker"]
    assert shlex.join(service["command"]) == in_container(own["ExecStart"][0])
    assert service["extends"] == {"file": "compose.yaml", "service": "code"}
    assert service["deploy"]["replicas"] > 1


def test_every_process_finds_the_same_servers_and_settings():
    ours = {name: service for name, service in WORKERS.items() if "environment" in service and "image" not in service}
    assert ours.keys() == {*UNITS, "worker"}
    for name, service in ours.items():
        runs = LAKE | {"CONNECTOR_SHARED_STATE", "PGPASSWORD"} if name in ("code", "worker") else set()
        assert service["environment"].keys() == ADDRESSES | runs
        assert service["volumes"][-1] == f"./celery/dagster.yaml:{STATE}/dagster/dagster.yaml:ro"
    assert set(re.findall(r"env: (\w+)", CELERY)) == ADDRESSES
    assert all(f"{name}=" in (DEPLOY / "README.md").read_text() for name in ADDRESSES | {"CONNECTOR_SHARED_STATE"})
    servers = {f"{name}:" for service in ours.values() for name in service.get("depends_on", {})} - {"code:"}
    assert servers == {"postgres:", "redis:", "bucket:"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """DAGSTER_HOME of a worker; the servers it names are never asked."""
    (tmp_path / "dagster.yaml").write_text(CELERY)
    for name in ADDRESSES:
        monkeypatch.setenv(name, f"redis://127.0.0.1:9/{name}")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def test_workers_and_launcher_agree(home):
    code = (
        "import json; from connector.dagster.celery_worker import app; print(json.dumps([app.conf.broker_url, "
        "app.conf.result_backend, app.conf.task_acks_late, app.conf.worker_prefetch_multiplier, "
        "app.conf.broker_transport_options, sorted(name for name in app.tasks if '.' not in name)]))"
    )
    said = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1])
    broker, backend, late, prefetch, transport, tasks = said
    assert broker.endswith("/CELERY_BROKER_URL")
    assert backend.endswith("/CELERY_RESULT_BACKEND")
    assert (late, prefetch, tasks) == (True, 1, ["execute_job", "resume_job"])
    settings = yaml.safe_load(CELERY)
    assert transport["visibility_timeout"] > settings["run_monitoring"]["max_runtime_seconds"]


def missing_settings(home, text):
    (home / "dagster.yaml").write_text(text)
    return [one.said for one in dagster_settings.examine(Environment({"DAGSTER_HOME": str(home)})) if one.level != "ok"]


def test_the_settings_load_and_lack_nothing(home, tmp_path):
    dagster_instance_config(str(home))
    assert missing_settings(home, CELERY) == []
    ours = VALUES["additionalInstanceConfig"]
    # What the chart writes beside them.
    text = yaml.safe_dump(ours | {"run_coordinator": {"module": "dagster", "class": "QueuedRunCoordinator"}})
    assert missing_settings(home, text) == []
    dagster_instance_config(str(home))
    assert not VALUES["dagsterDaemon"]["runMonitoring"]["enabled"], "its block would stand there twice"
    assert not VALUES["dagsterDaemon"]["runRetries"]["enabled"]


def test_pods_have_limits_secrets_and_no_rights():
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    pods = {re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", name): value
            for name, value in launcher["runK8sConfig"].items()}  # fmt: skip
    checked = process_config(DagsterK8sJobConfig.config_type_run_launcher(), {
        "service_account_name": "dagster", "instance_config_map": "dagster-instance", "run_k8s_config": pods,
        "image_pull_policy": launcher["imagePullPolicy"],
    })  # fmt: skip
    assert checked.success, checked.errors
    (code,) = VALUES["dagster-user-deployments"]["deployments"]
    assert set(code) <= set(CODE_LOCATION)
    assert code["includeConfigInLaunchedRuns"] == {"enabled": True}
    assert code["envSecrets"] == [{"name": "connector"}]
    assert code["podSecurityContext"]["runAsNonRoot"]
    assert f"--uid {code['podSecurityContext']['runAsUser']}" in IMAGE
    assert code["resources"]["limits"].keys() == pods["container_config"]["resources"]["limits"].keys() == {"memory"}
    assert shlex.join(code["codeServerArgs"]) in unit("code")["ExecStart"][0]
    assert set(VALUES) <= set(CHART)


def test_the_chart_is_of_the_librarys_version():
    (version,) = re.findall(r"(?m)^dagster==(\S+)$", (ROOT / "constraints.txt").read_text())
    for name in ("README.md", "kubernetes/values.yaml"):
        assert set(re.findall(r"--version (\S+)", (DEPLOY / name).read_text())) == {version}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_understands_the_units(tmp_path):
    for name in (*UNITS, "worker"):
        text = (DEPLOY / "systemd" / f"connector-{name}.service").read_text()
        (tmp_path / f"connector-{name}.service").write_text(re.sub(rf"{INSTALLED}/\.venv/bin/\S+", "/bin/true", text))
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(tmp_path.glob("*.service"))], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


@contextmanager
def running(command, cwd, variables, log):
    """A unit's process until the block ends, with no variable that the unit does not give it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            shlex.split(command), cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_readmes_commands_and_the_units_processes_land_a_day_and_build_a_model(vendor, tmp_path):
    vendor.load_sample(DAY, DAY)
    places = {INSTALLED: tmp_path / "opt", STATE: tmp_path / "state", ENV: tmp_path / "env"}
    ports = {"4000": str(free_port()), "3000": str(free_port())}

    def here(text):
        for place, folder in places.items():
            text = text.replace(place, str(folder))
        return re.sub(r"\b(4000|3000)\b", lambda found: ports[found[0]], text)

    kept = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    for name in kept:
        target = places[INSTALLED] / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    block = re.search(r"## With systemd\s+```console\n(.*?)```", (DEPLOY / "README.md").read_text(), re.DOTALL)[1]
    steps = [re.sub(r"\s+#.*$", "", line[2:]) for line in block.splitlines()]
    steps = [step for step in steps if not re.match(r"useradd|cp |systemctl", step)]
    assert len(steps) == 6
    for step in steps:
        step = here(step.replace("-o connector ", "")).replace("python3", sys.executable)
        subprocess.run(step, shell=True, check=True, cwd=places[INSTALLED], env=bare())
    workspace = places[INSTALLED] / "deploy" / "workspace.yaml"
    workspace.write_text(here(workspace.read_text()))
    (places[STATE] / "tmp").mkdir()  # as StateDirectory= would
    before = files(places[INSTALLED])

    with serve(vendor.app) as url, ExitStack() as stack:
        given = {
            **vendor_variables(openpanel=url),
            "START_DATE": DAY.isoformat(),
        }
        for name in UNITS:
            own = unit(name)
            variables = bare() | {key: here(value) for key, value in environment(name).items()}
            variables |= given if name == "code" else {}
            for step in own.get("ExecStartPre", []):
                subprocess.run(shlex.split(here(step)), check=True, cwd=places[INSTALLED], env=variables)
            log = tmp_path / f"{name}.log"
            stack.enter_context(running(here(own["ExecStart"][0]), places[INSTALLED], variables, log))
        dagster = LocalDagster(f"http://127.0.0.1:{ports['3000']}", places[STATE] / "dagster")
        until_up(dagster, tmp_path)

        runs = dagster.wait_for_backfill(dagster.backfill(["openpanel", "events"], partitions=[DAY.isoformat()]))
        assert [run["status"] for run in runs] == ["SUCCESS"]
        nodes = dagster.query("{ assetNodes { assetKey { path } groupName isPartitioned } }")["assetNodes"]
        models = [
            node["assetKey"]["path"] for node in nodes if node["groupName"] == "staging" and node["isPartitioned"]
        ]
        runs = dagster.wait_for_backfill(dagster.backfill(*models, partitions=[DAY.isoformat()]))
        assert {run["status"] for run in runs} == {"SUCCESS"}

    with duckdb.connect(places[STATE] / "warehouse.duckdb", read_only=True) as connection:
        (landed,) = connection.execute("select count(distinct id) from openpanel.events").fetchone()
        (modelled,) = connection.execute("select count(*) from staging.stg_openpanel__events").fetchone()
    assert landed == modelled == len({row["id"] for row in vendor.rows(DAY)})
    assert files(places[INSTALLED]) == before, "something was written to what is only read"
    logs = "".join((tmp_path / f"{name}.log").read_text(errors="replace") for name in UNITS)
    assert READ.secret not in logs


def bare():
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))
    }


def until_up(dagster, logs):
    until = time.monotonic() + 120
    while True:
        try:
            if dagster.query("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")[
                "repositoriesOrError"
            ].get("nodes"):
                return
        except (OSError, RuntimeError):
            pass
        if time.monotonic() > until:
            raise TimeoutError("".join(log.read_text(errors="replace")[-2000:] for log in logs.glob("*.log")))
        time.sleep(0.5)
