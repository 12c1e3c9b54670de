"""Charts, computed again from the stored rows, and each fault of the real query on its own."""

import json
import random
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta

import pytest

from connector.sandbox import ROOT
from tests.sandbox.factory import AUTUMN, NULS, SPRING, around, counts, local, midnight, refused, stored

VIEWS = {"name": "screen_view"}


def events(vendor, day, seed=5):
    """Four local days of rows, whole seconds apart."""
    chance = random.Random(seed)
    first = midnight(day - timedelta(days=1))
    for number in range(600):
        at = first + timedelta(seconds=chance.randrange(95 * 3600))
        who = chance.randrange(30)
        vendor.add(
            f"{seed}-{number}",
            at=at.isoformat(),
            name=chance.choice(["screen_view", "screen_view", "purchase", "revenue"]),
            profile_id=f"u{who}",
            session_id=f"s{who}-{chance.randrange(3)}",
            country=chance.choice(["SE", "US"]),
            city=chance.choice(["Stockholm", ""]),
            os=chance.choice(["macOS", "Windows"]),
            groups=chance.choice([[], ["g1"], ["g1", "g2"]]),
            revenue=chance.randrange(1, 100),
            properties={"total": chance.choice(["1.5", "20", "", "many"])},
        )


def instants(first, last):
    """Local days as instants with a zone; the last day ends at its last second."""
    end = midnight(last + timedelta(days=1)) - timedelta(seconds=1)
    return {"startDate": f"{midnight(first):%Y-%m-%dT%H:%M:%SZ}", "endDate": f"{end:%Y-%m-%dT%H:%M:%SZ}"}


def utc_days(first, last):
    """Whole UTC days of March, both included."""
    return {"startDate": f"2026-03-0{first}T00:00:00Z", "endDate": f"2026-03-0{last}T23:59:59Z"}


def measured(segment, rows):
    numbers = [float(row["properties"]["total"]) for row in rows if row["properties"]["total"] in ("1.5", "20")]
    people = {row["profile_id"] for row in rows}
    match segment:
        case "user":
            return len(people)
        case "session":
            return len({row["session_id"] for row in rows})
        case "group":
            return len({group for row in rows for group in row["groups"]})
        case "user_average":
            return len(rows) / len(people)
        case "property_sum":
            return sum(numbers)
        case "property_average":
            return sum(numbers) / len(numbers)
        case "property_max":
            return max(numbers)
        case "property_min":
            return min(numbers)
    return len(rows)


SEGMENTS = ["event", "user", "session", "group", "user_average"]
SEGMENTS += ["property_sum", "property_average", "property_max", "property_min"]


@pytest.mark.parametrize("middle", [SPRING, AUTUMN])
@pytest.mark.parametrize("segment", SEGMENTS)
def test_every_segment_by_local_day(stockholm, middle, segment):
    events(stockholm.vendor, middle)
    days = around(middle)
    rows = [row for row in stored(stockholm.vendor, middle) if row["name"] == "screen_view"]
    expected = {
        f"{day} 00:00:00": pytest.approx(measured(segment, [row for row in rows if local(row).date() == day]))
        for day in days
    }
    asked = {**VIEWS, "segment": segment, "property": "properties.total"}
    series = stockholm.series(asked, **instants(days[0], days[-1]))
    assert counts(series) == expected
    values = list(counts(series).values())
    assert series["metrics"]["sum"] == pytest.approx(sum(values), abs=0.006)
    assert series["metrics"]["average"] == pytest.approx(sum(values) / 3, abs=0.006)
    assert (series["metrics"]["min"], series["metrics"]["max"]) == (min(values), max(values))


def test_the_latest_event_of_every_person(stockholm):
    events(stockholm.vendor, SPRING)
    days = around(SPRING)
    rows = [row for row in stored(stockholm.vendor, SPRING) if local(row).date() in days]
    latest = {}
    for row in sorted(rows, key=lambda row: row["created_at"]):
        latest[row["profile_id"]] = f"{local(row):%Y-%m-%d} 00:00:00"
    asked = {"name": "*", "segment": "one_event_per_user"}
    series = stockholm.series(asked, **instants(days[0], days[-1]))
    assert Counter(latest.values()) == {date: count for date, count in counts(series).items() if count}
    assert "count" not in series["metrics"]


@pytest.mark.parametrize(("middle", "hours", "lost"), [(SPRING, 23, False), (AUTUMN, 24, True)])
def test_hours_of_the_day_the_clock_changes(stockholm, middle, hours, lost):
    """In autumn two hours have one label. The events of the second hour are in no bucket."""
    events(stockholm.vendor, middle)
    rows = [row for row in stored(stockholm.vendor, middle) if local(row).date() == middle]
    expected = Counter(f"{local(row):%Y-%m-%d %H}:00:00" for row in rows if not (lost and local(row).fold))
    series = stockholm.series({"name": "*"}, interval="hour", **instants(middle, middle))
    assert {date: count for date, count in counts(series).items() if count} == expected
    assert len(series["data"]) == hours
    assert (series["metrics"]["sum"] < len(rows)) == lost


def test_weeks_and_months(stockholm):
    events(stockholm.vendor, SPRING)
    rows = [row for row in stored(stockholm.vendor, SPRING) if local(row).date() <= date(2026, 4, 5)]
    span = instants(date(2026, 3, 1), date(2026, 4, 5))
    weeks = Counter(f"{local(row).date() - timedelta(days=local(row).weekday())}" for row in rows)
    found = counts(stockholm.series({"name": "*"}, interval="week", **span))
    assert {date: count for date, count in found.items() if count} == weeks
    assert min(found) == "2026-02-23"  # the Monday before the period
    months = Counter(f"{local(row):%Y-%m}-01" for row in rows)
    assert counts(stockholm.series({"name": "*"}, interval="month", **span)) == months


# ---------- dates


def hourly(vendor, first, last):
    at = datetime.fromisoformat(first).replace(tzinfo=UTC)
    while at < datetime.fromisoformat(last).replace(tzinfo=UTC):
        vendor.add(f"{at}", at=at.isoformat())
        at += timedelta(hours=1)


def test_a_last_day_without_a_time_is_left_out(stockholm, openpanel):
    """A date means midnight UTC; in another timezone, the first and the last bucket are parts of a day."""
    utc = openpanel()
    for ask in (utc, stockholm):
        hourly(ask.vendor, "2026-03-01", "2026-03-06")
    span = {"startDate": "2026-03-02", "endDate": "2026-03-04"}
    assert counts(utc.series(VIEWS, **span)) == {
        "2026-03-02 00:00:00": 24,
        "2026-03-03 00:00:00": 24,
        "2026-03-04 00:00:00": 1,  # the event at midnight
    }
    assert counts(stockholm.series(VIEWS, **span)) == {
        "2026-03-02 00:00:00": 23,
        "2026-03-03 00:00:00": 24,
        "2026-03-04 00:00:00": 2,
    }
    full = instants(date(2026, 3, 2), date(2026, 3, 4))
    assert set(counts(stockholm.series(VIEWS, **full)).values()) == {24}


def test_an_end_of_midnight_counts_its_event_twice_and_the_last_second_is_lost(ask):
    ask.vendor.add("midnight", at="2026-03-03T00:00:00Z")
    ask.vendor.add("late", at="2026-03-03T23:59:59.500Z")
    for start, end, found in (
        ("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z", 1),
        ("2026-03-03T00:00:00Z", "2026-03-03T23:59:59Z", 1),
        ("2026-03-04T00:00:00Z", "2026-03-04T23:59:59Z", 0),
    ):
        body = ask.chart(VIEWS, startDate=start, endDate=end)
        assert body["metrics"]["sum"] == found


def test_presets_are_local_and_a_start_alone_is_ignored(stockholm):
    hourly(stockholm.vendor, "2026-02-20", "2026-03-05T12:00:00")

    def days(**params):
        return [point["date"][:10] for point in stockholm.series(VIEWS, **params)["data"]]

    assert len(days()) == len(days(startDate="2026-03-01")) == 31
    assert days(range="7d")[0] == "2026-02-26"
    assert len(days(range="7d")) == 8
    assert days(range="7d", endDate="2026-02-28T22:59:59Z") == ["2026-02-26", "2026-02-27", "2026-02-28"]
    assert days(range="yesterday") == ["2026-03-04"]
    assert len(days(range="12m", interval="month")) == 13
    stockholm.vendor.add("now", at="2026-03-05T11:45:30Z")
    assert len(stockholm.series(VIEWS, range="30min", interval="minute")["data"]) == 30
    bad = stockholm.send("GET", "/export/charts", params={"startDate": "nope", "endDate": "2026-03-01"})
    assert (bad.status_code, bad.text) == (500, "Internal server error")


# ---------- traps


def test_series_without_events_are_absent_and_lengths_differ(ask):
    ask.vendor.add("a", at="2026-03-01T10:00:00Z")
    ask.vendor.add("b", at="2026-03-03T10:00:00Z", name="purchase")
    span = utc_days(1, 3)
    body = ask.chart(VIEWS, {"name": "nothing"}, {"name": "purchase"}, **span)
    assert [(series["names"], series["event"]["id"]) for series in body["series"]] == [
        (["(A) screen_view"], "A"),
        (["(C) purchase"], "C"),
    ]
    assert [len(series["data"]) for series in body["series"]] == [
        2,
        3,
    ]  # an empty last bucket is not shown
    assert ask.chart({"name": "nothing"}, **span) == {
        "series": [],
        "metrics": {"sum": 0, "average": 0, "min": 0, "max": 0},
    }


def test_breakdowns_are_sorted_by_sum(ask):
    """Series are sorted by sum. Two of them may have one id; only the breakdown distinguishes them."""
    for number, path in enumerate(["/a-b", "/ab", "/ab", "/東京", "/東京", "/東京"]):
        ask.vendor.add(f"e{number}", at=f"2026-03-0{1 + number % 2}T10:00:00Z", path=path, profile_id=f"u{number}")
    span = utc_days(1, 2)
    body = ask.chart(VIEWS, breakdowns=["path"], **span)
    assert [(s["names"], s["metrics"]["sum"], s["metrics"]["count"], s["id"]) for s in body["series"]] == [
        (["screen_view", "/東京"], 3, 3, "screenview-a-screenview"),
        (["screen_view", "/ab"], 2, 2, "screenview-a-screenview-ab"),
        (["screen_view", "/a-b"], 1, 1, "screenview-a-screenview-a-b"),
    ]
    assert body["series"][2]["event"] == {"id": "A", "name": "screen_view", "breakdowns": {"path": "/a-b"}}
    unknown = ask.series(VIEWS, breakdowns=["colour"], **span)
    assert (unknown["names"], unknown["metrics"]["sum"]) == (["screen_view"], 6)


def test_empty_values_shift_the_next_one_to_the_wrong_key(ask):
    for number, (city, system) in enumerate([("", "macOS"), ("Oslo", "macOS"), ("macOS", ""), ("", "")]):
        ask.vendor.add(f"e{number}", at="2026-03-01T10:00:00Z", city=city, os=system)
    span = utc_days(1, 1)
    body = ask.chart(VIEWS, breakdowns=["city", "os"], **span)
    found = {tuple(s["names"][1:]): (s["event"].get("breakdowns"), s["metrics"]["sum"]) for s in body["series"]}
    assert found == {
        ("macOS",): ({"city": "macOS"}, 1),  # two values are merged, and the second one's bucket is lost
        ("Oslo", "macOS"): ({"city": "Oslo", "os": "macOS"}, 1),
        (): (None, 1),
    }


def test_an_empty_bucket_makes_a_country_of_two_nuls(ask):
    ask.vendor.add("a", at="2026-03-01T10:00:00Z", country="SE")
    ask.vendor.add("b", at="2026-03-03T10:00:00Z")
    span = utc_days(1, 3)
    body = ask.chart(VIEWS, breakdowns=["country"], **span)
    assert [(s["names"], s["metrics"]["sum"]) for s in body["series"]] == [
        (["screen_view", NULS], 1),
        (["screen_view", "SE"], 1),
        ([NULS], 0),
    ]
    assert "breakdowns" not in body["series"][2]["event"]
    ask.vendor.add("c", at="2026-03-02T10:00:00Z")
    assert len(ask.chart(VIEWS, breakdowns=["country"], **span)["series"]) == 2


def test_people_and_groups(ask):
    """An event without a group is in no series by group; one in two groups is in both, and counts twice in a filter."""
    ask.vendor.add_group("g1", type="company", name="One")
    ask.vendor.add_group("g2", type="company", name="Two")
    ask.vendor.add_profile("u", properties={"plan": {"tier": "pro"}})
    ask.vendor.add("a", at="2026-03-01T10:00:00Z", groups=["g1", "g2"], profile_id="u")
    ask.vendor.add("b", at="2026-03-01T10:00:00Z", groups=["g1"])
    ask.vendor.add("c", at="2026-03-01T10:00:00Z")
    span = utc_days(1, 1)
    groups = ask.chart(VIEWS, breakdowns=["group.name"], **span)["series"]
    assert {s["names"][1]: s["metrics"]["sum"] for s in groups} == {"One": 2, "Two": 1}
    tiers = ask.chart(VIEWS, breakdowns=["profile.properties.plan.tier"], **span)["series"]
    assert [(s["names"], s["metrics"]["sum"]) for s in tiers] == [(["screen_view"], 2), (["screen_view", "pro"], 1)]
    company = {"name": "group.type", "operator": "is", "value": ["company"]}
    assert ask.series(VIEWS | {"filters": [company]}, **span)["metrics"]["sum"] == 3


def test_filters_and_ignored_names(ask):
    for number, path in enumerate(["/a", "/a", "/b"]):
        ask.vendor.add(f"e{number}", at="2026-03-01T10:00:00Z", path=path)
    span = utc_days(1, 1)

    def total(name):
        item = {"name": name, "operator": "is", "value": ["/a"]}
        return ask.chart(VIEWS | {"filters": [item]}, limit=1, chartType="bar", formula="A*2", **span)["metrics"]["sum"]

    assert (total("path"), total("colour")) == (2, 3)
    both = {"series": json.dumps([{"name": "nothing"}])}
    assert ask.chart(VIEWS, **both, **span)["series"] == []  # the newer parameter takes precedence


def test_property_segments_without_a_property_count(ask):
    ask.vendor.add("a", at="2026-03-01T10:00:00Z", properties={"total": 7}, revenue=3)
    span = utc_days(1, 1)
    for name, found in ((None, 1), ("revenue", 3), ("properties.total", 7), ("colour", 1)):
        asked = VIEWS | {"segment": "property_sum"} | ({"property": name} if name else {})
        assert ask.chart(asked, **span)["metrics"]["sum"] == found


def test_previous_is_matched_by_place(ask):
    for number, day in enumerate([1, 2, 2, 3, 3, 3, 4]):
        ask.vendor.add(f"e{number}", at=f"2026-03-0{day}T10:00:00Z", profile_id=f"u{number}")
    span = utc_days(3, 4)
    series = ask.series(VIEWS, previous="true", **span)
    assert series["data"] == [
        {"date": "2026-03-03 00:00:00", "count": 3, "previous": {"diff": 200, "state": "positive", "value": 1}},
        {"date": "2026-03-04 00:00:00", "count": 1, "previous": {"diff": 100, "state": "negative", "value": 2}},
    ]
    assert series["metrics"]["previous"]["sum"] == {"diff": 33.3, "state": "positive", "value": 3}
    assert series["metrics"]["previous"]["min"] == {"diff": None, "state": "neutral", "value": 1}
    assert "previous" not in ask.series(VIEWS, **span)["metrics"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"previous": "yes"}, "querystring/previous Invalid input: expected boolean, received string"),
        ({"startDate": "20260301"}, "querystring/startDate Invalid input: expected string, received number"),
        ({"breakdowns": "country"}, "querystring/breakdowns Invalid input: expected array, received string"),
        ({"events": '["a"]'}, "querystring/events/0 Invalid input: expected object, received string"),
        (
            {"series": '[{"name":"a","filters":[{"name":"b","operator":"is"}]}]'},
            "querystring/series/0/filters/0/value Invalid input: expected array, received undefined",
        ),
    ],
)
def test_refusals(openpanel, params, message):
    answer = openpanel().send("GET", "/export/charts", params=params)
    assert refused(answer) == (400, message)


def test_the_project_is_checked_as_for_events(ask):
    ask.vendor.add_project("other")
    assert ask.send("GET", "/export/charts", params={"projectId": "other"}).status_code == 403
    assert ask.send("GET", "/export/charts", ROOT, params={"projectId": "nowhere"}).status_code == 404


# ---------- the documentation


def test_the_documentation_promises_instants_whole_days_and_every_bucket(openpanel):
    ask = openpanel(dialect="pages")
    ask.vendor.add_project("demo", timezone="Europe/Stockholm")
    hourly(ask.vendor, "2026-03-01", "2026-03-04")
    span = {"startDate": "2026-03-02", "endDate": "2026-03-04"}
    series = ask.series(VIEWS, previous="true", **span)
    assert [(point["date"], point["count"]) for point in series["data"]] == [
        ("2026-03-01T23:00:00.000Z", 24),
        ("2026-03-02T23:00:00.000Z", 24),
        ("2026-03-03T23:00:00.000Z", 1),
    ]
    assert series["data"][2]["previous"] == {"value": 23, "change": -95.65}
    assert series["metrics"]["previous"].keys() == {"sum", "average"}
    assert (series["id"], series["event"]) == ("screen_view", {"id": "evt1", "name": "screen_view"})
    assert ask.series({"name": "nothing"}, **span)["metrics"]["sum"] == 0
    ask.vendor.add("se", at="2026-03-02T10:00:00Z", name="x", country="SE")
    place = ask.series({"name": "x"}, breakdowns=["country"], **span)
    assert (place["id"], place["names"]) == ("x-sweden", ["x", "Sweden"])


def test_sums_of_a_sample_agree_with_its_rows(ask):
    """The chart has the same numbers as the stored rows, by day and by value."""
    ask.vendor.add_project("demo", timezone="Europe/Stockholm")
    ask.vendor.load_sample(date(2026, 2, 27), date(2026, 3, 3))
    expected = defaultdict(Counter)
    for row in stored(ask.vendor, date(2026, 3, 1)):
        if row["name"] == "screen_view" and date(2026, 2, 28) <= local(row).date() <= date(2026, 3, 2):
            expected[row["browser"]][f"{local(row):%Y-%m-%d} 00:00:00"] += 1
    span = instants(date(2026, 2, 28), date(2026, 3, 2))
    body = ask.chart(VIEWS, breakdowns=["browser"], **span)
    assert {
        s["names"][1]: {day: count for day, count in counts(s).items() if count} for s in body["series"]
    } == expected
