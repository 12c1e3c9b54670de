"""Puts the dbt project into the wheel, as ``connector/sql``, with its manifest where this environment has dbt.

Dagster shows models from a manifest. Prepared here, no code location has to parse the project when it loads.
"""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SUFFIXES = (".sql", ".yml", ".md", ".csv")
MADE = ("target", "logs", "dbt_packages")
DBT = "from dbt.cli.main import cli; cli()"


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls; an editable installation reads the project where it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files of the project to those of the wheel."""
        if version == "editable":
            return
        project, into = Path(self.root) / "sql", build_data["force_include"]
        for file in sorted(project.rglob("*")):
            name = file.relative_to(project)
            if file.suffix in SUFFIXES and not set(MADE) & set(name.parts):
                into[str(file)] = f"connector/sql/{name.as_posix()}"
        if find_spec("dbt.cli"):
            folder = tempfile.mkdtemp(prefix="manifest-")
            _parse(project, folder)
            into[str(Path(folder) / "manifest.json")] = "connector/sql/manifest.json"


def _parse(project: Path, folder: str) -> None:
    places = ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", folder]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENPANEL_", "DBT_"))}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DBT, "--quiet", "parse", *places],
        check=True,
        env=environment | {"DBT_LOG_PATH": folder, "WAREHOUSE": "warehouse.duckdb"},
    )
