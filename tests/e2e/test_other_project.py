"""Somebody else's Dagster project, made from nothing with Dagster's own tools, against the wheel that users install."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from datetime import date
from pathlib import Path

import duckdb
import pytest

from connector.sandbox import READ, OpenPanel, serve

ROOT = Path(__file__).parent.parent.parent
DAY = date(2026, 3, 4)
COMPONENT = "connector.dagster.components.OpenPanelComponent"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter that has our wheel, and everything the wheel needs, but not this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    packages = next((folder / "venv").glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture
def run(python, tmp_path):
    """Run one of Dagster's tools in the project's folder, as its user would."""

    def run(tool, *arguments, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"PYTHONPATH": "src", "DAGSTER_HOME": str(tmp_path / "home"), "COLUMNS": "200", **variables}
        (tmp_path / "home").mkdir(exist_ok=True)
        here = tmp_path / "shop" if (tmp_path / "shop").exists() else tmp_path
        code = f"import sys; sys.argv[0] = {tool!r}; from importlib.metadata import entry_points; " + (
            f"next(e for e in entry_points(group='console_scripts') if e.name == {tool!r}).load()()"
        )
        done = subprocess.run(
            [python, "-c", code, *arguments], cwd=here, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_a_project_made_with_dg_lands_a_day_from_the_wheel(python, run, tmp_path):
    said = [python, "-c", "import connector; print(connector.__file__)"]
    assert str(ROOT) not in subprocess.run(said, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    run("create-dagster", "project", "shop", "--no-uv-sync")
    assert "OpenPanelComponent" in run("dg", "list", "components")
    run("dg", "scaffold", "defs", COMPONENT, "web", "--start-date", DAY.isoformat())
    run("dg", "scaffold", "defs", COMPONENT, "shop", "--start-date", DAY.isoformat(), "--instance", "shop")
    run("dg", "scaffold", "defs", "connector.dagster.components.UserpilotComponent", "pilot")
    run("dg", "scaffold", "defs", "connector.dagster.components.UpkeepComponent", "upkeep")
    run("dg", "check", "yaml")
    run("dg", "check", "defs")
    listed = run("dg", "list", "defs", "--json")
    keys = {asset["asset_key"] for asset in json.loads(listed[listed.index("{") :])["assets"]}
    assert {"openpanel/events", "openpanel_shop/events", "userpilot/events"} <= keys

    vendor = OpenPanel()
    vendor.load_sample(DAY, DAY)
    with serve(vendor.app) as url:
        of_shop = {
            "OPENPANEL_API_URL": url,
            "OPENPANEL_CLIENT_ID_SHOP": READ.id,
            "OPENPANEL_CLIENT_SECRET_SHOP": READ.secret,
            "OPENPANEL_PROJECT_ID_SHOP": "demo",
        }
        run("dg", "launch", "--assets", "key:openpanel_shop/events", "--partition", DAY.isoformat(), **of_shop)
    with duckdb.connect(str(tmp_path / "shop" / "warehouse.duckdb"), read_only=True) as connection:
        (rows,) = connection.execute("select count(*) from openpanel_shop.events").fetchone()
        (twins,) = connection.execute("select sum(duplicates) from connector.landings").fetchone()
    assert rows + twins == vendor.count(DAY)
