"""The faults and oddities of OpenPanel's event export, which a client must survive: each one is simulated."""

import json

import pytest

from connector.sandbox import event_id
from connector.sandbox.openpanel.store import uuid_order
from tests.sandbox.factory import DAY, ids

EVERYTHING = (
    "properties,region,longitude,latitude,osVersion,browserVersion,device,brand,model,origin,referrer,referrerName,"
    "referrerType,importedAt,sdkName,sdkVersion,revenue,groups"
)


def hourly(vendor, count, day=DAY, **fields):
    for hour in range(count):
        vendor.add(f"e{hour}", at=f"{day}T{hour:02d}:00:00Z", **fields)


# ---------- paging


def test_late_events_repeat_rows_and_hide_others_while_the_total_fits(ask):
    """Offset paging over a day that still grows: 13 rows announced, 13 delivered, only 10 of them distinct."""
    hourly(ask.vendor, 10)
    ask.vendor.before_page[2] = lambda: [ask.vendor.add(f"late{n}", at=f"{DAY}T20:0{n}:00Z") for n in range(3)]
    first = ask.day(limit=5)
    rest = [ask.day(limit=5, page=page) for page in (2, 3)]
    delivered = [row for answer in (first, *rest) for row in ids(answer)]
    assert first.json()["meta"]["totalCount"] == 10
    assert rest[-1].json()["meta"] == {"count": 3, "totalCount": 13, "pages": 3, "current": 3}
    assert len(delivered) == 13
    assert len(set(delivered)) == 10
    assert ask.vendor.count(DAY) == 13


def test_total_may_change_between_the_two_queries_of_one_page(ask):
    """Rows and total are two queries without a snapshot, so a total can include a row that no page has."""
    hourly(ask.vendor, 3)
    ask.vendor.before_count[1] = lambda: ask.vendor.add("late", at=f"{DAY}T23:00:00Z")
    assert ask.day().json()["meta"] == {"count": 3, "totalCount": 4, "pages": 1, "current": 1}


def test_without_both_dates_page_one_looks_back_and_the_others_do_not(ask):
    """Every answer is 200 and every page but the first is full, but the rows in between are never delivered."""
    hourly(ask.vendor, 8, day="2026-03-05")
    hourly(ask.vendor, 24, day="2026-02-01")
    for half in ({}, {"start": "2026-01-01"}, {"end": "2026-12-31"}, {"startDate": DAY, "endDate": DAY, "range": "7d"}):
        pages = [ask.events(limit=20, page=page, **half) for page in (1, 2)]
        assert [answer.json()["meta"]["totalCount"] for answer in pages] == [32, 32]
        assert [len(ids(answer)) for answer in pages] == [8, 12]


def test_old_servers_cut_page_one_even_with_both_dates(openpanel):
    """On servers from before 2026-03-03, page 1 of a past day loses the rows outside the look-back window."""
    ask = openpanel(page_one_lookback=True)
    hourly(ask.vendor, 24, day=DAY)
    assert len(ids(ask.day(limit=20))) == 12  # yesterday from noon on, which is within a day of now
    assert len(ids(ask.day(limit=20, page=2))) == 4
    assert ask.day(limit=20).json()["meta"]["totalCount"] == 24
    assert ask.send("GET", "/documentation/json").status_code == 404


def test_limit_and_page_are_clamped_silently(openpanel, ask):
    ask.vendor.load({"id": f"e{n}", "at": f"{DAY}T10:00:00Z"} for n in range(1100))
    sent = {5000: 1000, 1000: 1000, 0: 1, -5: 1, "": 1, "1e2": 100}
    assert {limit: ask.day(limit=limit).json()["meta"]["count"] for limit in sent} == sent
    assert ask.day(page=-3).json()["meta"]["current"] == 1
    assert ask.day(limit=2.5).status_code == 500
    old = openpanel(max_limit=50)
    hourly(old.vendor, 24)
    hourly(old.vendor, 24)
    hourly(old.vendor, 24)
    assert old.day(limit=1000).json()["meta"] == {"count": 50, "totalCount": 72, "pages": 2, "current": 1}


def test_rows_stored_twice_may_be_on_two_pages(ask):
    """An id that is stored twice is returned twice, here as the last row of a page and the first of the next."""
    hourly(ask.vendor, 4)
    ask.vendor.add("e1", at=f"{DAY}T01:00:00Z")
    pages = [ids(ask.day(limit=3, page=page)) for page in (1, 2)]
    assert pages[0][-1] == pages[1][0] == event_id("e1")
    assert ask.day().json()["meta"]["totalCount"] == 5


def test_ties_are_ordered_by_the_second_half_of_the_uuid_first(ask):
    """The event store orders UUIDs differently from their text."""
    low_text = "00000000-0000-4000-bfff-ffffffffffff"
    high_text = "ffffffff-ffff-4fff-8000-000000000000"
    for name in (low_text, high_text):
        ask.vendor.add(name, at=f"{DAY}T10:00:00Z")
    assert ids(ask.day()) == [high_text, low_text]
    assert uuid_order(high_text) < uuid_order(low_text)


# ---------- dates


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (DAY, DAY, 24),
        (f"{DAY}T12:00:00Z", f"{DAY}T12:30:00Z", 24),
        (f"{DAY}T00:00:00+02:00", DAY, 24 + 24),
        ("2026-03", "2026-03-04", 48),
        ("2026-03-05", DAY, 0),
    ],
)
def test_dates_mean_whole_utc_days_both_included(ask, start, end, found):
    hourly(ask.vendor, 24)
    hourly(ask.vendor, 24, day="2026-03-03")
    assert ask.events(start=start, end=end).json()["meta"]["totalCount"] == found


@pytest.mark.parametrize("text", ["yesterday", "20260304", "1772582400000", "2026-13-01", f"{DAY}T00:00:00 02:00"])
def test_bad_dates_are_500_as_text(ask, text):
    answer = ask.events(start=text, end=DAY)
    assert (answer.status_code, answer.text) == (500, "Internal server error")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert ask.events(start=text).status_code == 200  # a start alone is not read


def test_day_is_the_event_stores_and_not_the_organisations(openpanel, ask):
    ask.vendor.projects["demo"].organisation.timezone = "America/New_York"
    ask.vendor.add("evening", at=f"{DAY}T02:00:00Z")
    assert len(ids(ask.day())) == 1
    shifted = openpanel(server_timezone="America/New_York")
    shifted.vendor.add("evening", at=f"{DAY}T02:00:00Z")
    assert len(ids(shifted.day())) == 0
    assert len(ids(shifted.day("2026-03-03"))) == 1


# ---------- fields


def test_fields_are_absent_until_they_are_named(ask):
    ask.vendor.add("e", at=f"{DAY}T10:00:00Z", groups=["c-01"], properties={"a": {"b": [1, True, None]}}, importedAt=0)
    row = ask.day().json()["data"][0]
    assert row["groups"] == []
    assert row["country"] == "\0\0"
    assert "properties" not in row
    row = ask.day(includes=EVERYTHING).json()["data"][0]
    assert row["groups"] == ["c-01"]
    assert row["properties"] == {"a.b.0": "1", "a.b.1": "true"}
    assert row["revenue"] == 0
    assert row["longitude"] is None
    assert row["importedAt"] == "1970-01-01T00:00:00.000Z"
    assert "os_version" not in ask.day(includes="os_version,duration").json()["data"][0]


@pytest.mark.parametrize(
    "params", [{"includes": "device,region"}, {"includes": ["device", "region"]}, {"includes": '["device","region"]'}]
)
def test_three_ways_to_name_fields(ask, params):
    ask.vendor.add("e", at=f"{DAY}T10:00:00Z")
    assert {"device", "region"} <= ask.day(**params).json()["data"][0].keys()
    assert "device" not in ask.day(**{"includes[]": "device"}).json()["data"][0]


def test_placeholder_profile_changes_with_every_request(ask):
    ask.vendor.add("e", at=f"{DAY}T10:00:00Z", profile_id="someone")
    before = ask.day(includes="profile").json()["data"][0]["profile"]
    ask.clock.now += 1
    after = ask.day(includes="profile").json()["data"][0]["profile"]
    assert before["createdAt"] != after["createdAt"]
    assert not before["isExternal"]
    ask.vendor.add_profile("someone", email="someone@example.com", properties={"a": {"b": "1"}})
    known = ask.day(includes="profile").json()["data"][0]["profile"]
    assert (known["email"], known["properties"], known["isExternal"]) == (
        "someone@example.com",
        {"a": {"b": "1"}},
        True,
    )


# ---------- parameters


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("event=a&event=b", ["a", "b"]),
        ('event=["a","b"]', ["a", "b"]),
        ("event=a,b", []),
        ("event[]=a", ["a", "b", "123"]),
        ("event=", []),
        ('event="123"', ["123"]),
        ("event=A", []),
    ],
)
def test_event_names(ask, query, names):
    for name in ("a", "b", "123"):
        ask.vendor.add(name, at=f"{DAY}T10:00:00Z", name=name)
    answer = ask.send("GET", f"/export/events?start={DAY}&end={DAY}&{query}")
    assert sorted(row["name"] for row in answer.json()["data"]) == sorted(names)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("event=123", "querystring/event Invalid input"),
        ("event=true", "querystring/event Invalid input"),
        ('event={"a":1}', "querystring/event Invalid input"),
        ("profileId=123", "querystring/profileId Invalid input: expected string, received number"),
        ("limit=null", "querystring/limit Invalid input: expected number, received NaN"),
        (
            "projectId=1&page=x",
            "querystring/projectId Invalid input: expected string, received number, "
            "querystring/page Invalid input: expected number, received NaN",
        ),
        ("filters=nonsense", "querystring/filters Invalid input: expected array, received string"),
    ],
)
def test_refused_parameters_and_their_words(openpanel, ask, query, message):
    answer = ask.send("GET", f"/export/events?{query}", headers={"openpanel-client-secret": "wrong"})
    assert answer.status_code == 400  # before the credentials are checked
    assert answer.json() == {"status": 400, "error": "Error", "message": message}


def test_profile_lists_more_than_it_counts(ask):
    """The anonymous rows of a profile's devices are listed but not counted, so reading by pages loses them."""
    for hour in range(6):
        ask.vendor.add(f"anonymous{hour}", at=f"{DAY}T{hour:02d}:00:00Z", device_id="d1", profile_id="d1")
    for hour in range(3):
        ask.vendor.add(f"known{hour}", at=f"{DAY}T1{hour}:00:00Z", device_id="d1", profile_id="u-1")
    answer = ask.day(profileId="u-1").json()
    assert answer["meta"] == {"count": 9, "totalCount": 3, "pages": 1, "current": 1}


# ---------- filters


def filtered(ask, *filters, **params):
    return ask.day(filters=json.dumps(filters), **params)


def rule(name, operator, *value, **more):
    return {"name": name, "operator": operator, "value": list(value), **more}


def test_created_at_slices_a_day_to_the_millisecond(ask):
    for ms in range(5):
        ask.vendor.add(f"e{ms}", at=f"{DAY}T10:00:00.00{ms}Z")
    cut = [rule("created_at", "gte", f"{DAY} 10:00:00.001"), rule("createdAt", "lt", f"{DAY} 10:00:00.003")]
    assert set(ids(filtered(ask, *cut))) == {event_id("e1"), event_id("e2")}
    assert filtered(ask, *cut).json()["meta"]["totalCount"] == 2
    seconds = rule("created_at", "gt", f"{DAY} 10:00:00.001", type="datetime")
    assert filtered(ask, seconds).json()["data"] == []
    assert filtered(ask, rule("created_at", "gte", f"{DAY}T10:00:00.001Z")).status_code == 500
    assert filtered(ask, rule("imported_at", "isNull")).status_code == 500


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (rule("country", "is", "SE"), {"se"}),
        (rule("country", "is", ""), {"nowhere"}),
        (rule("country", "isNot", "SE"), {"nowhere", "us"}),
        (rule("path", "contains", "pri", "doc"), {"se", "us"}),
        (rule("path", "doesNotContain", "pri", "doc"), {"nowhere"}),
        (rule("path", "startsWith", "/p"), {"se"}),
        (rule("path", "regex", "^/d.*s$"), {"us"}),
        (rule("path", "isNull"), {"nowhere"}),
        (rule("revenue", "gte", 100), {"us"}),
        (rule("properties.n", "gt", "9"), {"us"}),
        (rule("properties.a.*", "is", "x"), {"se"}),
        (rule("utm_source", "is", "google"), {"se"}),
        (rule("has_profile", "is", "true"), {"us"}),
        (rule("profile.properties.role", "is", "admin"), {"us"}),
        (rule("profileId", "is", "u-1"), {"us"}),
        (rule("profile.email", "is", "x@example.com"), {"se", "us", "nowhere"}),
        (rule("groups", "is", "c-01"), {"se", "us", "nowhere"}),
        (rule("no_such_thing", "is", "x"), {"se", "us", "nowhere"}),
        (rule("country", "is"), {"se", "us", "nowhere"}),
    ],
)
def test_filters_that_work_and_filters_that_are_ignored(ask, one, found):
    add, at = ask.vendor.add, f"{DAY}T10:00:00Z"
    add("se", at=at, country="SE", path="/pricing", properties={"a.b": "x", "n": "9", "__query.utm_source": "google"})
    add("us", at=at, country="US", path="/docs", revenue=100, properties={"n": "10"}, profile_id="u-1", device_id="d")
    add("nowhere", at=at)
    ask.vendor.add_profile("u-1", properties={"role": "admin"})
    assert set(ids(filtered(ask, one))) == {event_id(name) for name in found}


def test_event_of_two_matching_groups_comes_twice_and_counts_twice(ask):
    for name in ("c-01", "c-02"):
        ask.vendor.add_group(name, type="company", name=name)
    ask.vendor.add("e", at=f"{DAY}T10:00:00Z", groups=["c-01", "c-02", "unknown"])
    answer = filtered(ask, rule("group.type", "is", "company")).json()
    assert (answer["meta"]["totalCount"], len(answer["data"])) == (2, 2)


# ---------- the other dialect


def test_documented_dialect_keeps_the_promises_of_the_pages(openpanel):
    ask = openpanel(dialect="pages")
    ask.vendor.projects["demo"].organisation.timezone = "America/New_York"
    ask.vendor.add(
        "evt_1",
        at=f"{DAY}T10:30:00Z",
        path="/dashboard",
        origin="https://example.com",
        country="US",
        region="NY",
        city="New York",
        device="desktop",
        profile_id="user_1",
        properties={"__title": "Dashboard", "nested": {"n": 5, "b": True}},
    )
    ask.vendor.add_profile("user_1", email="user@example.com")
    ask.vendor.add_record("screen_view", description="Page view tracking")
    row = ask.day(includes="profile,meta").json()["data"][0]
    assert row["id"] == "evt_1"
    assert (row["country"], row["region"], row["device"], row["duration"]) == (
        "United States",
        "New York",
        "Desktop",
        0,
    )
    assert row["properties"] == {
        "path": "/dashboard",
        "url": "https://example.com/dashboard",
        "title": "Dashboard",
        "nested": {"n": 5, "b": True},
    }
    assert row["meta"] == {"name": "screen_view", "description": "Page view tracking", "conversion": False}
    assert row["profile"]["email"] == "user@example.com"
    assert "groups" not in row
    assert len(ids(ask.events(start=DAY))) == 1  # one end is enough, as documented
    ask.vendor.add("evt_2", at=f"{DAY}T03:00:00Z")
    assert ids(ask.day()) == ["evt_1"]  # days in the timezone of the project


@pytest.mark.parametrize(
    ("params", "headers", "status", "body"),
    [
        (
            {"limit": "x"},
            {},
            400,
            {
                "error": "Bad Request",
                "message": "Invalid query parameters",
                "details": [{"path": ["limit"], "message": "Expected a positive integer"}],
            },
        ),
        ({}, {"openpanel-client-secret": "x"}, 401, {"error": "Unauthorized", "message": "Invalid client credentials"}),
        ({"projectId": "other"}, {}, 403, {"error": "Forbidden", "message": "You do not have access to this project"}),
    ],
)
def test_documented_dialect_words_its_refusals_as_the_pages_do(openpanel, params, headers, status, body):
    answer = openpanel(dialect="pages").send("GET", "/export/events", params=params, headers=headers)
    assert (answer.status_code, answer.json()) == (status, body)
