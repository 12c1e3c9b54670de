"""The code keeps its shape: layers, sizes, words, public names, and what loading costs."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import connector
from tests.conftest import ROOT
from tests.mutants import MUTANTS


def test_public_names_change_only_on_purpose():
    assert connector.__all__ == sorted(
        [
            "EVENTS",
            "LOOKUPS",
            "BusyError",
            "Chart",
            "Column",
            "ConnectorError",
            "ContractError",
            "Exports",
            "Filter",
            "Funnel",
            "InProgressError",
            "IncompleteError",
            "OpenPanel",
            "OpenPanelSettings",
            "Outbox",
            "Page",
            "Privacy",
            "Questions",
            "Receipt",
            "RejectedError",
            "Series",
            "Settings",
            "SettingsError",
            "Spool",
            "Stream",
            "SuddenDropError",
            "TransientError",
            "Userpilot",
            "UserpilotSettings",
            "Warehouse",
            "Window",
            "doctor",
            "forget",
            "frame",
            "land",
            "land_newer",
            "prune",
            "sync_day",
            "sync_lookup",
        ]
    )


def test_shared_folders_know_no_vendor():
    """A word of one vendor in a folder that both share would be wrong for the other one."""
    shared = ("http", "landing", "privacy", "records", "system", "warehouse")
    files = [
        *(ROOT / "connector").glob("*.py"),
        *(file for name in shared for file in (ROOT / "connector" / name).rglob("*.py")),
    ]
    for file in files:
        code = re.sub(r'"""[\s\S]*?"""', "", file.read_text())
        lines = [line for line in code.splitlines() if not line.strip().startswith("#")]
        found = [line for line in lines if re.search("openpanel|userpilot", line, re.IGNORECASE)]
        assert all("user-agent" in line for line in found), (file.name, found)


def test_every_module_says_why_it_exists():
    for package in ("connector", "dagster_project"):
        for file in (ROOT / package).rglob("*.py"):
            assert ast.get_docstring(ast.parse(file.read_text())), file


def test_importing_the_core_imports_no_dagster_and_no_pandas():
    code = (
        "import sys, connector, connector.cli.main; "
        "print([m for m in ('dagster', 'dotenv', 'pandas') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_loading_definitions_imports_neither_http_nor_warehouse_nor_frames():
    """Every code server, run and step process pays for what loading imports."""
    code = (
        "import sys, dagster_project.definitions; "
        "print([m for m in ('httpx', 'pandas', 'dbt', 'starlette') if m in sys.modules])"
    )
    without_models = os.environ | {"CONNECTOR_DBT": "off"}
    said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT, env=without_models)
    assert said.strip() == "[]"


def test_no_path_of_a_machine_and_no_package_source_is_written_down():
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    for name in files:
        if (ROOT / name).suffix in {
            ".py",
            ".md",
            ".toml",
            ".txt",
            ".yaml",
            ".yml",
            ".sql",
            "",
        } and name != "tests/test_structure.py":
            text = (ROOT / name).read_text(errors="replace")
            assert not re.search(r"(?m)(^|[\s\"'=(])/(work|root)/", text), name
            assert not re.search(r"https?://[^\s\"]*/simple|index-url", text), name


def test_every_planted_fault_still_points_at_one_place():
    """A list of faults whose lines have moved, or that are no Python, would plant none and call them noticed."""
    for mutant in MUTANTS:
        code = (ROOT / mutant.file).read_text()
        assert code.count(mutant.old) == 1, mutant.name
        compile(code.replace(mutant.old, mutant.new), mutant.name, "exec")


def lint_imports(root):
    """What import-linter says of a copy of the code, and its exit code."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)})
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("connector/landing/day.py", "import dagster", "Dagster is imported in connector/dagster only"),
        ("connector/warehouse/frames.py", "import dagster", "Dagster is imported in connector/dagster only"),
        ("connector/userpilot/client.py", "import httpx", "HTTP is spoken in connector/http"),
        ("connector/openpanel/events.py", "import duckdb", "DuckDB is opened in connector/warehouse"),
        ("connector/openpanel/events.py", "import connector.userpilot.client", "data moves one way"),
        ("connector/sandbox/faults.py", "import connector.records.fit", "data moves one way"),
        ("connector/helpers.py", "", "connector.helpers"),
        ("connector/helpers/things.py", "", "connector.helpers"),
    ],
)
def test_a_module_in_the_wrong_place_fails_make_check(tmp_path, file, line, broken):
    for name in ("connector", "dagster_project", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    target = tmp_path / file
    target.parent.mkdir(exist_ok=True)
    if not (target.parent / "__init__.py").exists():
        (target.parent / "__init__.py").touch()
    with open(target, "a", encoding="utf-8") as code:
        code.write(f"\n{line}\n")
    code, said = lint_imports(tmp_path)
    assert code != 0
    assert broken in said
    assert "lint-imports" in (ROOT / "Makefile").read_text()
