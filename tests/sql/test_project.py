"""The project as others meet it: sources that never lie, every column described, and no vendor too few."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import yaml

import connector
from connector import Warehouse
from connector.catalogue.dbt_sources import main as write_sources
from connector.catalogue.dbt_sources import model_files, source_files
from connector.catalogue.tables import tables

from .conftest import FIRST
from .project import MARTS, PROJECT, ROOT, dbt, frame

STAGING = PROJECT / "models" / "staging"


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_sources_and_generated_models_are_those_of_the_catalogue():
    """After a change of the catalogue: ``python -m connector.sources --models sql/models/staging``."""
    files = source_files() | model_files()
    there = {name: text for name, text in files_below(STAGING).items() if "Made by `python -m" in text.split("\n")[0]}
    assert set(there) == set(files)
    for name, text in files.items():
        assert there[name] == text, f"{name}: see this test's docstring"


def test_only_the_events_have_staging_models_written_by_hand():
    by_hand = {name for name in files_below(STAGING) if name not in source_files() | model_files()}
    assert by_hand == {
        f"{vendor}/{name}"
        for vendor in ("openpanel", "userpilot")
        for name in (f"stg_{vendor}__events.sql", f"_{vendor}__models.yml")
    }


def test_the_command_writes_sources_alone_and_models_on_request(tmp_path):
    """Other projects want the sources; the models need the macros of this project."""
    assert write_sources([str(tmp_path), "shop"]) == 0
    assert files_below(tmp_path) == source_files("shop")
    assert write_sources(["--models", str(tmp_path / "all")]) == 0
    assert files_below(tmp_path / "all") == source_files() | model_files()


def test_the_command_replaces_what_it_wrote_in_its_earlier_layout(tmp_path):
    """dbt allows each source once, so the old files must go; files of other origin stay."""
    made = "# Made by `python -m connector.sources`; a test compares it with the catalogue.\nversion: 2\n"
    (tmp_path / "openpanel.yml").write_text(made)
    (tmp_path / "columns.md").write_text(f"<!-- {made} -->")
    (tmp_path / "userpilot.yml").write_text("version: 2\n")
    (tmp_path / "mine.yml").write_text(made)
    assert write_sources([str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"userpilot.yml", "mine.yml"}


@pytest.mark.parametrize("arguments", [[], ["--models"], ["a", "b", "c"], ["--models", "a", "shop"], ["--help"]])
def test_the_command_says_how_it_is_called(arguments, capsys):
    assert write_sources(arguments) == 2
    assert "usage: python -m connector.sources" in capsys.readouterr().err


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


def test_every_model_has_its_day_in_the_column_day(built):
    """Earlier names of the day are equal to it, and a frame of any staging model can be asked for by day."""
    found = frame(
        built.path,
        "select table_name as t, list(column_name) as names from duckdb_columns() where schema_name = 'staging' "
        "group by 1",
    )
    assert len(found) == len([table for table in tables() if table.vendor])
    never_renamed = {f"stg_{table.vendor}__{table.name}" for table in tables() if table.on_request}
    for row in found.itertuples():
        assert "day" in row.names, row.t
        earlier = {"event_day", "landed_day", "sampled_day", "metric_date"} & set(row.names)
        assert earlier or row.t in never_renamed, row.t
        for name in earlier:
            query = f"select count(*) as n from staging.{row.t} where {name} is distinct from day"
            assert frame(built.path, query)["n"][0] == 0, (row.t, name)
    rows = connector.frame("staging.stg_openpanel__insights_metrics", FIRST, warehouse=Warehouse(built.path))
    assert len(rows) == 1


def test_every_macro_and_its_arguments_are_described():
    described = {
        macro["name"]: [argument["name"] for argument in macro.get("arguments", [])]
        for macro in yaml.safe_load((PROJECT / "macros" / "_macros.yml").read_text())["macros"]
    }
    found = {}
    for path in (PROJECT / "macros").glob("*.sql"):
        for name, arguments in re.findall(r"{% macro (\w+)\((.*?)\)", path.read_text()):
            found[name] = [one.split("=")[0].strip() for one in arguments.split(",") if one.strip()]
    assert described == found


def test_all_promises_were_kept(built):
    """Tests and unit tests of dbt: none warns, none is skipped."""
    assert {str(one.status) for one in built.results} <= {"success", "pass", "no-op"}
    tested = [one for one in built.results if str(one.node.resource_type) == "test"]
    counted = [one for one in built.results if str(one.node.resource_type) in {"unit_test", "unit test"}]
    assert len(tested) >= 30
    assert len(counted) >= len(MARTS)


def test_an_empty_warehouse_and_one_vendor_alone_have_every_model(tmp_path, sample):
    """A project with one vendor, or with nothing landed yet, gets empty marts and no error."""
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


VERBS = (
    ("build",),
    ("run",),
    ("test", "--exclude-resource-type", "unit_test"),
    ("docs", "generate"),
    ("source", "freshness"),
)


@pytest.fixture(scope="module", params=["openpanel", "userpilot"])
def of_one_vendor(request, sample, tmp_path_factory):
    """A vendor's name, and a warehouse in which nothing of the other vendor was ever landed."""
    path = tmp_path_factory.mktemp("one") / "warehouse.duckdb"
    shutil.copy(sample.path, path)
    with duckdb.connect(str(path)) as connection:
        made = {"openpanel", "userpilot", "staging", "intermediate", "marts"} - {request.param}
        for schema in made:  # the models, too: they may have been built there already
            connection.execute(f"drop schema if exists {schema} cascade")
    return request.param, path


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_of_dbt_works_with_one_vendor_alone(of_one_vendor, verb):
    """Tables that will never exist fail neither a model, nor a test, nor the freshness of the sources."""
    _, path = of_one_vendor
    dbt(*verb, warehouse=path)


def test_freshness_of_the_other_vendor_can_be_asked_for_by_name(of_one_vendor):
    vendor, path = of_one_vendor
    for name in ("openpanel", "userpilot"):
        results = dbt("source", "freshness", "--select", f"source:{name}", warehouse=path)
        assert {str(one.status) for one in results} == {"pass"}, (vendor, name)


def test_a_table_that_is_no_longer_landed_is_stale(of_one_vendor, tmp_path):
    """What was never landed passes; what was landed once and is not any more does not."""
    vendor, landed = of_one_vendor
    path = tmp_path / "warehouse.duckdb"
    shutil.copy(landed, path)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"update {vendor}.events set _landed_at = now() - interval 4 day")
    with pytest.raises(AssertionError):
        dbt("source", "freshness", warehouse=path)


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
