"""The pages say what is so: they build, what is generated is up to date, their commands and snippets run."""

import os
import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from connector import OpenPanel, OpenPanelSettings
from connector.dagster import build_definitions
from connector.sandbox import READ, Userpilot, serve, serve_userpilot, vendor_variables
from connector.sandbox import OpenPanel as Vendor
from connector.settings import Environment
from connector.stream import BOOKKEEPING

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {page.name: page.read_text() for page in sorted(DOCS.glob("*.md"))} | {
    "README.md": (ROOT / "README.md").read_text()
}
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 7)
# Tried where they belong: the demo and `make dev` in their own tests, `dg` in tests/e2e, dbt in tests/sql.
ELSEWHERE = {"make demo", "make test", "make dev", "make bench", "dg", "dbt", "WAREHOUSE=warehouse.duckdb"}


def blocks(language):
    return [
        (name, re.sub(r"(?m)^    ", "", block) if indent else block)
        for name, text in PAGES.items()
        for indent, block in re.findall(rf"(?ms)^( *)```{language}\n(.*?)```", text)
    ]


def commands():
    return [
        line.strip().removeprefix("$ ")
        for _, block in blocks("console")
        for line in block.splitlines()
        if line.strip().startswith("$ ")
    ]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    vendor, pilot = Vendor(), Userpilot(polls_to_complete=1)
    vendor.load_sample(FIRST, LAST)
    pilot.load_sample(FIRST, LAST)
    with serve(vendor.app) as url, serve_userpilot(pilot) as (api, _):
        yield {
            **os.environ,
            **vendor_variables(openpanel=url, userpilot=api),
            "WAREHOUSE": str(folder / "w.duckdb"),
            "SPOOL_DIR": str(folder / "spool"),
            "START_DATE": FIRST.isoformat(),
            "PYTHONPATH": str(ROOT),
        }


@pytest.fixture(scope="module")
def landed(environment, tmp_path_factory):
    """Every command of the command line that the pages show: what lands first, then the rest, in their order."""
    folder, done = tmp_path_factory.mktemp("shell"), {}
    shown = dict.fromkeys(command for command in commands() if command.startswith(".venv/bin/connector "))
    for command in sorted(shown, key=lambda one: one.split()[1] not in ("sync", "export", "lookups")):
        if command.split()[1] in ("sandbox", "models"):  # one serves until it is stopped, one wants a dbt project
            continue
        run = [sys.executable, "-m", "connector.cli", *shlex.split(command)[1:]]
        done[command] = subprocess.run(run, env=environment, cwd=folder, capture_output=True, text=True)
    return done


def test_the_pages_build_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "openpanel.events" in (tmp_path / "tables" / "index.html").read_text()


def test_generated_pages_are_up_to_date():
    done = subprocess.run([sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_command_of_the_pages_is_one_that_a_test_runs(landed):
    for command in commands():
        known = command in landed or command.split(" --")[0] in ELSEWHERE or command.split()[0] in ELSEWHERE
        assert known or "connector sandbox" in command or "connector models" in command, f"nothing runs: {command}"


def test_every_command_of_the_command_line_works_as_written(landed):
    """Twice the exit code 75: an export that was just asked for is under way."""
    assert len(landed) > 8
    for command, done in landed.items():
        fine = {0, 75} if "export request" in command or "export status" in command else {0}
        # It may find something about this machine, or days that the pages do not land.
        fine |= {1, 75} if command.split()[1] in ("doctor", "status") else set()
        assert done.returncode in fine, f"{command}: {done.stdout}{done.stderr}"


def test_the_notebook_runs_from_top_to_bottom(environment, landed, monkeypatch):
    notebook = nbformat.read(DOCS / "notebooks" / "first_look.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "kept without output"
    for name in ("WAREHOUSE", "PYTHONPATH"):
        monkeypatch.setenv(name, environment[name])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = str(notebook.cells[3].outputs)
    assert FIRST.isoformat() in shown
    assert LAST.isoformat() in shown


@pytest.mark.parametrize("snippet", [block for name, block in blocks("python")])
def test_every_python_snippet_runs(snippet, environment, landed, tmp_path):
    if "airflow" in snippet:
        pytest.skip("tests/e2e/test_airflow.py runs it, where AIRFLOW_PYTHON names an environment with Airflow")
    if "marts." in snippet:  # there are marts once dbt has run; tests/sql reads them
        snippet = "\n".join(line for line in snippet.splitlines() if "marts." not in line)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", snippet],
        env=environment | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_component_in_yaml_is_one_that_loads():
    from connector.dagster.components import ConnectorModelsComponent, OpenPanelComponent, UserpilotComponent

    found = [block for _, block in blocks("yaml") if "connector.dagster.components" in block]
    assert found
    import yaml

    for block in found:
        document = yaml.safe_load(block)
        known = (ConnectorModelsComponent, OpenPanelComponent, UserpilotComponent)
        component = {one.__name__: one for one in known}[document["type"].rsplit(".", 1)[1]]
        assert set(document["attributes"]) <= set(component.model_fields)


def test_the_versions_of_python_that_a_project_has_to_write_are_those_of_the_package():
    """uv looks for a solution for every version that a project allows."""
    wanted = re.search(r'^requires-python = ".+?"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert wanted
    assert f"`{wanted[0]}`" in (ROOT / "docs" / "projects.md").read_text()


def test_bookkeeping_columns_stand_in_every_landed_table():
    for part in PAGES["tables.md"].split("\n## ")[1:]:
        if part.startswith(("`openpanel.", "`userpilot.")):
            assert all(f"`{name}`" in part for name in BOOKKEEPING), part[:60]


def test_every_message_has_a_next_step():
    """A reader who has only the text of an error knows what to do: no cell of the table is empty."""
    rows = re.findall(r"(?m)^\| `(\w+Error)` \| (.*) \| (.*) \|$", PAGES["errors.md"])
    assert len(rows) > 80
    for kind, what, step in rows[8:]:
        assert what.strip(), kind
        assert len(step.strip()) > 3 or step == "…", (kind, what)


def test_schedules_and_sensors_named_in_the_pages_exist():
    there = {
        one.name
        for timezone in ("UTC", "Europe/Berlin")
        for defs in [build_definitions(timezone=timezone)]
        for one in (*defs.schedules, *defs.sensors)
    }
    named = set()
    for text in PAGES.values():
        named |= set(
            re.findall(
                r"`((?:openpanel|userpilot|connector)_(?:nightly|nightly_reports|intraday|lookups|\w+_sensor|nightly_export))`",
                text,
            )
        )
    assert named
    assert named <= there | {"connector_prune"}


def test_settings_page_starts_an_instance():
    env = {"OPENPANEL_CLIENT_ID": READ.id, "OPENPANEL_CLIENT_SECRET": "x" * 12, "OPENPANEL_PROJECT_ID": "p"}
    with OpenPanel.from_settings(OpenPanelSettings.load(Environment(env))) as client:
        assert client.project_id == "p"
