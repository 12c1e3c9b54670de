"""The models of ``sql/`` as assets of this deployment: from a prepared manifest, or left out.

``python -m dagster_project.dbt`` prepares the manifest; ``make`` does so when a model changed. Importing this module
imports no dbt: only :func:`models` does, and only where there is something to show.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import dagster as dg

from connector.dagster.choice import landed_streams
from connector.errors import SettingsError
from connector.settings import Settings, environment

PROJECT = Path(__file__).resolve().parent.parent / "sql"
MANIFEST = PROJECT / "target" / "manifest.json"
SWITCH = "CONNECTOR_DBT"
DBT = str(Path(sys.executable).with_name("dbt"))


def models() -> dg.Definitions:
    """Models, their sensor and their job; nothing with CONNECTOR_DBT=off, without dbt, or without a manifest.

    Raises:
        SettingsError: CONNECTOR_DBT is on, and they cannot be shown.
    """
    env = environment()
    wanted = env.switch(SWITCH)
    can_be = MANIFEST.exists() and find_spec("dagster_dbt") is not None
    if wanted == "on" and not can_be:
        raise SettingsError(
            SWITCH, "is on, but there is no prepared manifest", next_step="run make install, which installs dbt, too."
        )
    if wanted == "off" or not can_be:
        return dg.Definitions()
    from connector.dagster.dbt import model_assets, model_job, model_sensor

    assets = model_assets(
        project_dir=PROJECT,
        manifest=MANIFEST,
        start_date=Settings.load(env).start_date,
        streams=landed_streams(),
        dbt_executable=DBT,
    )
    return dg.Definitions(assets=assets, sensors=[model_sensor(assets)], jobs=[model_job(assets)])


def prepare() -> None:
    """Write the manifest if a file of the project is newer; takes a few seconds, and none if nothing changed."""
    sources = [path for path in PROJECT.rglob("*") if path.suffix in {".sql", ".yml", ".md"}]
    newest = max(path.stat().st_mtime for path in sources if MANIFEST.parent not in path.parents)
    if MANIFEST.exists() and MANIFEST.stat().st_mtime >= newest:
        return
    command = [DBT, "--quiet", "parse", "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    subprocess.run(command, check=True, env={**os.environ, "DBT_LOG_PATH": str(MANIFEST.parent)})
    MANIFEST.touch()


if __name__ == "__main__":
    prepare()
