"""However days are landed and built, the models come to equal a full refresh."""

import random
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from .project import dbt, everything
from .schedules import OPENPANEL, empty_warehouse, worlds

ZONES = ("UTC", "America/Los_Angeles", "Asia/Tokyo")
# Slices of a few rows, so that a build of many days has many.
VARIABLES = {
    "rows_at_once": 60,
    "funnels": [
        {"name": "near", "steps": ["screen_view", "signup"], "within_hours": 24, "by": "session"},
        {"name": "far", "steps": ["screen_view", "search", "signup"], "within_hours": 49, "by": "visitor"},
    ],
}


@pytest.fixture(scope="module")
def manifest(sample):
    return dbt("parse", warehouse=sample.path, variables=VARIABLES)


def schedule(sample, manifest, folder, seed, count):
    """Worlds change, are landed and built in turns; at last everything is landed, built, and built from nothing."""
    path, chance, made = folder / "warehouse.duckdb", random.Random(seed), worlds(seed, count)
    empty_warehouse(sample.path, path)
    zone = "UTC"

    def build(*arguments, **dates):
        variables = {**VARIABLES, "openpanel_timezone": zone, **dates}
        dbt("run", "--exclude", "staging", "--no-write-json", *arguments,
            warehouse=path, variables=variables, manifest=manifest)  # fmt: skip

    dbt("run", "--select", "staging", warehouse=path, variables=VARIABLES, manifest=manifest)
    for turn in range(chance.randint(3, 5)):
        with duckdb.connect(str(path)) as connection:
            for world in made:
                for _ in range(chance.randint(1, 6)):
                    world.change()
                world.land_some(connection)
        match chance.randrange(5):
            case 0:  # the days of some worlds, whether landed or not; the others' wait
                first = chance.choice(made).first
                build(min_date=str(first), max_date=str(first + timedelta(days=chance.choice((0, 2, 20)))))
            # The days between are landed and not yet built. Before the first build there is nothing to read.
            case 1 if turn:
                build("--select", chance.choice(("int_openpanel__session_days", "sessions", "page_performance")))
            case 2:
                zone = chance.choice(ZONES)
                build("--full-refresh")
            case _:
                build()
    with duckdb.connect(str(path)) as connection:
        for world in made:
            world.land(connection, set(world.dirty))
    build()
    found = everything(path)
    assert len(found["sessions"]) > count
    build("--full-refresh")
    refreshed = everything(path)
    for name, rows in found.items():
        assert rows.equals(refreshed[name]), (seed, name, rows, refreshed[name])


def test_landings_in_any_order_end_as_a_full_refresh(sample, manifest, tmp_path):
    schedule(sample, manifest, tmp_path, "quick", 4)


def test_a_build_of_other_days_leaves_a_day_that_became_empty_to_the_build_that_takes_it_in(sample, manifest, tmp_path):
    """Built from what the models above still had of it, the day would count as built, its sessions stay for ever."""
    path, (world, other) = tmp_path / "warehouse.duckdb", worlds("dates", 2)
    empty_warehouse(sample.path, path)
    dbt("run", "--select", "staging", warehouse=path, variables=VARIABLES, manifest=manifest)

    def build(**dates):
        dbt("run", "--exclude", "staging", "--no-write-json",
            warehouse=path, variables={**VARIABLES, **dates}, manifest=manifest)  # fmt: skip

    def land():
        with duckdb.connect(str(path)) as connection:
            for one in (world, other):
                one.land(connection, set(one.dirty))

    for one in (world, other):
        for day in one.days:
            one.visit(datetime(day.year, day.month, day.day, 12, tzinfo=UTC), session=f"session-{day}")
    land()
    build()
    for key in list(world.rows[OPENPANEL]):
        world.remove(OPENPANEL, key)
    land()
    build(min_date=str(other.first), max_date=str(other.first))
    build()
    found = everything(path)
    assert len(found["sessions"]) == len(other.days)
    build()
    assert found["sessions"].equals(everything(path)["sessions"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_two_hundred_schedules_end_as_a_full_refresh(sample, manifest, tmp_path, seed):
    schedule(sample, manifest, tmp_path, seed, 20)
