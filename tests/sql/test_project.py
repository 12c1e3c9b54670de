"""The project as others meet it: sources that never lie, every column described, and no vendor too few."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import yaml

from connector.catalogue.dbt_sources import source_files
from connector.catalogue.tables import tables

from .project import MARTS, PROJECT, ROOT, dbt, frame


def test_sources_are_those_of_the_catalogue():
    """After a change of the catalogue: ``python -m connector.sources sql/models/sources``."""
    folder = PROJECT / "models" / "sources"
    files = source_files()
    assert {path.name for path in folder.iterdir()} == set(files)
    for name, text in files.items():
        assert (folder / name).read_text(encoding="utf-8") == text, f"{name}: see this test's docstring"


def test_every_source_column_has_a_type_and_a_description():
    for name, text in source_files("shop").items():
        for source in yaml.safe_load(text)["sources"] if name.endswith(".yml") else []:
            for table in source["tables"]:
                assert all(column["data_type"] and column["description"] for column in table["columns"]), table["name"]


def test_every_landed_table_has_a_staging_model_that_drops_nothing():
    for table in tables():
        if table.vendor:
            name = f"stg_{table.vendor}__{table.name}"
            model = (PROJECT / "models" / "staging" / table.vendor / f"{name}.sql").read_text()
            assert all(word in model for word in ("-- grain:", "-- key:", "-- late:")), name
            missing = [column.name for column in table.columns if column.name not in model]
            assert missing == [], name


def test_models_have_the_columns_that_are_described(built):
    """Names, types and comments in the warehouse are those of the YAML, for all models."""
    found = frame(
        built.path,
        "select schema_name as s, c.column_name as name, table_name as t, data_type as kind, comment from "
        "duckdb_columns() as c where schema_name in ('staging', 'intermediate', 'marts')",
    )
    types = {
        (row.t, row.name): row.kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ") for row in found.itertuples()
    }
    described = {}
    for path in PROJECT.glob("models/*/**/_*.yml"):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            assert model["description"], model["name"]
            for column in model["columns"]:
                assert column["description"], (model["name"], column["name"])
                described[(model["name"], column["name"])] = column["data_type"]
    assert set(types) == set(described)
    wrong = {key: (types[key], kind) for key, kind in described.items() if not types[key].startswith(kind)}
    assert wrong == {}
    commented = {(row.t, row.name) for row in found.itertuples() if isinstance(row.comment, str) and row.comment}
    assert {key for key in described if key[0] in MARTS} <= commented


def test_all_promises_were_kept(built):
    """Tests and unit tests of dbt: none warns, none is skipped."""
    assert {str(one.status) for one in built.results} <= {"success", "pass", "no-op"}
    tested = [one for one in built.results if str(one.node.resource_type) == "test"]
    counted = [one for one in built.results if str(one.node.resource_type) in {"unit_test", "unit test"}]
    assert len(tested) >= 30
    assert len(counted) >= len(MARTS)


def test_an_empty_warehouse_and_one_vendor_alone_have_every_model(tmp_path, sample):
    """Whoever lands one vendor, or nothing yet, gets empty marts and no error."""
    path = tmp_path / "warehouse.duckdb"
    duckdb.connect(str(path)).close()
    dbt("build", "--exclude-resource-type", "unit_test", warehouse=path)
    assert all(frame(path, f"select count(*) as n from marts.{name}")["n"][0] == 0 for name in MARTS)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"attach '{sample.path}' as sample (read_only)")
        connection.execute("create schema openpanel")
        connection.execute("create table openpanel.events as from sample.openpanel.events")
    dbt("build", "--exclude-resource-type", "unit_test", warehouse=path)
    assert frame(path, "select count(*) as n from marts.sessions")["n"][0] > 100
    assert frame(path, "select count(*) as n from marts.people")["n"][0] > 10


def test_it_is_a_package_for_another_project(tmp_path, built):
    """Their project, their profile, their schema rule; a model of theirs selects from a mart of ours."""
    theirs = tmp_path / "theirs"
    (theirs / "models").mkdir(parents=True)
    (theirs / "dbt_project.yml").write_text(
        "name: theirs\nversion: 1.0.0\nconfig-version: 2\nprofile: theirs\n"
        "vars: {openpanel_userpilot: {page_view_event: screen_view}}\n"
    )
    (theirs / "packages.yml").write_text(f"packages:\n  - local: {PROJECT}\n")
    (theirs / "profiles.yml").write_text(
        f"theirs:\n  target: t\n  outputs:\n    t: {{type: duckdb, path: {tmp_path}/w.duckdb, schema: analytics}}\n"
    )
    (theirs / "models" / "busiest_day.sql").write_text(
        "select max_by(day, users) as day from {{ ref('openpanel_userpilot', 'daily_active') }}\n"
    )
    shutil.copy(built.path, tmp_path / "w.duckdb")
    program = str(Path(sys.executable).with_name("dbt"))
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    for command in (["deps"], ["run", "--select", "+busiest_day"]):
        done = subprocess.run(
            [program, "--no-use-colors", *command, "--project-dir", str(theirs), "--profiles-dir", str(theirs)],
            capture_output=True, text=True, cwd=theirs, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
    ours = frame(built.path, "select max_by(day, users) as day from marts.daily_active")
    assert frame(tmp_path / "w.duckdb", "select day from analytics.busiest_day")["day"][0] == ours["day"][0]


@pytest.mark.parametrize("name", MARTS)
def test_every_mart_is_explained_where_users_read(name):
    assert f"`{name}`" in (ROOT / "docs" / "models.md").read_text()
