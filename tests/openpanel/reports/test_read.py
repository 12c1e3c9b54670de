"""Aggregates land day by day in the organization's timezone, and agree with the events they are made of."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from connector import EVENTS, ContractError, OpenPanel, RejectedError, Warehouse, sync_day
from connector.catalogue.openpanel import DIMENSIONS
from connector.catalogue.reports import Chart, Filter, Funnel, Series
from connector.http.budget import Unlimited
from connector.openpanel.reports.config import Questions, streams
from connector.sandbox import READ, ROOT
from connector.sandbox import OpenPanel as Vendor

DAY = date(2026, 3, 4)
STOCKHOLM = "Europe/Stockholm"


def visit(vendor, at, session, *, views=1, **fields):
    """One session: a few views, a minute apart."""
    start = datetime.fromisoformat(at)
    for number in range(views):
        moment = (start + timedelta(minutes=number)).isoformat()
        vendor.add(
            f"{session}-{number}", at=moment, session_id=session, profile_id=f"p-{session}", device_id=session, **fields
        )


@pytest.fixture
def week():
    vendor = Vendor()
    visit(
        vendor,
        "2026-03-04T09:00:00+00:00",
        "a",
        views=3,
        country="SE",
        path="/",
        origin="https://x.example",
        browser="Firefox",
    )
    visit(
        vendor,
        "2026-03-04T10:00:00+00:00",
        "b",
        views=1,
        country="SE",
        path="/p",
        origin="https://x.example",
        browser="Chrome",
    )
    visit(
        vendor,
        "2026-03-04T23:30:00+00:00",
        "c",
        views=2,
        country="NO",
        path="/",
        origin="https://x.example",
        browser="Chrome",
    )
    visit(
        vendor,
        "2026-03-05T09:00:00+00:00",
        "d",
        views=1,
        country="DK",
        path="/",
        origin="https://x.example",
        browser="Chrome",
    )
    return vendor


def test_metrics_are_one_row_a_day(week, place):
    here = place(week)
    here.land("insights_metrics")
    assert here.query("select date, total_sessions, total_screen_views from openpanel.insights_metrics") == [
        (DAY, 3, 6)
    ]


def test_days_are_the_organizations(place, week):
    """23:30 UTC on the 4th is the 5th in Stockholm."""
    week.projects["demo"].organisation.timezone = STOCKHOLM
    here = place(week, timezone=STOCKHOLM)
    for day in (DAY, DAY + timedelta(days=1)):
        here.land("insights_metrics", day)
    assert here.query("select date, total_sessions from openpanel.insights_metrics order by 1") == [
        (DAY, 2), (DAY + timedelta(days=1), 2),
    ]  # fmt: skip


def test_all_eighteen_dimensions_land_with_prefix_and_null(week, place):
    here = place(week)
    receipt = here.land("insights_breakdowns")
    assert receipt.requests == 18 + 1, "one call a dimension, and one that proves the project"
    assert {row[0] for row in here.query("select distinct dimension from openpanel.insights_breakdowns")} == set(
        DIMENSIONS
    )
    assert dict(here.query("select name, sessions from openpanel.insights_breakdowns where dimension = 'country'")) == {
        "SE": 2, "NO": 1,
    }  # fmt: skip
    assert here.query(
        "select name, prefix, sessions from openpanel.insights_breakdowns where dimension = 'utm_source'"
    ) == [(None, None, 3)]


def test_a_chosen_subset_of_dimensions(week, place):
    here = place(week)
    receipt = here.land("insights_breakdowns", questions=Questions(dimensions=("country", "browser")))
    assert receipt.requests == 3


def test_filters_reach_the_server(week, place):
    here = place(week)
    only = Questions(filters=(Filter(name="country", operator="is", value=("NO",)),), dimensions=("country",))
    here.land("insights_breakdowns", questions=only)
    here.land("insights_metrics", questions=only)
    assert here.query("select name from openpanel.insights_breakdowns") == [("NO",)]
    assert here.query("select total_sessions from openpanel.insights_metrics") == [(1,)]


def wide(count):
    vendor = Vendor()
    vendor.load(
        {
            "id": f"{n:08x}-0000-4000-8000-000000000000", "name": "screen_view", "session_id": f"s{n}",
            "device_id": f"d{n}", "profile_id": f"d{n}",
            "created_at": f"2026-03-04T{n % 20:02}:{n % 60:02}:00Z", "path": f"/{n}", "origin": "https://x.example",
            "properties": {"__query.utm_campaign": f"c{n}"},
        }
        for n in range(count)
    )  # fmt: skip
    return vendor


def test_a_silent_cut_is_said(place):
    here = place(wide(1200))
    receipt = here.land("insights_pages")
    assert receipt.landed == 1000
    assert receipt.warnings == ("pages was cut at 1000 rows by the vendor",)
    assert here.query("select warnings from connector.landings") == [("pages was cut at 1000 rows by the vendor",)]


@pytest.mark.parametrize("pages", [9, 10, 49, 50, 51, 100, 137])
def test_an_old_server_is_paged_until_a_page_is_short(place, pages):
    vendor = Vendor(insights="paged")
    vendor.load(wide_rows(pages))
    here = place(vendor)
    assert here.land("insights_pages").landed == pages
    assert here.query(
        "select count(*) from openpanel.insights_pages where title is not null or bounce_rate is not null"
    ) == [(pages,)]


def wide_rows(count):
    return (
        {
            "id": f"{n:08x}-0000-4000-8000-000000000000", "name": "screen_view", "session_id": f"s{n}",
            "device_id": f"d{n}", "profile_id": f"d{n}",
            "created_at": f"2026-03-04T{n % 20:02}:{n % 60:02}:00Z", "path": f"/{n}", "origin": "https://x.example",
            "properties": {"__title": f"Page {n}"},
        }
        for n in range(count)
    )  # fmt: skip


@pytest.mark.parametrize("pages", [10, 50])
def test_a_server_that_ignores_the_cursor_is_not_looped_over(place, pages):
    vendor = Vendor()
    vendor.load(wide_rows(pages))
    here = place(vendor)
    receipt = here.land("insights_pages")
    assert (receipt.landed, receipt.requests) == (pages, 3)


def test_a_read_client_of_another_project_is_refused_before_insights_answer(week, place):
    """Insights answer such a client with its own project's numbers and status 200."""
    week.add_project("other")
    here = place(week, project_id="other")
    with pytest.raises(RejectedError, match="OPENPANEL_PROJECT_ID"):
        here.land("insights_metrics")
    assert all("/insights/" not in request.path for request in week.requests)


def test_live_samples_are_appended_and_never_replaced(week, place):
    here = place(week)
    for _ in range(3):
        here.land("insights_live")
    assert here.query("select count(*), count(distinct sampled_at) from openpanel.insights_live") == [(3, 3)]


def test_the_last_value_of_a_repeated_key_lands_and_the_earlier_one_is_kept(week, place):
    """The rule is that of events; the earlier value of a report was gone."""
    here = place(week)
    body = '[{"origin":"https://x.example","path":"/a","title":"old","title":"new","sessions":1}]'
    week.faults.add("other_json", path="/insights/demo/pages", body=body)
    receipt = here.land("insights_pages")
    assert receipt.strangers == {"title (repeated)"}
    assert here.query("select title, _extra::varchar from openpanel.insights_pages") == [
        ("new", '{"title (repeated)":["old"]}')
    ]


def test_an_answer_of_another_shape_is_a_contract_error(week, place):
    here = place(week)
    week.faults.add("other_json", path="/insights/demo/pages")
    with pytest.raises(ContractError):
        here.land("insights_pages")


# ---------- charts


def chart(**options):
    options.setdefault("series", (Series(event="screen_view"),))
    return Questions(charts=(Chart(name="c", **options),))


def test_a_chart_counts_its_last_day(week, place):
    """A plain end date would leave its own day out."""
    here = place(week)
    here.land("charts", questions=chart())
    assert here.query("select date, starts_at::varchar, value from openpanel.charts") == [
        (datetime(2026, 3, 4), "2026-03-04 00:00:00+00", 6.0)
    ]


def test_the_last_second_of_a_day_belongs_to_it(place):
    vendor = Vendor()
    for name, at in (("a", "2026-03-04T23:59:59.500Z"), ("b", "2026-03-05T00:00:00.000Z")):
        vendor.add(name, at=at)
    here = place(vendor)
    for day in (DAY, DAY + timedelta(days=1)):
        here.land("charts", day, questions=chart())
    assert here.query("select value from openpanel.charts order by date") == [(1.0,), (1.0,)]


def test_a_series_without_events_is_zero_and_not_absent(week, place):
    here = place(week)
    here.land("charts", questions=chart(series=(Series(event="screen_view"), Series(event="nothing"))))
    assert dict(here.query("select series, value from openpanel.charts")) == {"screen_view": 6.0, "nothing": 0.0}


def test_missing_hours_are_zeros(week, place):
    here = place(week)
    here.land("charts", questions=chart(interval="hour"))
    found = here.query("select date_part('hour', date), value from openpanel.charts order by 1")
    assert len(found) == 24
    assert {hour: value for hour, value in found if value} == {9: 3.0, 10: 1.0, 23: 2.0}


def test_the_hour_that_happens_twice_is_there_twice(place):
    """In autumn two hours share a label; asked for together, the server loses one."""
    vendor = Vendor()
    vendor.projects["demo"].organisation.timezone = STOCKHOLM
    for name, at in (
        ("first", "2026-10-25T00:30:00Z"),
        ("second", "2026-10-25T01:30:00Z"),
        ("third", "2026-10-25T01:45:00Z"),
    ):
        vendor.add(name, at=at)
    here = place(vendor, timezone=STOCKHOLM)
    here.land("charts", date(2026, 10, 25), questions=chart(interval="hour"))
    assert here.query("select count(*), sum(value) from openpanel.charts") == [(25, 3.0)]
    twice = here.query(
        "select starts_at::varchar, value from openpanel.charts where date_part('hour', date) = 2 order by 1"
    )
    assert twice == [("2026-10-25 00:00:00+00", 1.0), ("2026-10-25 01:00:00+00", 2.0)]


def test_the_short_day_in_spring_has_23_hours(place):
    vendor = Vendor()
    vendor.projects["demo"].organisation.timezone = STOCKHOLM
    vendor.add("a", at="2026-03-29T00:30:00Z")
    here = place(vendor, timezone=STOCKHOLM)
    here.land("charts", date(2026, 3, 29), questions=chart(interval="hour"))
    assert here.query("select count(*), sum(value) from openpanel.charts") == [(23, 1.0)]


@pytest.mark.parametrize(
    ("interval", "day", "rows", "value"),
    [
        ("week", date(2026, 3, 8), 1, 7.0),
        ("week", date(2026, 3, 7), 0, None),
        ("month", date(2026, 3, 31), 1, 7.0),
        ("month", DAY, 0, None),
    ],
)
def test_a_week_or_month_lands_on_its_last_day(week, place, interval, day, rows, value):
    here = place(week)
    receipt = here.land("charts", day, questions=chart(interval=interval))
    assert receipt.landed == rows
    if rows:
        assert here.query("select value from openpanel.charts") == [(value,)]


def test_breakdowns_keep_their_names(week, place):
    week.add("unknown", at="2026-03-04T05:00:00Z", session_id="u", browser="Edge")
    here = place(week)
    here.land("charts", questions=chart(breakdowns=("country",)))
    found = dict(here.query("select breakdowns->>'country', value from openpanel.charts"))
    assert found == {"SE": 4.0, "NO": 2.0, None: 1.0}


def test_a_series_that_the_server_makes_up_does_not_land(week, place):
    """Empty hours of a country chart come back as a series of two NULs and zeros."""
    here = place(week)
    here.land("charts", questions=chart(breakdowns=("country",), interval="hour"))
    assert {row[0] for row in here.query("select breakdowns->>'country' from openpanel.charts")} == {"SE", "NO"}


def test_shifted_values_are_never_under_the_wrong_name(week, place):
    """With two breakdowns an empty city moves the os into its place; such values are told as unplaced."""
    week.add("x", at="2026-03-04T05:00:00Z", city="", os="macOS")
    week.add("y", at="2026-03-04T05:00:00Z", city="Lund", os="macOS")
    here = place(week)
    here.land("charts", questions=chart(breakdowns=("city", "os")))
    found = {row[0] for row in here.query("select breakdowns::varchar from openpanel.charts")}
    assert '{"city":"Lund","os":"macOS"}' in found
    assert '{"unplaced":["macOS"]}' in found
    assert not any('"city":"macOS"' in one for one in found)


def test_the_period_before_stands_beside(week, place):
    here = place(week)
    here.land("charts", DAY + timedelta(days=1), questions=chart(previous=True))
    assert here.query("select value, previous_value, previous_state from openpanel.charts") == [(1.0, 6.0, "negative")]


def test_a_preset_ends_with_the_partitions_day(week, place):
    here = place(week)
    receipt = here.land("charts", DAY + timedelta(days=1), questions=chart(range="7d"))
    assert receipt.landed == 8, "the server's 7d are eight days"
    assert here.query("select sum(value), max(date) from openpanel.charts") == [(7.0, datetime(2026, 3, 5))]


def test_without_charts_nothing_is_asked_of_them(week, place):
    here = place(week)
    assert here.land("charts").landed == 0
    assert all(request.path != "/export/charts" for request in week.requests)


# ---------- funnels

FUNNEL = Questions(funnels=(Funnel(name="f", steps=("screen_view", "signup")),))


@pytest.mark.parametrize("old", [False, True])
def test_a_funnel_uses_the_route_that_the_server_has(place, old):
    vendor = Vendor(dialect="pages") if old else Vendor()
    visit(vendor, "2026-03-04T09:00:00+00:00", "a")
    vendor.add("s", at="2026-03-04T23:30:00Z", name="signup", session_id="a", profile_id="p-a", device_id="a")
    visit(vendor, "2026-03-04T10:00:00+00:00", "b")
    here = place(vendor)
    here.land("funnels", questions=FUNNEL)
    found = here.query("select step, event_name, users from openpanel.funnels order by step")
    assert found == [(1, "screen_view", 2), (2, "signup", 1)]


@pytest.fixture
def older_funnel(tmp_path):
    """Land a funnel from a server that has the documented route alone."""

    def land(funnel, answer):
        def handle(request):
            if request.url.path == "/export/events":
                return httpx.Response(200, json={"meta": {"totalCount": 0, "pages": 0}, "data": []})
            if request.url.path == "/export/funnel":
                return httpx.Response(200, json=answer)
            return httpx.Response(404, json={"message": "Route not found"})

        warehouse = Warehouse(tmp_path / "w.duckdb")
        stream = next(one for one in streams(Questions(funnels=(funnel,))) if one.name == "funnels")
        with OpenPanel(
            url="https://old.example.com",
            client_id=READ.id,
            client_secret=READ.secret,
            project_id="demo",
            budget=Unlimited(),
            transport=httpx.MockTransport(handle),
        ) as client:
            receipt = sync_day(client, stream, DAY, warehouse=warehouse, spool_dir=tmp_path / "s", pauses=())
        with warehouse.read() as connection:
            sql = "select event_name, users, total_users, _extra from openpanel.funnels order by step"
            return receipt, connection.execute(sql).fetchall()

    return land


STEPS = [
    {"event": {"name": "a", "displayName": "Aaa", "id": "A"}, "count": 50, "percent": 100, "dropoffPercent": 0},
    {"event": {"name": "b"}, "count": 20, "percent": 40, "dropoffPercent": 60, "previousCount": 50},
    {"event": "c", "count": 2, "percent": 4, "dropoffPercent": 90},
]


def test_an_older_funnel_keeps_all_that_was_said(older_funnel):
    receipt, rows = older_funnel(Funnel(name="f", steps=("a", "b", "c")), {"totalSessions": 50, "steps": STEPS, "x": 1})

    assert [row[:3] for row in rows] == [("a", 50, 50), ("b", 20, 50), ("c", 2, 50)]
    assert [json.loads(row[3]) for row in rows] == [
        {"x": 1, "event": {"displayName": "Aaa", "id": "A"}},
        {"x": 1, "previousCount": 50},
        {"x": 1},
    ]
    assert receipt.warnings == ()


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"window_hours": 1}, ["window_hours 1"]),
        ({"group_by": "profile_id"}, ["group_by profile_id"]),
        ({"window_hours": 1, "group_by": "profile_id"}, ["window_hours 1", "group_by profile_id"]),
    ],
)
def test_an_older_funnel_says_what_it_did_not_look_at(older_funnel, own, named):
    receipt, _ = older_funnel(Funnel(name="f", steps=("a", "b"), **own), {"totalSessions": 50, "steps": STEPS[:2]})

    (warning,) = receipt.warnings
    assert all(name in warning for name in ("funnel 'f'", *named))


def test_a_day_of_several_questions_announces_what_all_of_them_answered(place, week):
    """The receipt has the sum of all answers, not the number of the last one."""
    two = Series(event="screen_view"), Series(event="signup")
    questions = Questions(
        dimensions=("country", "browser", "region"),
        charts=tuple(Chart(name=f"c{number}", series=two[:number]) for number in (2, 1)),
        funnels=tuple(
            Funnel(name=f"f{number}", steps=("screen_view", "signup", "x")[:number], window_hours=1)
            for number in (3, 2)
        ),
    )
    here = place(week)
    for name in ("insights_breakdowns", "charts", "funnels"):
        receipt = here.land(name, questions=questions)
        (landed,) = here.query(f"select count(*) from openpanel.{name}")[0]
        assert receipt.announced == receipt.received == receipt.landed == landed > 2, name
        assert here.query(f"select vendor_count from connector.coverage where table_name = 'openpanel.{name}'") == [
            (landed,)
        ]


# ---------- agreement with the events


REAL = Path(__file__).parents[4] / "shared" / "data" / "site_access_2015.ndjson.gz"


@pytest.mark.timeout(600)
def test_aggregates_agree_with_the_landed_events_across_a_clock_change(place):
    """Real requests, moved to the days around an autumn clock change, in an organization that is not in UTC."""
    import gzip
    import json
    import os

    file = Path(os.environ.get("REAL_EVENTS", REAL.parent)) / REAL.name
    if not file.exists():
        pytest.skip(f"{REAL.name} is not here: set REAL_EVENTS to the folder that holds it")
    vendor = Vendor()
    vendor.projects["demo"].organisation.timezone = STOCKHOLM
    shift = datetime(2026, 10, 23) - datetime(2015, 5, 17)

    def rows():
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if row["event"] != "page_viewed":
                    continue
                at = datetime.fromisoformat(row["ts"].replace("Z", "")) + shift
                yield {
                    "id": row["event_id"], "name": "screen_view", "created_at": at.isoformat() + "Z",
                    "device_id": row["visitor_id"], "profile_id": row["visitor_id"], "session_id": row["session_id"],
                    "path": row["path"] or "", "origin": "https://blog.example", "referrer": row["referrer"] or "",
                    "browser": (row["user_agent"] or "?").split("/")[0][:20],
                }  # fmt: skip

    total = vendor.load(rows())
    assert total > 3000
    here = place(vendor, timezone=STOCKHOLM, client_id=ROOT.id, client_secret=ROOT.secret)
    utc_days = [date(2026, 10, 23) + timedelta(days=n) for n in range(5)]
    questions = Questions(
        charts=(
            Chart(name="views", series=(Series(event="screen_view"),)),
            Chart(name="hours", series=(Series(event="screen_view"),), interval="hour"),
            Chart(name="people", series=(Series(event="screen_view", segment="user"),)),
        ),
        funnels=(Funnel(name="two", steps=("screen_view", "screen_view")),),
    )
    for day in utc_days:
        sync_day(here.client, EVENTS, day, warehouse=here.warehouse, spool_dir=here.folder / "s")
    local_days = [date(2026, 10, 23) + timedelta(days=n) for n in range(6)]
    for day in local_days:
        for name in ("insights_metrics", "insights_breakdowns", "charts", "funnels"):
            here.land(name, day, questions=questions)
    zone = ZoneInfo(STOCKHOLM)
    events = here.query(
        "select created_at, session_id, profile_id, browser from openpanel.events order by created_at, id"
    )
    assert len(events) == total
    by_day: dict[date, list] = {}
    sessions: dict[str, list] = {}
    for row in events:
        by_day.setdefault(row[0].astimezone(zone).date(), []).append(row)
        sessions.setdefault(row[1], []).append(row)
    started: dict[date, int] = {}
    for session in sessions.values():
        day = session[0][0].astimezone(zone).date()
        started[day] = started.get(day, 0) + 1
    for day in local_days:
        rows_of_day = by_day.get(day, [])
        (views,) = here.query(f"select value from openpanel.charts where chart = 'views' and _day = '{day}'")
        (hours,) = here.query(
            f"select sum(value), count(*) from openpanel.charts where chart = 'hours' and _day = '{day}'"
        )
        (people,) = here.query(f"select value from openpanel.charts where chart = 'people' and _day = '{day}'")
        assert views[0] == hours[0] == len(rows_of_day), day
        assert hours[1] == (25 if day == date(2026, 10, 25) else 24)
        assert people[0] == len({row[2] for row in rows_of_day})
        (metric,) = here.query(
            f"select total_sessions, total_screen_views from openpanel.insights_metrics where date = '{day}'"
        )
        assert metric[0] == started.get(day, 0), day
        (browsers,) = here.query(
            "select coalesce(sum(sessions), 0) from openpanel.insights_breakdowns "
            f"where date = '{day}' and dimension = 'browser'"
        )
        assert browsers[0] == started.get(day, 0), day
        funnel = here.query(f"select users from openpanel.funnels where _day = '{day}' and step = 1")
        if rows_of_day:
            assert funnel == [(len({row[1] for row in rows_of_day}),)], day


# ---------- any question


def test_any_insight_can_be_asked_with_every_parameter(week, place):
    here = place(week)
    answer = here.client.reports.insights(
        "country",
        start=DAY,
        end=DAY + timedelta(days=1),
        filters=[Filter(name="browser", operator="is", value=("Chrome",))],
        cursor=1,
        limit=50,
    )
    assert {row["name"]: row["sessions"] for row in answer} == {"SE": 1, "NO": 1, "DK": 1}
    assert here.client.reports.insights("live") == {"visitors": 0}
    assert "series" in here.client.reports.insights("metrics", preset="30d")
    with pytest.raises(RejectedError, match="half given"):
        here.client.reports.insights("pages", start=DAY)


def test_any_chart_can_be_asked_with_a_preset_or_instants(week, place):
    from datetime import UTC

    here = place(week)
    chart_ = Chart(name="c", series=(Series(event="screen_view"),), range="30min")
    assert here.client.reports.chart(chart_)["series"] == []
    whole = here.client.reports.chart(
        chart_, start=datetime(2026, 3, 4, tzinfo=UTC), end=datetime(2026, 3, 6, tzinfo=UTC)
    )
    assert whole["series"][0]["metrics"]["sum"] == 7


def test_only_the_events_that_were_asked_for_land(week, place):
    week.add("s", at="2026-03-04T11:00:00Z", name="signup")
    week.add("n", at="2026-03-04T11:00:00Z", name="123")
    here = place(week)
    here.land("events", questions=Questions(events=("signup", "123")))
    assert {row[0] for row in here.query("select name from openpanel.events")} == {"signup", "123"}
