"""The models from the wheel alone, in somebody else's project: landings and models as components, their own below."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from datetime import date
from pathlib import Path

import duckdb
import pytest

from connector.sandbox import READ, OpenPanel, serve

ROOT = Path(__file__).parent.parent.parent
DAY = date(2026, 3, 4)
COMPONENTS = "connector.dagster.components"
# An asset of the project's own that has the name of one of ours, and one below ours.
THEIRS = """
import dagster as dg
import duckdb


@dg.asset(key=["marts", "sessions"])
def sessions() -> None:
    pass


@dg.asset(key=["reports", "busiest_page"], deps=[dg.AssetKey(["product_marts", "page_performance"])])
def busiest_page() -> dg.MaterializeResult:
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        (path,) = connection.execute("select max_by(path, page_views) from product_marts.page_performance").fetchone()
    return dg.MaterializeResult(metadata={"path": path})
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel):
    """An interpreter that has our wheel, and everything the wheel needs, but not this checkout."""
    folder = wheel.parent
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    packages = next((folder / "venv").glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="module")
def run(python, tmp_path_factory):
    """Run one of Dagster's tools in the project's folder, as its user would."""
    folder = tmp_path_factory.mktemp("project")

    def run(tool, *arguments, **variables):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "OPENPANEL_", "USERPILOT_", "CONNECTOR_", "WAREHOUSE", "DBT_"))
        }
        environment |= {"PYTHONPATH": "src", "DAGSTER_HOME": str(folder / "home"), "COLUMNS": "200", **variables}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"  # where dbt is
        (folder / "home").mkdir(exist_ok=True)
        here = folder / "shop" if (folder / "shop").exists() else folder
        code = f"import sys; sys.argv[0] = {tool!r}; from importlib.metadata import entry_points; " + (
            f"next(e for e in entry_points(group='console_scripts') if e.name == {tool!r}).load()()"
        )
        done = subprocess.run(
            [python, "-c", code, *arguments], cwd=here, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout

    run.folder = folder
    return run


def test_the_wheel_holds_the_project_and_a_manifest_without_a_path_of_this_machine(wheel):
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
        manifest = files.read("connector/sql/manifest.json").decode()
        sql = {
            file.relative_to(ROOT / "sql").as_posix()
            for file in (ROOT / "sql").rglob("*")
            if file.suffix in (".sql", ".yml", ".md") and not {"target", "logs"} & set(file.relative_to(ROOT).parts)
        }
    assert {f"connector/sql/{name}" for name in sql} <= names
    assert not any("/target/" in name or "/logs/" in name for name in names)
    assert str(ROOT) not in manifest
    assert str(Path.home()) not in manifest
    assert len([node for node in json.loads(manifest)["nodes"].values() if node["resource_type"] == "model"]) > 40


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_models_as_components_are_built_below_landings_beside_marts_of_their_own(run):
    run("create-dagster", "project", "shop", "--no-uv-sync")
    assert "ConnectorModelsComponent" in run("dg", "list", "components")
    run("dg", "scaffold", "defs", f"{COMPONENTS}.OpenPanelComponent", "web", "--start-date", DAY.isoformat())
    run("dg", "scaffold", "defs", f"{COMPONENTS}.ConnectorModelsComponent", "models", "--start-date", DAY.isoformat(),
        "--prefix", "product")  # fmt: skip
    project = run.folder / "shop"
    (project / "src" / "shop" / "defs" / "theirs.py").write_text(THEIRS)
    run("dg", "check", "yaml")
    run("dg", "check", "defs")
    listed = run("dg", "list", "defs", "--json")
    found = json.loads(listed[listed.index("{") :])
    keys = {asset["asset_key"] for asset in found["assets"]}
    assert {"openpanel/events", "product_marts/sessions", "marts/sessions", "reports/busiest_page"} <= keys
    assert "product_models_sensor" in {sensor["name"] for sensor in found["sensors"]}

    vendor = OpenPanel()
    vendor.load_sample(DAY, DAY)
    with serve(vendor.app) as url:
        variables = {
            "OPENPANEL_API_URL": url, "OPENPANEL_CLIENT_ID": READ.id, "OPENPANEL_CLIENT_SECRET": READ.secret,
            "OPENPANEL_PROJECT_ID": "demo",
        }  # fmt: skip
        run("dg", "launch", "--assets", "key:openpanel/events", "--partition", DAY.isoformat(), **variables)
        by_day = "+key:product_marts/page_performance and not key:openpanel/events"
        run("dg", "launch", "--assets", by_day, "--partition", DAY.isoformat(), **variables)
        run("dg", "launch", "--assets", "key:reports/busiest_page", **variables)
    with duckdb.connect(str(project / "warehouse.duckdb"), read_only=True) as connection:
        schemas = {
            name for (name,) in connection.execute("select distinct schema_name from duckdb_tables()").fetchall()
        }
        (sessions,) = connection.execute("select count(*) from product_marts.sessions").fetchone()
    assert sessions > 20
    assert "marts" not in schemas
    left = [path for path in project.rglob("*") if path.name in ("target", "manifest.json", "dbt.log")]
    assert left == []
