"""A day that is landed again changes every mart of that day and leaves the other days as they were."""

import shutil
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from .conftest import DAYS
from .project import BY_DAY, MARTS, dbt, frame, in_order, mart
from .project import DAYS as PARTS

LATE = DAYS[1]
AT = datetime(LATE.year, LATE.month, LATE.day, 23, 58, tzinfo=UTC)


def late_visit(session, *, company="c-01"):
    """A phone that was offline: a visit of an identified person, from the evening into the next day, told only now."""
    usual = {"session_id": session, "device_id": "f" * 32, "profile_id": "u-late", "origin": "https://app.example.com",
             "groups": [company], "country": "SE"}  # fmt: skip
    return [
        {**usual, "id": f"0000000{n}-0000-4000-8000-000000000000", "name": name, "path": path,
         "created_at": (AT + timedelta(seconds=60 * n)).isoformat().replace("+00:00", "Z"), "properties": {}}
        for n, (name, path) in enumerate([("screen_view", "/late"), ("signup", "/signup"), ("screen_view", "/after")])
    ]  # fmt: skip


def everything(path):
    """All marts, with when each row was built."""
    return {name: in_order(frame(path, f"select * from marts.{name}")) for name in MARTS}


def of_other_days(rows, days):
    kept = rows[~rows["day"].map(lambda day: str(day)[:10] in {str(one) for one in days})]
    return in_order(kept.reset_index(drop=True))


@pytest.fixture(scope="module")
def late(built, tmp_path_factory):
    """The built sample, then a late visit in an old day, and only the first of its two days landed and built again."""
    landed = built.copy(tmp_path_factory.mktemp("late"))
    landed.before = everything(landed.path)
    landed.vendor.load(late_visit("late-session"))
    landed.land([LATE])
    dbt("build", "--exclude-resource-type", "unit_test", warehouse=landed.path,
        variables={"min_date": str(LATE), "max_date": str(LATE)})  # fmt: skip
    landed.after = everything(landed.path)
    return landed


@pytest.mark.parametrize("name", [name for name in MARTS if name not in {"feature_adoption", "flow_adoption"}])
def test_a_late_event_reaches_every_mart_of_its_day(late, name):
    before, after = late.before[name], late.after[name]
    shown = [column for column in before if column not in {"built_at", "part_count"}]
    assert not in_order(before[shown]).equals(in_order(after[shown]))


@pytest.mark.parametrize("name", BY_DAY)
def test_rows_of_other_days_are_not_even_built_again(late, name):
    """Equal in every column, the moment they were built included; a funnel looks a day ahead and has one day more."""
    days = [LATE - timedelta(days=1), LATE] if name == "funnel" else [LATE]
    assert of_other_days(late.before[name], days).equals(of_other_days(late.after[name], days))


def test_building_one_day_is_as_good_as_building_all(late, tmp_path):
    """Also for what crosses midnight: the other half of the visit is landed now."""
    other = late.copy(tmp_path)
    other.vendor.load(late_visit("late-session"))
    other.land([LATE + timedelta(days=1)])
    next_day = str(LATE + timedelta(days=1))
    dbt("run", warehouse=other.path, variables={"min_date": next_day, "max_date": next_day})
    found = {name: mart(other.path, name) for name in MARTS}
    found |= {name: mart(other.path, name, schema="intermediate") for name in PARTS}
    visit = found["sessions"].set_index("session_id").loc["late-session"]
    assert (str(visit["day"]), visit["page_views"], visit["exit_path"]) == (str(LATE), 2, "/after")
    pages = {(row.path, str(row.day)): row for row in found["page_performance"].itertuples()}
    assert pages["/late", str(LATE)].entries == 1
    assert pages["/after", str(LATE)].exits == 1  # on the day the visit began
    assert pages["/after", next_day].page_views == 1  # on the day it was seen
    dbt("run", "--full-refresh", warehouse=other.path)
    for name, rows in found.items():
        assert rows.equals(mart(other.path, name, schema="intermediate" if name in PARTS else "marts")), name


@pytest.mark.parametrize("name", ["min_date", "max_date"])
def test_half_a_range_of_days_is_refused(built, name):
    """Everything landed since, built in silence, is not what a user asked for who named a day."""
    with pytest.raises(AssertionError, match=f"given together, and only {name} is: give both"):
        dbt("run", "--select", "daily_active", warehouse=built.path, variables={name: str(LATE)})


def test_without_dates_the_days_landed_since_are_built_and_no_others(built, tmp_path):
    """As cron would run it: the receipts say what was landed, also of a day that has become empty."""
    landed = built.copy(tmp_path)
    before = everything(landed.path)
    gone, changed = DAYS[5], DAYS[3]
    landed.land([changed])
    with duckdb.connect(str(landed.path)) as connection:
        connection.execute(f"delete from openpanel.events where _day = date '{gone}'")
        connection.execute(
            "insert into connector.landings (table_name, day, load_id, landed, status, landed_at) "
            f"values ('openpanel.events', date '{gone}', 'empty', 0, 'landed', now())"
        )
    dbt("run", warehouse=landed.path)
    after = everything(landed.path)
    for name in ("sessions", "page_performance", "channel_performance", "funnel"):
        days = set(after[name]["day"].map(str))
        assert str(gone) in set(before[name]["day"].map(str))
        assert str(gone) not in days, name
        touched = [gone, changed] + (
            [gone - timedelta(days=1), changed - timedelta(days=1)] if name == "funnel" else []
        )
        assert of_other_days(before[name], touched).equals(of_other_days(after[name], touched)), name
    built_again = after["daily_active"].set_index("day")["built_at"]
    assert built_again.loc[changed] > before["daily_active"].set_index("day")["built_at"].loc[changed]
    found = {name: mart(landed.path, name) for name in MARTS}
    dbt("run", "--full-refresh", warehouse=landed.path)
    for name, rows in found.items():
        other = mart(landed.path, name)
        assert rows.equals(other), (name, rows.compare(other))


# A model by day and one that changes single rows, each with the test of its key.
TWICE = [
    ("marts.sessions", "a_session_is_listed_once"),
    ("intermediate.int_first_activity", "int_first_activity_rows_are_listed_once"),
]
NEWEST = {"min_date": str(DAYS[-1]), "max_date": str(DAYS[-1])}


@pytest.fixture
def doubled(built, tmp_path):
    """A built warehouse, and a call that writes a row of its first day twice; the second says when it was built."""
    path = tmp_path / built.path.name
    shutil.copyfile(built.path, path)

    def add(table, built_at):
        day = "first_day" if table.endswith("first_activity") else "day"
        with duckdb.connect(str(path)) as connection:
            connection.execute(
                f"insert into {table} select * replace ({built_at} as built_at) from {table} "
                f"where {day} = date '{DAYS[0]}' limit 1"
            )
        return path

    return add


@pytest.mark.parametrize(("table", "test"), TWICE)
def test_a_row_that_no_build_touched_is_seen_by_dbt_test_alone(doubled, table, test):
    """A night must not pay for years."""
    path = doubled(table, "built_at")
    model = table.partition(".")[2]
    results = dbt("build", "--select", model, warehouse=path, variables=NEWEST)
    assert test in {one.node.name for one in results}
    with pytest.raises(AssertionError, match=test):
        dbt("test", "--select", model, warehouse=path)


@pytest.mark.parametrize(("table", "test"), TWICE)
def test_a_row_that_a_build_wrote_twice_is_seen_by_it(doubled, table, test):
    """The older row of the two was built long ago."""
    path = doubled(table, "now() + interval 1 day")
    with pytest.raises(AssertionError, match=test):
        dbt("build", "--select", table.partition(".")[2], warehouse=path, variables=NEWEST)
