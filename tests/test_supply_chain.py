"""What is installed is locked, may be used, and is in the bill; the wheel holds us and nobody else."""

import json
import re
import runpy
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = runpy.run_path(str(ROOT / ".ci" / "sbom.py"))
# Permissive ones, and MPL-2.0, which asks only for changes of its own files.
ALLOWED = {
    "0BSD", "Apache Software License", "Apache-2.0", "BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause",
    "3-Clause BSD License", "ISC", "MIT", "MIT License", "MIT-0", "MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)",
    "PSF-2.0", "Python Software Foundation License", "Unlicense", "Zlib",
}  # fmt: skip


def locked():
    """Name -> version and hashes, of requirements.lock."""
    text = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^ ;]+)([^\n]*(?:\n    --hash[^\n]*)*)", text)
    return {
        TOOLS["folded"](name): (version, re.findall(r"sha256:([0-9a-f]{64})", rest)) for name, version, rest in entries
    }


def test_every_dependency_has_a_licence_that_may_be_used():
    for name in TOOLS["installed"]():
        licence = TOOLS["licence"](metadata.distribution(name))
        for choice in re.split(r" AND |; ", licence):
            assert set(choice.strip("()").split(" OR ")) & ALLOWED or choice in ALLOWED, (name, licence)


def test_the_lock_holds_everything_a_deployment_needs_with_hashes():
    lock = locked()
    assert len(lock) > 40
    assert all(hashes for _, hashes in lock.values())
    needed = set(TOOLS["installed"]()) - {"openpanel-userpilot-connector"}
    assert needed <= set(lock), "requirements.lock is older than pyproject.toml"
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_the_lock_and_the_constraints_name_the_same_versions():
    """Tests run with the constraints; a deployment that installs something else has not been tested."""
    constraints = {
        TOOLS["folded"](name): version
        for name, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^ ;\n]+)", (ROOT / "constraints.txt").read_text())
    }
    differing = {
        name: (version, constraints[name])
        for name, (version, _) in locked().items()
        if name in constraints and constraints[name] != version
    }
    assert differing == {}


def test_the_bill_names_every_part_once_and_is_the_same_every_time():
    made = [subprocess.check_output([sys.executable, ".ci/sbom.py"], cwd=ROOT) for _ in range(2)]
    assert made[0] == made[1]
    bill = json.loads(made[0])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    names = [part["name"] for part in bill["components"]]
    assert sorted(set(names)) == names
    assert {"duckdb", "httpx", "dagster", "msgspec", "isal", "pyyaml"} <= set(names)
    references = {part["bom-ref"] for part in [bill["metadata"]["component"], *bill["components"]]}
    assert {one["ref"] for one in bill["dependencies"]} == references
    assert all(set(one["dependsOn"]) <= references for one in bill["dependencies"])
    assert all(part["licenses"][0]["license"]["name"] != "unknown" for part in bill["components"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        yield archive


def test_the_wheel_holds_the_connector_with_its_sandbox_and_types_and_nothing_else(wheel):
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"connector"}
    assert {"connector/py.typed", "connector/sandbox/__main__.py", "connector/dagster/__init__.py"} <= set(names)
    assert {"connector/openpanel/CONTRACT.md", "connector/userpilot/CONTRACT.md"} <= set(names)
    assert {"connector/sql/dbt_project.yml", "connector/sql/manifest.json"} <= set(names)
    assert not [name for name in names if re.search(r"__pycache__|\.duckdb|\.env|\.journal", name)]
    ours = [name for name in names if not name.startswith("connector/sql/")]  # a dbt project comes with its tests
    assert not [name for name in ours if "test" in name]
    assert any(name.endswith("LICENSE") for name in names)


def test_the_wheel_says_what_it_needs_and_what_it_is(wheel):
    name = next(name for name in wheel.namelist() if name.endswith("METADATA"))
    told = wheel.read(name).decode()
    assert "License-Expression: MIT" in told
    core = {
        line.split(";")[0] for line in told.splitlines() if line.startswith("Requires-Dist") and "extra" not in line
    }
    assert {re.match(r"Requires-Dist: ([\w-]+)", line)[1] for line in core} == {
        "duckdb", "httpx", "isal", "lazy-loader", "msgspec", "python-dotenv", "pyyaml",
    }  # fmt: skip
