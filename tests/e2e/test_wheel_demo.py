"""The demo where nothing of this checkout is installed: the wheel, an empty environment, and the demo's own folders."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# The code location and the models are a user's own files; the wheel brings only the connector.
THEIRS = ("dagster_project", "sql", "workspace.yaml")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_runs_from_the_wheel_in_an_environment_that_has_nothing_else(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv")
    python, project = tmp_path / "venv" / "bin" / "python", tmp_path / "project"
    install = [*pip, "--python", python, "install", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*install, f"openpanel-userpilot-connector[demo] @ {wheel.as_uri()}"], check=True)
    project.mkdir()
    for name in THEIRS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, project / name, ignore=shutil.ignore_patterns("target", "logs", "__pycache__"))
        else:
            shutil.copy(source, project / name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    done = subprocess.run(
        [python, "-m", "dagster_project.demo"], cwd=project, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / ".demo" / "warehouse.duckdb").exists()
    assert str(ROOT) not in done.stdout + done.stderr
    where = [python, "-c", "import connector; print(connector.__file__)"]
    used = subprocess.run(where, cwd=project, env=environment, capture_output=True, text=True, check=True).stdout
    assert used.startswith(str(tmp_path / "venv"))
