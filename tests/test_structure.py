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
from tests.mutants import MUTANTS, places, planted

# Functions with more than six parameters, and why.
MANY_PARAMETERS = {
    "connector/dagster/dbt.py:model_assets": "a public builder: every keyword is an option of the user",
    "connector/dagster/definitions.py:build_definitions": "a public builder",
    "connector/dagster/definitions.py:openpanel_definitions": "a public builder",
    "connector/dagster/definitions.py:userpilot_definitions": "a public builder",
    "connector/dagster/models.py:models_definitions": "a public builder",
    "connector/dagster/openpanel/assets.py:openpanel_assets": "a public builder",
    "connector/dagster/openpanel/drift.py:openpanel_drift_sensor": "a public builder",
    "connector/dagster/openpanel/track.py:track_asset": "a public builder",
    "connector/dagster/upkeep.py:prune_schedule": "a public builder",
    "connector/dagster/userpilot/assets.py:userpilot_assets": "a public builder",
    "connector/dagster/userpilot/export_sensor.py:userpilot_export_sensor": "a public builder",
    "connector/dagster/userpilot/schedules.py:userpilot_nightly_export_schedule": "a public builder",
    "connector/http/client.py:__init__": "a public client: address, credentials, limits and transport",
    "connector/openpanel/client.py:__init__": "a public client",
    "connector/userpilot/client.py:__init__": "a public client",
    "connector/openpanel/reports/read.py:insights": "a public reader: what the vendor's route takes",
    "connector/openpanel/track/sender.py:__init__": "a public client of Track: limits and clocks",
    "connector/sandbox/faults.py:add": "each keyword belongs to one kind of fault",
    "connector/sandbox/userpilot/vendor.py:__init__": "the ways in which Userpilot's servers differ",
    "connector/sandbox/userpilot/vendor.py:add_event": "the fields of one event",
    "connector/sandbox/userpilot/vendor.py:foreign_job": "the fields of one export job",
    "connector/sync.py:sync_day": "a public function, as the command line takes it",
    "connector/upkeep/nightly.py:nightly": "a public function, as the command line takes it",
    "connector/upkeep/forget.py:forget": "a public function, as the command line takes it",
}


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
        assert len(places(mutant)) == 1, f"{mutant.name}: {len(places(mutant))} places in {mutant.within}"
        file, code = planted(mutant)
        compile(code, mutant.name, "exec")
        assert ast.dump(ast.parse(code)) != ast.dump(ast.parse(file.read_text())), mutant.name
        for test in mutant.tests.split(" -k ")[0].split():
            assert (ROOT / test.split("::")[0]).exists(), f"{mutant.name}: {test}"


def test_functions_and_modules_stay_small():
    """Longer ones do two things; the builders that Dagster calls for are told with their reason."""
    for package in ("connector", "dagster_project"):
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text()
            assert text.count("\n") <= 450, file
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef):
                    length = node.end_lineno - node.lineno + 1
                    assert length <= 60, f"{file}: {node.name} has {length} lines"
                    arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                    count = len([name for name in arguments if name not in ("self", "cls")])
                    name = f"{file.relative_to(ROOT).as_posix()}:{node.name}"
                    assert count <= 6 or name in MANY_PARAMETERS, f"{name} has {count} parameters"


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
