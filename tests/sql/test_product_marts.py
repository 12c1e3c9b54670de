"""Marts for product teams: counted a second time by other means, and by day as good as all at once."""

import random
from datetime import date, datetime, timedelta

import duckdb
import pytest

from connector.sandbox import OpenPanel as Vendor
from tests.sql.test_marts import both  # noqa: F401  the fixture

from . import expected, expected_product
from .conftest import Landed
from .project import dbt, equal, frame, in_order, mart
from .test_late_days import LATE, late_visit

WINDOWS = ("active_users", "user_lifecycle")
BEGIN = date(2026, 1, 5)


def test_events_by_day(both):  # noqa: F811
    equal(mart(both.path, "events_by_day"), expected_product.events_by_day(both.events, both.pilot_rows))


def test_active_users(both):  # noqa: F811
    equal(mart(both.path, "active_users"), expected_product.active_users(both.events, both.pilot_rows))


def test_user_lifecycle(both):  # noqa: F811
    equal(mart(both.path, "user_lifecycle"), expected_product.user_lifecycle(both.events, both.pilot_rows))


def test_retention_by_segment(both):  # noqa: F811
    visits = mart(both.path, "sessions")
    found = expected_product.retention_by_segment(both.events, both.pilot_rows, visits)
    equal(mart(both.path, "retention_by_segment"), found)


def test_revenue_by_day(built):
    events = expected.openpanel(built.path)
    found = expected_product.revenue_by_day(events, expected.sessions(events))
    equal(mart(built.path, "revenue_by_day"), found)
    assert found["revenue_cents"].sum() > 0


def test_every_event_is_told_with_its_session_and_person(both):  # noqa: F811
    found = mart(both.path, "event_details").set_index("event_id")
    assert sorted(found.index) == sorted(both.events["id"])
    by_id = both.events.set_index("id").loc[found.index]
    visits = both.visits.set_index("session_id")
    for (_, row), (_, event) in zip(found.iterrows(), by_id.iterrows(), strict=True):
        assert (row["event_name"], row["session_id"], row["user_id"]) == (
            event["name"], event["session_id"], event["user"]
        )  # fmt: skip
        if isinstance(row["session_id"], str):
            visit = visits.loc[row["session_id"]]
            assert (row["session_channel"], row["session_page_views"]) == (visit["channel"], visit["page_views"])
        if isinstance(row["user_id"], str):
            assert row["person_id"] == row["user_id"]


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    """Eighty days of a small product: people who come daily, weekly, once, and again after two months; empty days."""
    chance, vendor, rows = random.Random(3), Vendor(), []
    for person in range(40):
        rhythm, begin = chance.choice([1, 3, 7, 20, 35, 100]), chance.randrange(60)
        for number in range(begin, 80):
            if (number - begin) % rhythm == 0 and chance.random() < 0.8 and number not in (50, 51, 79):
                at = datetime.combine(BEGIN + timedelta(days=number), datetime.min.time()) + timedelta(
                    hours=person % 24
                )
                rows.append(visit(f"{person:02}{number:02}", f"p{person}", at))
    vendor.load(rows)
    landed = Landed(tmp_path_factory.mktemp("season"), vendor)
    landed.days = [BEGIN + timedelta(days=number) for number in range(80)]
    landed.land(landed.days)
    landed.build = lambda **dates: dbt(
        "run", "--select", *(f"+{name}" for name in WINDOWS), warehouse=landed.path,
        variables={name: str(day) for name, day in dates.items()} or None,
    )  # fmt: skip
    landed.build()
    return landed


def visit(number, person, at):
    """A screen view of a device; every second device is of an identified person."""
    return {
        "id": f"0000{number}-0000-4000-8000-000000000000", "name": "screen_view", "device_id": f"d-{person}",
        "profile_id": f"u-{person}" if person[-1] in "02468" else f"d-{person}", "session_id": f"s{number}",
        "created_at": at.isoformat() + "Z", "path": "/", "properties": {},
    }  # fmt: skip


def as_expected(landed):
    events, pilot = expected.openpanel(landed.path), expected.userpilot(landed.path)
    for name in WINDOWS:
        equal(mart(landed.path, name), getattr(expected_product, name)(events, pilot))
    return {name: in_order(frame(landed.path, f"select * from marts.{name}")) for name in WINDOWS}


def days_built_anew(before, after):
    """Days of which a row was built again, by mart."""
    found = {}
    for name in WINDOWS:
        both_of = before[name].merge(after[name], on=["audience", "day"], how="outer", suffixes=("", "_now"))
        anew = both_of[both_of["built_at"] != both_of["built_at_now"]]
        found[name] = {date.fromisoformat(str(day)[:10]) for day in anew["day"]}
    return found


def test_windows_of_a_season_are_right_and_a_late_day_touches_those_that_can_see_it(season):
    """Late events on day 20 make somebody known earlier, who was new on day 60; and one who is gone comes later."""
    before = as_expected(season)
    lifecycle = before["user_lifecycle"]
    for kind in ("new", "returning", "resurrected", "churned"):
        assert lifecycle[f"{kind}_members"].sum() > 0, kind
    late = season.days[20]
    at = datetime(late.year, late.month, late.day, 12)
    (newest,) = frame(
        season.path, "select device_id, min(_day) as day from openpanel.events group by 1 order by 2 desc, 1 limit 1"
    ).itertuples()
    person = newest.device_id.removeprefix("d-")
    season.vendor.load([visit("9901", person, at)])
    season.land([late])
    season.build(min_date=late, max_date=late)
    after = as_expected(season)
    seen_by = {late + timedelta(days=number) for number in range(29)}
    touched = days_built_anew(before, after)
    assert touched["active_users"] <= {late + timedelta(days=number) for number in range(28)}
    first_day = date.fromisoformat(str(newest.day)[:10])
    assert first_day not in seen_by
    assert touched["user_lifecycle"] <= seen_by | {first_day}
    assert first_day in touched["user_lifecycle"]

    # The late event is gone again: its day was a first day, and no longer is.
    season.vendor.remove("00009901-0000-4000-8000-000000000000")
    season.land([late])
    season.build()
    again = as_expected(season)
    assert {
        name: rows.drop(columns="built_at").equals(before[name].drop(columns="built_at"))
        for name, rows in again.items()
    } == dict.fromkeys(WINDOWS, True)


def test_a_day_that_becomes_empty_and_days_after_a_gap_are_as_in_a_first_build(season):
    gone = season.days[40]
    for row in frame(season.path, f"select id from openpanel.events where _day = date '{gone}'").itertuples():
        season.vendor.remove(row.id)
    new = season.days[-1] + timedelta(days=3)
    season.vendor.load([visit("9902", "p2", datetime(new.year, new.month, new.day, 9))])
    season.land([gone, *(season.days[-1] + timedelta(days=number) for number in range(1, 4))])
    season.build()
    step_by_step = {name: rows.drop(columns="built_at") for name, rows in as_expected(season).items()}
    dbt("run", "--full-refresh", "--select", *(f"+{name}" for name in WINDOWS), warehouse=season.path)
    for name, rows in as_expected(season).items():
        assert rows.drop(columns="built_at").equals(step_by_step[name]), name


def test_a_late_visit_changes_its_day_and_no_other(built, tmp_path):
    landed = built.copy(tmp_path)
    before = {
        name: in_order(frame(landed.path, f"select * from marts.{name}"))
        for name in ("events_by_day", "revenue_by_day")
    }
    landed.vendor.load(late_visit("late-session"))
    landed.land([LATE])
    dbt("run", warehouse=landed.path, variables={"min_date": str(LATE), "max_date": str(LATE)})
    for name, rows in before.items():
        now = in_order(frame(landed.path, f"select * from marts.{name}"))
        others = [
            one[one["day"].map(lambda day: str(day)[:10]) != str(LATE)].reset_index(drop=True) for one in (rows, now)
        ]
        assert in_order(others[0]).equals(in_order(others[1])), name
    events = expected.openpanel(landed.path)
    equal(mart(landed.path, "events_by_day"), expected_product.events_by_day(events, expected.userpilot(landed.path)))
    assert not mart(landed.path, "events_by_day").equals(mart(built.path, "events_by_day"))


def test_an_empty_warehouse_has_empty_marts(tmp_path):
    path = tmp_path / "warehouse.duckdb"
    duckdb.connect(str(path)).close()
    for _ in range(2):
        dbt("build", "--exclude-resource-type", "unit_test", warehouse=path)
        for name in (*WINDOWS, "events_by_day", "revenue_by_day", "retention_by_segment", "event_details"):
            assert len(mart(path, name)) == 0, name
