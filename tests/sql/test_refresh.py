"""A full refresh that is killed goes on where it was, with the same command, and ends as one that was not."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from .conftest import DAYS, FIRST
from .project import BY_DAY, PROJECT, TARGET, dbt, everything

DBT = Path(sys.executable).with_name("dbt")


def refresh(path, began, *, until=None):
    """Refresh in a process of its own, killed when it says so often that days of this model are done; what it said."""
    command = [str(DBT), "build", "--full-refresh", "--exclude-resource-type", "unit_test", "test"]
    command += ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--vars"]
    command.append(json.dumps({"rows_at_once": 1, "refresh_began": began.isoformat()}))  # one day a slice
    places = {"WAREHOUSE": str(path), "DBT_TARGET_PATH": TARGET, "PYTHONUNBUFFERED": "1",
              "DBT_LOG_PATH": str(path.parent / "logs")}  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, **places}, stdout=subprocess.PIPE, text=True)
    said = []
    for line in process.stdout:
        said.append(line.rstrip())
        if until and until[0] in line and f", {until[1]} of " in line:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert (process.wait() == 0) == (until is None), said
    return said


def built(path, table):
    with duckdb.connect(str(path), read_only=True) as connection:
        return dict(connection.execute(f"select day, min(built_at) from {table} group by 1").fetchall())


def test_a_day_of_many_rows_is_built_in_parts_and_ends_the_same(once, tmp_path):
    mine = once.copy(tmp_path)
    expected = everything(mine.path)
    split = ("run", "--select", "int_openpanel__session_days", "int_openpanel__user_days", "sessions")
    dbt(*split, "--full-refresh", warehouse=mine.path, variables={"rows_at_once": 100})
    said = (mine.folder / "logs" / "dbt.log").read_text()
    for column in ("session_id", "user_id"):
        assert f"hash({column}) % 7 = 6" in said, "some day has more than 1,200 rows"
    for again in (False, True):
        if again:
            mine.land(DAYS[2:3])
            dbt(*split, warehouse=mine.path, variables={"rows_at_once": 100})
        for name, rows in everything(mine.path).items():
            assert rows.equals(expected[name]), (name, again)


@pytest.fixture(scope="module")
def once(sample, tmp_path_factory):
    """The sample with every model built."""
    mine = sample.copy(tmp_path_factory.mktemp("once"))
    dbt("run", warehouse=mine.path)
    return mine


@pytest.mark.parametrize(
    "model",
    [
        "sessions",
        pytest.param("int_openpanel__session_days", marks=pytest.mark.slow),
        pytest.param("user_lifecycle", marks=pytest.mark.slow),
    ],
)
def test_a_killed_refresh_goes_on_with_the_day_it_was_at(once, model, tmp_path):
    mine = once.copy(tmp_path)
    expected, old = everything(mine.path), built(mine.path, "intermediate.int_openpanel__session_days")
    began = datetime.now(UTC)
    refresh(mine.path, began, until=(f"{model}:", 3))
    assert built(mine.path, "intermediate.int_openpanel__session_days").keys() == old.keys()

    said = [line for line in refresh(mine.path, began) if f"{model}:" in line]

    assert said[0].split(f"{model}: ")[1].startswith(str(DAYS[3])), said
    assert all(str(FIRST) not in line for line in said)
    found = everything(mine.path)
    for name, rows in expected.items():
        assert rows.equals(found[name]), name
    with duckdb.connect(str(mine.path), read_only=True) as connection:
        left = connection.execute("select table_name from duckdb_tables() where table_name like '%dbt_tmp%'").fetchall()
    assert left == []


def test_the_same_command_builds_nothing_twice_and_another_moment_builds_everything(once, tmp_path):
    mine, began = once.copy(tmp_path), datetime(2026, 3, 9, tzinfo=UTC)
    before = {name: built(mine.path, f"marts.{name}") for name in BY_DAY}
    refresh(mine.path, began)
    assert {name: built(mine.path, f"marts.{name}") for name in BY_DAY} == before
    refresh(mine.path, datetime.now(UTC))
    for name, days in before.items():
        assert all(at > days[day] for day, at in built(mine.path, f"marts.{name}").items())


@pytest.mark.slow
def test_a_day_that_lands_while_the_refresh_is_interrupted_is_built_by_the_next_build(once, tmp_path):
    mine = once.copy(tmp_path)
    began = datetime.now(UTC)
    refresh(mine.path, began, until=("sessions:", 3))
    mine.vendor.add("late", at=f"{FIRST}T12:00:00Z", session_id="late", name="screen_view")
    mine.land([FIRST])
    refresh(mine.path, began)
    dbt("run", warehouse=mine.path)
    found = everything(mine.path)
    dbt("run", "--full-refresh", warehouse=mine.path)
    for name, rows in everything(mine.path).items():
        assert rows.equals(found[name]), name
