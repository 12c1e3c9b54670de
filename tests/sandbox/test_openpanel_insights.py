"""The sums of Insights, computed again from the stored rows, on days of 23, 24 and 25 hours."""

import json
import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import pytest

from connector.sandbox import ROOT
from connector.sandbox.openpanel.insights_sums import DIMENSIONS, PREFIXES
from tests.sandbox.factory import AUTUMN, NULS, SPRING, around, local, midnight, seconds_of, stored

MARKS = ("session_start", "session_end")


def visits(vendor, day, *, marked=True, seed=3):
    """Store visits on three local days around a day, some of them across midnight."""
    chance = random.Random(seed)
    first = midnight(day - timedelta(days=1))
    for number in range(120):
        at = first + timedelta(minutes=chance.randrange(71 * 60), seconds=chance.randrange(60))
        if not number:
            at = first + timedelta(hours=23, minutes=59, seconds=59)
        common = {
            "session_id": f"s{seed}-{number}",
            "device_id": f"d{number % 40}",
            "profile_id": f"u{number % 17}" if number % 2 else f"d{number % 40}",
            "origin": "https://app.example.com",
            "country": chance.choice(["SE", "US", ""]),
            "region": chance.choice(["AB", ""]),
            "city": chance.choice(["Stockholm", "東京", ""]),
            "browser": chance.choice(["Chrome", "Firefox"]),
            "browser_version": chance.choice(["1", "2"]),
            "os": chance.choice(["macOS", "Windows", ""]),
            "os_version": chance.choice(["10", ""]),
            "device": chance.choice(["desktop", "mobile"]),
            "brand": chance.choice(["Apple", ""]),
            "model": "",
            "referrer": chance.choice(["https://a.example", ""]),
            "referrer_name": chance.choice(["A", ""]),
            "referrer_type": chance.choice(["search", ""]),
        }
        utm = {"__query": {"utm_source": chance.choice(["news", "ads"]), "utm_term": "x"}} if number % 3 else {}
        size = chance.choice((1, 1, 2, 5)) if number else 5
        rows = []
        for step in range(size):
            name = chance.choice(["screen_view", "screen_view", "signup", "revenue"]) if step else "screen_view"
            money = {"revenue": chance.randrange(1, 99)} if name == "revenue" else {}
            path = chance.choice(["/", "/a", "/b"])
            rows.append({**common, "id": f"{seed}-{number}-{step}", "at": at, "name": name, "path": path, **money})
            at += timedelta(seconds=chance.choice((1, 40, 900)))
        rows[0]["properties"] = utm
        if marked:
            start = rows[0]["at"] - timedelta(milliseconds=100)
            rows.insert(0, {**rows[0], "id": f"{seed}-{number}-start", "at": start, "name": "session_start"})
            end = rows[-1]["at"] + timedelta(seconds=1)
            rows.append({**rows[-1], "id": f"{seed}-{number}-end", "at": end, "name": "session_end", "revenue": 0})
        vendor.load(rows)
    vendor.load([{"id": f"{seed}-server", "at": first, "name": "screen_view", "path": "/server"}])


def span(middle):
    """The three local days that `visits` fills."""
    return {"startDate": around(middle)[0], "endDate": around(middle)[-1]}


def sessions(rows):
    """The rows of each session in order, without `session_start` and `session_end`."""
    found = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["created_at"]):
        if row["session_id"] and row["name"] not in MARKS:
            found[row["session_id"]].append(row)
    return list(found.values())


def summed(visits):
    views = [sum(row["name"] == "screen_view" for row in rows) for rows in visits]
    lengths = [seconds_of(rows[-1]) - seconds_of(rows[0]) for rows in visits]
    lengths = [length for length in lengths if length]
    people = {
        next((r["profile_id"] for r in reversed(rows) if r["profile_id"] != r["device_id"]), rows[0]["profile_id"])
        for rows in visits
    }
    return {
        "bounce_rate": pytest.approx(100 * sum(count <= 1 for count in views) / len(visits), abs=0.006),
        "unique_visitors": len(people),
        "total_sessions": len(visits),
        "avg_session_duration": pytest.approx(sum(lengths) / len(lengths), abs=0.001) if lengths else 0,
        "total_screen_views": sum(views),
        "views_per_session": pytest.approx(sum(views) / len(visits), abs=0.006),
        "total_revenue": sum(row["revenue"] for rows in visits for row in rows),
    }


@pytest.mark.parametrize("middle", [SPRING, AUTUMN])
def test_metrics_of_every_day_and_of_all_of_them(stockholm, middle):
    """A session belongs to the local day of its first event, even if it ends on the next day."""
    visits(stockholm.vendor, middle)
    found = sessions(stored(stockholm.vendor, middle))
    assert len(found) == 120
    assert any(local(rows[0]).date() != local(rows[-1]).date() for rows in found)
    days = around(middle)
    for day in days:
        expected = summed([rows for rows in found if local(rows[0]).date() == day])
        body = stockholm.insights("metrics", startDate=day, endDate=day)
        assert body["metrics"] == expected
        assert sum(point["total_sessions"] for point in body["series"]) == expected["total_sessions"]
    whole = stockholm.insights("metrics", startDate=days[0], endDate=days[-1])
    assert whole["metrics"] == summed(found)
    for day, point in zip(days, whole["series"], strict=True):
        assert point.pop("date") == f"{day}T00:00:00.000Z"
        assert point.pop("_avg_session_duration") == point["avg_session_duration"]
        assert point == summed([rows for rows in found if local(rows[0]).date() == day])


@pytest.mark.parametrize("marked", [True, False])
def test_every_dimension(stockholm, marked):
    """Dimensions are those of a session's first event, with or without `session_start` and `session_end` rows."""
    visits(stockholm.vendor, AUTUMN, marked=marked)
    found = sessions(stored(stockholm.vendor, AUTUMN))
    for column in DIMENSIONS:
        expected = defaultdict(list)
        for rows in found:
            read = rows[0]["properties"].get(f"__query.{column}", "") if column.startswith("utm") else rows[0][column]
            key = (None if read in ("", NULS) else read,)
            expected[(rows[0][PREFIXES[column]], *key) if column in PREFIXES else key].append(rows)
        body = stockholm.insights(column, **span(AUTUMN))
        rows = {tuple(row[key] for key in ("prefix", "name") if key in row): row for row in body}
        assert len(rows) == len(body)
        assert rows.keys() == expected.keys()
        assert [row["sessions"] for row in body] == sorted((len(it) for it in expected.values()), reverse=True)
        for key, row in rows.items():
            sums = summed(expected[key])
            assert row["sessions"] == sums["total_sessions"]
            assert row["pageviews"] == sums["total_screen_views"]
            assert row["revenue"] == sums["total_revenue"]


def test_pages_read_the_event_table(stockholm):
    """Pages also count pageviews without a session, and a row that is stored twice counts twice."""
    visits(stockholm.vendor, AUTUMN)
    stockholm.vendor.add("3-5-0", at="2026-10-25T12:00:00Z", path="/twice", session_id="s")
    stockholm.vendor.add("3-5-0", at="2026-10-25T12:00:00Z", path="/twice", session_id="s")
    expected = defaultdict(list)
    for row in stored(stockholm.vendor, AUTUMN):
        if row["name"] == "screen_view" and local(row).date() == AUTUMN:
            expected[row["origin"], row["path"]].append(row)
    body = stockholm.insights("pages", startDate=AUTUMN, endDate=AUTUMN)
    assert {(row["origin"], row["path"]): (row["sessions"], row["pageviews"], row["revenue"]) for row in body} == {
        key: (len({row["session_id"] for row in rows}), len(rows), 0) for key, rows in expected.items()
    }
    assert [row["pageviews"] for row in body if row["path"] == "/twice"] == [2]
    assert stockholm.vendor.sessions()[-1]["screen_view_count"] >= 1
    assert [it["screen_view_count"] for it in stockholm.vendor.sessions() if it["id"] == "s"] == [1]


@pytest.mark.parametrize(("day", "points"), [(SPRING, 23), (date(2026, 3, 28), 24), (AUTUMN, 25)])
def test_one_day_is_answered_by_the_hour(stockholm, day, points):
    visits(stockholm.vendor, day)
    labels = [point["date"] for point in stockholm.insights("metrics", startDate=day, endDate=day)["series"]]
    assert len(labels) == points
    assert labels.count(f"{day}T02:00:00.000Z") == {23: 0, 24: 1, 25: 2}[points]


def test_a_period_without_sessions_loses_its_first_point(stockholm):
    body = stockholm.insights("metrics", startDate="2026-03-01", endDate="2026-03-03")
    assert [point["date"] for point in body["series"]] == ["2026-03-02T00:00:00.000Z", "2026-03-03T00:00:00.000Z"]
    assert set(body["metrics"].values()) == {0}


def test_sessions_of_no_duration_have_an_internal_null(stockholm):
    stockholm.vendor.add("one", at="2026-03-02T12:00:00Z", session_id="s")
    point = stockholm.insights("metrics", startDate="2026-03-02", endDate="2026-03-03")["series"][0]
    assert (point["_avg_session_duration"], point["avg_session_duration"], point["bounce_rate"]) == (None, 0, 100)


def test_long_periods_are_cut_into_weeks_from_sunday_and_months(stockholm):
    stockholm.vendor.add("one", at="2026-01-02T12:00:00Z", session_id="s")
    series = {
        days: stockholm.insights("metrics", startDate="2026-01-01", endDate=date(2026, 1, 1) + timedelta(days=days - 1))
        for days in (92, 93, 300)
    }
    labels = {days: [point["date"][:10] for point in body["series"]] for days, body in series.items()}
    assert len(labels[92]) == 92
    assert labels[93][:2] == ["2025-12-28", "2026-01-04"]  # the first week begins before the period
    assert labels[300][:2] == ["2026-01-01", "2026-02-01"]


def test_how_dates_are_read(stockholm):
    """A start alone is ignored, a timezone is converted to UTC, and ``7d`` is eight days."""
    for hour in range(0, 12 * 24, 3):
        at = datetime(2026, 2, 22, tzinfo=UTC) + timedelta(hours=hour)
        stockholm.vendor.add(f"e{hour}", at=at.isoformat(), session_id=f"s{hour}")

    def days(**params):
        return sorted({point["date"][:10] for point in stockholm.insights("metrics", **params)["series"]})

    week = [f"2026-02-{day}" for day in (26, 27, 28)] + [f"2026-03-0{day}" for day in range(1, 6)]
    assert days() == days(range="7d") == days(startDate="2026-03-01") == days(startDate="2020-01-01") == week
    assert days(endDate="2026-02-27") == week[:2]
    assert days(startDate="2026-03-01", endDate="2026-03-02", range="30d") == week[3:5]
    assert days(range="today") == week[-1:]
    assert days(range="yesterday") == week[-2:-1]
    assert len(days(range="30d")) == 31
    assert days(range="monthToDate") == week[3:]
    total = stockholm.insights("metrics", startDate="2026-03-02T06:00:00+02:00", endDate="2026-03-02T12:00:00Z")[
        "metrics"
    ]
    local = stockholm.insights("metrics", startDate="2026-03-02 04:00:00", endDate="2026-03-02 12:00:00")["metrics"]
    assert total == local
    for bad in ("nope", "2026-13-01"):
        answer = stockholm.send("GET", "/insights/demo/country", params={"startDate": bad, "endDate": bad})
        assert (answer.status_code, answer.text) == (500, "Internal server error")


def test_filters_know_a_list_of_names_and_ignore_the_rest(stockholm):
    """Path and origin are those of the entry; an unknown name filters nothing."""
    visits(stockholm.vendor, AUTUMN)
    three_days = span(AUTUMN)
    found = sessions(stored(stockholm.vendor, AUTUMN))

    def total(name, operator, *values):
        text = json.dumps([{"name": name, "operator": operator, "value": values}])
        return sum(row["sessions"] for row in stockholm.insights("device", filters=text, **three_days))

    assert total("path", "is", "/a") == sum(rows[0]["path"] == "/a" for rows in found)
    assert total("country", "isNot", "SE") == sum(rows[0]["country"] != "SE" for rows in found)
    assert total("city", "isNull") == sum(rows[0]["city"] == "" for rows in found)
    utm = sum(rows[0]["properties"].get("__query.utm_source") == "ads" for rows in found)
    assert total("utm_source", "contains", "ad") == utm
    assert total("revenue", "gt", 50) == sum(sum(row["revenue"] for row in rows) > 50 for rows in found)
    assert total("properties.plan", "is", "x") == total("profile.email", "is", "x") == len(found)


def test_a_path_filter_counts_pageviews_of_the_page(stockholm):
    visits(stockholm.vendor, SPRING)
    rows = [row for row in stored(stockholm.vendor, SPRING) if row["name"] == "screen_view" and row["path"] == "/a"]
    entered = [visit for visit in sessions(stored(stockholm.vendor, SPRING)) if visit[0]["path"] == "/a"]
    body = stockholm.insights("metrics", filters='[{"name":"path","operator":"is","value":["/a"]}]', **span(SPRING))
    assert body["metrics"]["total_screen_views"] == len(rows)
    assert body["metrics"]["total_sessions"] == len({row["session_id"] for row in rows})
    assert body["metrics"]["unique_visitors"] == len({row["profile_id"] for row in rows})
    assert body["metrics"]["bounce_rate"] == summed(entered)["bounce_rate"]
    by_day = [point["views_per_session"] for point in body["series"]]
    assert body["metrics"]["views_per_session"] == pytest.approx(sum(by_day) / len(by_day))
    assert {point["overall_total_sessions"] for point in body["series"]} == {body["metrics"]["total_sessions"]}


# ---------- rows and pages


def many(vendor, count):
    rows = (
        {"id": f"e{n}", "at": "2026-03-04T10:00:00Z", "session_id": f"s{n}", "path": f"/{n}", "browser": f"b{n}"}
        for n in range(count)
    )
    vendor.load(rows)


def test_todays_routes_have_no_pages_and_at_most_a_thousand_rows(ask):
    many(ask.vendor, 1200)
    for route in ("browser", "pages"):
        bodies = [
            ask.insights(route, **more) for more in ({}, {"limit": 2}, {"limit": 5000}, {"cursor": 2, "limit": 2})
        ]
        assert [len(body) for body in bodies] == [1000] * 4
        assert all(body == bodies[0] for body in bodies)
    text = ask.send("GET", "/insights/demo/browser", params={"limit": "abc"})
    assert text.json()["message"] == "querystring/limit Invalid input: expected number, received string"


@pytest.mark.parametrize("settings", [{"insights": "paged"}, {"dialect": "pages"}])
def test_older_servers_and_the_documentation_page(openpanel, settings):
    ask = openpanel(**settings)
    many(ask.vendor, 120)
    for route in ("browser", "pages"):
        pages = [ask.insights(route, cursor=cursor, limit=1000) for cursor in (1, 2, 3, 4)]
        assert [len(page) for page in pages] == [50, 50, 20, 0]
        names = [row.get("name", row.get("path")) for page in pages for row in page]
        assert len(set(names)) == 120
        assert len(ask.insights(route)) == 10
    assert list(ask.insights("browser")[0]) == ["name", "sessions", "bounce_rate", "avg_session_duration"]
    assert list(ask.insights("pages")[0]) == ["title", "origin", "path", "sessions", "bounce_rate", "avg_duration"]
    assert "total_revenue" not in ask.insights("metrics")["metrics"]
    assert ask.send("GET", "/insights/demo/overview").status_code == 404


def test_the_documentation_writes_names_of_places(openpanel):
    ask = openpanel(dialect="pages")
    place = {"country": "SE", "region": "AB", "session_id": "s", "path": "/"}
    ask.vendor.add("e", at="2026-03-04T10:00:00Z", **place)
    ask.vendor.add("f", at="2026-03-04T10:01:00Z", **place)
    row = {"sessions": 1, "bounce_rate": 0, "avg_session_duration": 60}
    assert ask.insights("country") == [{"name": "Sweden", **row}]
    assert ask.insights("region") == [{"prefix": "Sweden", "name": "Stockholm County", **row}]
    point = {"date": "2026-03-04T00:00:00.000Z", **ask.insights("metrics")["metrics"]}
    assert ask.insights("metrics", startDate="2026-03-03", endDate="2026-03-04")["series"][1] == point


# ---------- whose data


def test_the_path_does_not_matter_to_a_read_client(openpanel, ask):
    """A read client gets its own project for any path; root clients get a 500 for a wrong project."""
    ask.vendor.add_project("other")
    ask.vendor.add_project("foreign", organisation="elsewhere")
    ask.vendor.add("mine", at="2026-03-04T10:00:00Z", session_id="s", browser="Mine")
    for project in ("demo", "other", "foreign", "nowhere"):
        assert [row["name"] for row in ask.insights("browser", project=project)] == ["Mine"]
    assert ask.insights("browser", ROOT, "other") == []
    for project in ("foreign", "nowhere"):
        answer = ask.send("GET", f"/insights/{project}/browser", ROOT)
        assert (answer.status_code, answer.text) == (500, "Internal server error")
    old = openpanel(insights="paged")
    old.vendor.add_project("foreign", organisation="elsewhere")
    assert old.insights("browser", project="foreign") == []  # any project: old servers do not check
    assert old.send("GET", "/insights/nowhere/browser").status_code == 500
    documented = openpanel(dialect="pages")
    assert documented.send("GET", "/insights/other/browser").status_code == 403


def test_all_families_spend_one_budget(ask):
    ask.day()
    ask.insights("live")
    answer = ask.send("GET", "/export/charts")
    assert answer.headers["x-ratelimit-remaining"] == "97"
    managed = ask.send("GET", "/manage/projects", ROOT)
    assert (managed.headers["x-ratelimit-limit"], managed.headers["x-ratelimit-remaining"]) == ("20", "19")
    assert [row["id"] for row in managed.json()["data"]] == ["demo"]


def test_faults_reach_reports(ask):
    ask.vendor.faults.add("status", "/insights/*/country", status=503)
    assert ask.send("GET", "/insights/demo/country").status_code == 503
    assert ask.send("GET", "/insights/demo/country").status_code == 200


def test_live_counts_people_of_the_last_five_minutes(ask):
    for name, at, more in (
        ("a", "11:55:00", {"profile_id": "u"}),
        ("b", "11:59:59", {"profile_id": "u"}),
        ("c", "11:59:00", {"device_id": "d"}),
        ("d", "11:54:59", {"profile_id": "late"}),
        ("e", "11:59:00", {}),
        ("f", "12:00:01", {"profile_id": "future"}),
    ):
        ask.vendor.add(name, at=f"2026-03-05T{at}Z", **more)
    assert ask.insights("live") == {"visitors": 2}
    ask.clock.now += 3600
    assert ask.insights("live") == {"visitors": 0}


def kept(ask, *steps, sdk="web", marks=(100, 1000)):
    """The session of some events, ten seconds apart: name, path and person; with its marks."""
    first = 1_772_618_400_000
    rows = [
        {"id": f"e{n}", "at": first + n * 10_000, "name": name, "path": path, "profile_id": person or "device"}
        for n, (name, path, person) in enumerate(steps)
    ]
    before, after = marks
    rows.insert(0, {**rows[0], "id": "start", "at": first - before, "name": "session_start", "sdk_name": sdk})
    rows.append({**rows[-1], "id": "end", "at": rows[-1]["at"] + after, "name": "session_end", "sdk_name": sdk})
    ask.vendor.load([{**row, "session_id": "s", "device_id": "device"} for row in rows])
    found = ask.vendor.sessions()[0]
    return found, seconds_of(found | {"created_at": found["ended_at"]}) - seconds_of(found)


STEPS = [("screen_view", "", None), ("screen_view", "/a", "ada"), ("screen_view", "", "bob"), ("signup", "", None)]


def test_a_live_session_keeps_the_paths_and_people_that_are_known(ask):
    """Empty paths are passed over, the last identified person stays, and later views without a path are events."""
    found, seconds = kept(ask, *STEPS)
    wanted = {"entry_path": "/a", "exit_path": "/a", "profile_id": "bob", "screen_view_count": 2, "event_count": 2}
    assert found.items() >= wanted.items()
    assert (seconds, found["duration"], found["is_bounce"]) == (30, 30_000, False)
    day = {"startDate": "2026-03-04", "endDate": "2026-03-04"}
    assert ask.insights("metrics", **day)["metrics"]["total_screen_views"] == 2


def test_a_session_of_views_without_a_path_has_one_view(ask):
    found, _ = kept(ask, *[("screen_view", "", None)] * 3)
    assert (found["screen_view_count"], found["event_count"], found["is_bounce"]) == (1, 2, True)
    assert (found["entry_path"], found["exit_path"], found["profile_id"]) == ("", "", "device")


def test_a_session_of_an_import_is_dated_by_its_marks(ask):
    """Its paths are those of the first and the last event, also empty ones, and every view counts."""
    found, seconds = kept(ask, *STEPS, sdk="import-session-reconstruction", marks=(1000, 1000))
    wanted = {"entry_path": "", "exit_path": "", "profile_id": "ada", "screen_view_count": 3, "event_count": 1}
    assert found.items() >= wanted.items()
    assert (seconds, found["duration"]) == (32, 30_000)


def test_sessions_follow_the_rows(ask):
    """Sessions are computed again after rows are added or removed."""
    day = {"startDate": "2026-03-04", "endDate": "2026-03-04"}

    def total():
        return ask.insights("metrics", **day)["metrics"]["total_sessions"]

    ask.vendor.add("a", at="2026-03-04T10:00:00Z", session_id="s")
    assert total() == 1
    ask.vendor.add("b", at="2026-03-04T11:00:00Z", session_id="t")
    assert total() == 2
    ask.vendor.remove("a")
    assert total() == 1
    ask.vendor.load([{"id": "c", "at": "2026-03-04T12:00:00Z", "session_id": "u", "name": "session_start"}])
    assert total() == 2
