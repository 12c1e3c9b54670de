"""The page from a tracked event to a tested mart: every file and every command on it, in their order."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sql.conftest import DAYS, sample  # noqa: F401  the fixture
from tests.sql.expected import openpanel
from tests.sql.project import dbt, equal, frame

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "properties.md").read_text()


@pytest.fixture(scope="module")
def followed(sample, tmp_path_factory):  # noqa: F811
    """A folder in which a reader did all that the page says; what each command printed."""
    folder = tmp_path_factory.mktemp("recipe")
    shutil.copy(sample.path, folder / "warehouse.duckdb")
    shutil.copytree(ROOT / "sql", folder / "sql", ignore=shutil.ignore_patterns("target", "logs"))
    said = {}
    steps = re.findall(r"(?ms)`([\w/.]+)`[^`]*?\n\n```(?:yaml|sql)\n(.*?)```|```console\n(.*?)```", PAGE)
    for name, text, commands in steps:
        if name:
            (folder / name).write_text(text)
        for command in commands.splitlines():
            said[command] = ran(folder, *shlex.split(command)[1:])
    return folder, said


def ran(folder, program, *arguments):
    if program == "dbt":
        options = {"warehouse": folder / "warehouse.duckdb", "project": folder / "sql"}
        places = {"--project-dir", "--profiles-dir", "sql"}
        results = dbt(*(one for one in arguments if one not in places), **options)
        return {one.node.name: str(one.status) for one in results}
    command = [sys.executable, "-m", "connector.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_all_its_steps(followed):
    _, said = followed
    assert [command.split()[1].rsplit("/", 1)[-1] for command in said] == ["connector"] * 4 + ["dbt"]


def test_what_the_page_shows_is_what_the_command_says(followed):
    _, said = followed
    shown = re.search(r"(?ms)```\n(openpanel\.events.*?)```", PAGE)[1]
    assert shown == said["$ .venv/bin/connector properties --event report_exported"]


def test_the_mart_is_built_tested_and_right(followed):
    folder, said = followed
    built = said["$ dbt build --project-dir sql --profiles-dir sql"]
    assert {built[name] for name in ("stg_openpanel__report_exported", "exports_by_day")} == {"success"}
    assert set(built.values()) <= {"success", "pass", "no-op"}
    assert {built[name] for name in ("exports_by_day_is_listed_once", "exports_have_rows")} == {"pass"}
    events = openpanel(folder / "warehouse.duckdb")
    exports = events[events["name"] == "report_exported"]
    sent = exports["properties"].map(json.loads)
    exports = exports.assign(format=[one["format"] for one in sent], rows=[int(one["rows"]) for one in sent])
    expected = exports.groupby(["day", "format"], as_index=False).agg(
        exports=("id", "size"), users=("user", lambda users: users.dropna().nunique()), exported_rows=("rows", "sum")
    )
    equal(frame(folder / "warehouse.duckdb", "select * from marts.exports_by_day"), expected)
    assert set(expected["day"]) == {str(day) for day in DAYS}


def test_every_event_of_the_file_has_its_model(followed):
    folder, _ = followed
    made = {file.stem for file in (folder / "sql" / "models" / "staging" / "typed").rglob("stg_*.sql")}
    assert {"stg_openpanel__payment", "stg_openpanel__filter_saved", "stg_userpilot__report_exported"} <= made
    (rows,) = frame(folder / "warehouse.duckdb", "select count(*) as n from staging.stg_openpanel__payment")["n"]
    assert rows > 10
