"""The traps of OpenPanel, each one shown to be there: what a client must survive, its judge must do."""

import json
from datetime import date

import pytest

from connector.sandbox import READ, ROOT, WRITE, OpenPanel, event_id
from connector.sandbox.openpanel.request_budget import Budget
from connector.sandbox.openpanel.store import uuid_order

BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
EVERYTHING = (
    "properties,region,longitude,latitude,osVersion,browserVersion,device,brand,model,origin,referrer,referrerName,"
    "referrerType,importedAt,sdkName,sdkVersion,revenue,groups"
)
DAY = "2026-03-04"


def ids(answer):
    return [row["id"] for row in answer.json()["data"]]


def hourly(vendor, count, day=DAY, **fields):
    for hour in range(count):
        vendor.add(f"e{hour}", at=f"{day}T{hour:02d}:00:00Z", **fields)


# ---------- paging


def test_late_events_repeat_rows_and_hide_others_while_the_sum_fits(openpanel):
    """Thirteen rows delivered, thirteen announced, ten unique: offset paging over a day that still grows."""
    ask = openpanel()
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


def test_count_may_move_between_the_two_queries_of_one_page(openpanel):
    """Rows and total are two queries without a snapshot: a page can announce a row it did not see."""
    ask = openpanel()
    hourly(ask.vendor, 3)
    ask.vendor.before_count[1] = lambda: ask.vendor.add("late", at=f"{DAY}T23:00:00Z")
    assert ask.day().json()["meta"] == {"count": 3, "totalCount": 4, "pages": 1, "current": 1}


def test_without_both_dates_page_one_looks_back_and_the_others_do_not(openpanel):
    """Every answer is 200, every page but the first is full, and the rows in between never come."""
    ask = openpanel()
    hourly(ask.vendor, 8, day="2026-03-05")
    hourly(ask.vendor, 24, day="2026-02-01")
    for half in ({}, {"start": "2026-01-01"}, {"end": "2026-12-31"}, {"startDate": DAY, "endDate": DAY, "range": "7d"}):
        pages = [ask.events(limit=20, page=page, **half) for page in (1, 2)]
        assert [answer.json()["meta"]["totalCount"] for answer in pages] == [32, 32]
        assert [len(ids(answer)) for answer in pages] == [8, 12]


def test_old_servers_cut_page_one_even_with_both_dates(openpanel):
    """Servers from before 2026-03-03: a past day loses the rows of its first page that are out of the window."""
    ask = openpanel(page_one_lookback=True)
    hourly(ask.vendor, 24, day=DAY)
    assert len(ids(ask.day(limit=20))) == 12  # yesterday from noon on: within a day of now
    assert len(ids(ask.day(limit=20, page=2))) == 4
    assert ask.day(limit=20).json()["meta"]["totalCount"] == 24
    assert ask.send("GET", "/documentation/json").status_code == 404


def test_limit_and_page_are_clamped_silently(openpanel):
    ask = openpanel()
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


def test_stored_twins_are_neighbours_and_may_be_split_by_a_page_edge(openpanel):
    """The same id stored twice is returned twice; the second one opens the next page."""
    ask = openpanel()
    hourly(ask.vendor, 4)
    ask.vendor.add("e1", at=f"{DAY}T01:00:00Z")
    pages = [ids(ask.day(limit=3, page=page)) for page in (1, 2)]
    assert pages[0][-1] == pages[1][0] == event_id("e1")
    assert ask.day().json()["meta"]["totalCount"] == 5


def test_ties_are_ordered_by_the_second_half_of_the_uuid_first(openpanel):
    """The order of the event store: not the order of the text."""
    ask = openpanel()
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
def test_dates_mean_whole_utc_days_both_included(openpanel, start, end, found):
    ask = openpanel()
    hourly(ask.vendor, 24)
    hourly(ask.vendor, 24, day="2026-03-03")
    assert ask.events(start=start, end=end).json()["meta"]["totalCount"] == found


@pytest.mark.parametrize("text", ["yesterday", "20260304", "1772582400000", "2026-13-01", f"{DAY}T00:00:00 02:00"])
def test_bad_dates_are_500_as_text(openpanel, text):
    ask = openpanel()
    answer = ask.events(start=text, end=DAY)
    assert (answer.status_code, answer.text) == (500, "Internal server error")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert ask.events(start=text).status_code == 200  # alone it is not even read


def test_day_is_the_event_stores_and_not_the_organisations(openpanel):
    ask = openpanel()
    ask.vendor.projects["demo"].organisation.timezone = "America/New_York"
    ask.vendor.add("evening", at=f"{DAY}T02:00:00Z")
    assert len(ids(ask.day())) == 1
    shifted = openpanel(server_timezone="America/New_York")
    shifted.vendor.add("evening", at=f"{DAY}T02:00:00Z")
    assert len(ids(shifted.day())) == 0
    assert len(ids(shifted.day("2026-03-03"))) == 1


# ---------- fields


def test_fields_are_absent_until_they_are_named(openpanel):
    ask = openpanel()
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
    "params",
    [
        {"includes": "device,region"},
        {"includes": ["device", "region"]},
        {"includes": '["device","region"]'},
    ],
)
def test_three_ways_to_name_fields(openpanel, params):
    ask = openpanel()
    ask.vendor.add("e", at=f"{DAY}T10:00:00Z")
    assert {"device", "region"} <= ask.day(**params).json()["data"][0].keys()
    assert "device" not in ask.day(**{"includes[]": "device"}).json()["data"][0]


def test_placeholder_profile_changes_with_every_request(openpanel):
    ask = openpanel()
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
def test_event_names(openpanel, query, names):
    ask = openpanel()
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
def test_refused_parameters_and_their_words(openpanel, query, message):
    ask = openpanel()
    answer = ask.send("GET", f"/export/events?{query}", headers={"openpanel-client-secret": "wrong"})
    assert answer.status_code == 400  # before the credentials are looked at
    assert answer.json() == {"status": 400, "error": "Error", "message": message}


def test_profile_lists_more_than_it_counts(openpanel):
    """The anonymous rows of a profile's devices are listed and not counted: walking by pages loses them."""
    ask = openpanel()
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


def test_created_at_slices_a_day_to_the_millisecond(openpanel):
    ask = openpanel()
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
        (rule("profile.email", "is", "nobody"), {"se", "us", "nowhere"}),
        (rule("groups", "is", "c-01"), {"se", "us", "nowhere"}),
        (rule("no_such_thing", "is", "x"), {"se", "us", "nowhere"}),
        (rule("country", "is"), {"se", "us", "nowhere"}),
    ],
)
def test_filters_that_work_and_filters_that_are_ignored(openpanel, one, found):
    ask = openpanel()
    add, at = ask.vendor.add, f"{DAY}T10:00:00Z"
    add("se", at=at, country="SE", path="/pricing", properties={"a.b": "x", "n": "9", "__query.utm_source": "google"})
    add("us", at=at, country="US", path="/docs", revenue=100, properties={"n": "10"}, profile_id="u-1", device_id="d")
    add("nowhere", at=at)
    ask.vendor.add_profile("u-1", properties={"role": "admin"})
    assert set(ids(filtered(ask, one))) == {event_id(name) for name in found}


def test_event_of_two_matching_groups_comes_twice_and_counts_twice(openpanel):
    ask = openpanel()
    for name in ("c-01", "c-02"):
        ask.vendor.add_group(name, type="company", name=name)
    ask.vendor.add("e", at=f"{DAY}T10:00:00Z", groups=["c-01", "c-02", "unknown"])
    answer = filtered(ask, rule("group.type", "is", "company")).json()
    assert (answer["meta"]["totalCount"], len(answer["data"])) == (2, 2)


# ---------- credentials, routes, budget


def test_order_of_checks(openpanel):
    """Budget, then query, then credentials, then project."""
    ask = openpanel(rate_limit=(3, 10.0))
    wrong = {"openpanel-client-secret": "wrong"}
    statuses = [
        ask.send("GET", "/export/events?limit=x&projectId=other", headers=wrong).status_code,
        ask.send("GET", "/export/events?projectId=other", headers=wrong).status_code,
        ask.send("GET", "/export/events?projectId=other").status_code,
        ask.send("GET", "/export/events?limit=x", headers=wrong).status_code,
    ]
    assert statuses == [400, 401, 403, 429]
    assert ask.vendor.refusals == 1


@pytest.mark.parametrize(("client", "status"), [(READ, 200), (ROOT, 200), (WRITE, 401), (None, 401)])
def test_who_may_read(openpanel, client, status):
    assert openpanel().events(client).status_code == status


def test_window_is_fixed_and_shared_by_nobody_else(openpanel):
    """It opens with the first request, refusals do not prolong it, and requests without a route do not count."""
    ask = openpanel(rate_limit=(2, 10.0))
    first = ask.events()
    assert [first.headers[f"x-ratelimit-{part}"] for part in ("limit", "remaining", "reset")] == ["2", "1", "10"]
    assert ask.send("GET", "/export/nothing").status_code == 404
    assert "x-ratelimit-limit" not in ask.send("GET", "/").headers
    assert ask.events().status_code == 200
    ask.clock.now += 6.5
    refused = ask.events()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "4")
    assert ask.events(ROOT).status_code == 200
    ask.clock.now += 3.5
    assert ask.events().headers["x-ratelimit-remaining"] == "1"
    assert "x-ratelimit-limit" not in openpanel(rate_limit=None).events().headers


def test_manage_refuses_at_twenty_calls_of_any_family():
    """One counter for all families; only the ceiling differs."""
    budget = Budget((100, 10.0), lambda: 0.0)
    spent = [budget.spend("a client") for _ in range(20)]
    assert not any(one.refused for one in spent)
    manage = budget.spend("a client", manage=True)
    assert (manage.refused, manage.headers["x-ratelimit-limit"]) == (True, "20")
    assert not budget.spend("a client").refused
    assert not budget.spend("another client", manage=True).refused


def test_routes(openpanel):
    ask = openpanel()
    assert ask.send("GET", "/export/events/").json()["message"] == "Route GET:/export/events/ not found"
    assert ask.send("POST", "/export/events", json={}).status_code == 404
    assert ask.send("GET", "/healthcheck").json()["ready"] is True
    listed = ask.send("GET", "/documentation/json").json()["paths"]["/export/events"]["get"]["parameters"]
    assert "filters" in [parameter["name"] for parameter in listed]
    assert ask.events(event=["x" * 100] * 140).status_code == 200
    too_long = ask.events(event=["x" * 100] * 160)
    assert too_long.status_code == 431
    assert "content-encoding" not in ask.day(limit=1000).headers


def test_prefix_of_a_self_hosted_server(openpanel):
    ask = openpanel(prefix="/api")
    assert ask.send("GET", "/api/export/events").status_code == 200
    outside = ask.send("GET", "/export/events")
    assert (outside.status_code, outside.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert ask.send("GET", "/api/nothing?a=1").json()["message"] == "Route GET:/nothing?a=1 not found"


def test_requests_are_remembered(openpanel):
    ask = openpanel()
    ask.events(event=["a", "b"], limit=2)
    ask.events(limit="x")
    first, second = ask.vendor.requests
    assert (first.method, first.path, first.status) == ("GET", "/export/events", 200)
    assert first.params == {"event": ["a", "b"], "limit": "2"}
    assert first.headers["openpanel-client-id"] == READ.id
    assert second.status == 400


# ---------- track and import


def tracked(name="screen_view", profile=None, **properties):
    payload = {"name": name, "properties": properties}
    return {"type": "track", "payload": payload | ({"profileId": profile} if profile else {})}


def test_session_end_is_written_late_and_into_the_past(openpanel):
    ask = openpanel()
    ask.track(WRITE, tracked(__path="https://shop.example.com/a?utm_source=google#top"), user_agent=BROWSER)
    ask.clock.now += 60
    ask.track(WRITE, tracked(__path="https://shop.example.com/b"), user_agent=BROWSER)
    day = "2026-03-05"
    assert [row["name"] for row in ask.vendor.rows(day)] == ["screen_view", "screen_view", "session_start"]
    ask.clock.now += 29 * 60
    ask.vendor.tick()
    assert ask.vendor.count(day) == 3
    ask.clock.now += 6 * 60
    rows = ask.day(day, includes="properties,origin").json()["data"]
    assert [row["name"] for row in rows] == ["session_end", "screen_view", "screen_view", "session_start"]
    assert [row["createdAt"][11:] for row in rows] == [
        "12:01:01.000Z",
        "12:01:00.000Z",
        "12:00:00.000Z",
        "11:59:59.900Z",
    ]
    assert rows[0]["properties"] == {"__bounce": "false"}
    assert rows[3]["properties"] == {"__query.utm_source": "google", "__hash": "#top"}
    assert (rows[1]["path"], rows[1]["origin"]) == ("/b", "https://shop.example.com")
    assert len({row["sessionId"] for row in rows}) == 1
    assert rows[0]["profileId"] == rows[0]["deviceId"]


def test_device_that_comes_back_ends_its_old_session(openpanel):
    ask = openpanel()
    ask.track(WRITE, tracked(), user_agent=BROWSER)
    ask.clock.now += 31 * 60
    ask.track(WRITE, tracked(), user_agent=BROWSER)
    names = [row["name"] for row in ask.vendor.rows("2026-03-05")]
    assert names == ["screen_view", "session_start", "session_end", "screen_view", "session_start"]


def test_tracked_events_are_readable_after_a_while(openpanel):
    """200 means queued: the row, its session and a profile can be read some seconds later."""
    ask = openpanel(visible_after=7)
    ask.track(WRITE, tracked(), user_agent=BROWSER)
    assert ask.day("2026-03-05").json()["meta"]["totalCount"] == 0
    ask.clock.now += 7
    assert ask.day("2026-03-05").json()["meta"]["totalCount"] == 2


def test_past_and_future_timestamps(openpanel):
    ask = openpanel()
    for name, moment in (("past", "2026-02-01T01:02:03.004Z"), ("future", "2026-03-05T12:02:00Z"), ("bad", "soon")):
        assert ask.track(WRITE, tracked(name, __timestamp=moment, k="v"), user_agent=BROWSER).status_code == 200
    past = ask.vendor.rows("2026-02-01")[0]
    assert (past["created_at"], past["device_id"], past["session_id"]) == ("2026-02-01T01:02:03.004Z", "", "")
    assert past["properties"] == {"k": "v"}
    now = {row["name"]: row["created_at"] for row in ask.vendor.rows("2026-03-05")}
    assert now["future"] == now["bad"] == "2026-03-05T12:00:00.000Z"
    ask.track(WRITE, tracked("soon", __timestamp="2026-03-05T12:00:59Z"), user_agent=BROWSER)
    assert ask.vendor.rows("2026-03-05")[0]["created_at"] == "2026-03-05T12:00:59.000Z"


def test_servers_have_no_device_and_no_session(openpanel):
    ask = openpanel()
    answer = ask.track(WRITE, tracked("job_done", "u-1"), user_agent="python-httpx/0.28.1")
    assert answer.json()["deviceId"]
    (row,) = ask.vendor.rows("2026-03-05")
    assert (row["device"], row["device_id"], row["session_id"], row["profile_id"]) == ("server", "", "", "u-1")


def test_revenue_and_reserved_names(openpanel):
    ask = openpanel()
    body = tracked("revenue", __revenue=4999, currency="USD")
    assert ask.track(WRITE, body, user_agent=BROWSER).status_code == 200
    stored = ask.vendor.rows("2026-03-05")[0]
    assert (stored["revenue"], stored["properties"]) == (4999, {"currency": "USD"})
    for bad in (-1, 1.5, "5"):
        assert ask.track(WRITE, tracked("revenue", __revenue=bad), user_agent=BROWSER).status_code == 400
    assert ask.track(WRITE, tracked("other", __revenue=7), user_agent=BROWSER).status_code == 200
    assert "reserved" in ask.track(WRITE, tracked("session_end")).json()["message"]
    no_secret = {"openpanel-client-id": WRITE.id, "origin": "https://shop.example.com"}
    ask.vendor.projects["demo"].cors = ["shop.example.com"]
    refused = ask.send("POST", "/track", None, json=body, headers=no_secret)
    assert refused.text == "Ingestion: Revenue tracking is not allowed without a client secret"


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", "FastifyError"), (b"{oops", "FastifyError"), (b"[]", "Error"), (b'{"type":"track"}', "Error")],
)
def test_bodies_that_are_refused(openpanel, content, error):
    answer = openpanel().send("POST", "/track", WRITE, content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_deprecated_routes(openpanel):
    ask = openpanel()
    named = {"user-agent": BROWSER}
    old = {"name": "old", "properties": {"a": 1}, "timestamp": "2020-01-01T00:00:00Z"}
    answer = ask.send("POST", "/event", WRITE, json=old, headers=named)
    assert (answer.status_code, answer.text) == (202, "ok")
    assert ask.vendor.rows("2026-03-05")[0]["name"] == "old"
    profile = {"profileId": "u-1", "properties": {"visits": 1}}
    assert ask.send("POST", "/profile", WRITE, json=profile, headers=named).text == "u-1"
    step = {"profileId": "u-1", "property": "visits", "value": 2}
    assert ask.send("POST", "/profile/increment", WRITE, json=step).status_code == 202
    assert ask.vendor.projects["demo"].profiles["u-1"].properties["visits"] == "3"
    assert ask.send("POST", "/profile/decrement", WRITE, json=step | {"profileId": "x"}).status_code == 404


def test_import_validates_nothing_and_stores_all_or_nothing(openpanel):
    ask = openpanel()
    good = {
        "name": "session_end",
        "properties": {"a": {"b": 1}},
        "created_at": f"{DAY}T10:00:00.999Z",
        "id": event_id("x"),
    }
    assert ask.send("POST", "/import/events", WRITE, json=[good]).status_code == 401
    for bad in ([good, {"name": "x"}], {"name": "x"}, [good | {"created_at": "soon"}]):
        assert ask.send("POST", "/import/events", ROOT, json=bad).status_code == 500
    assert ask.vendor.count(DAY) == 0
    assert ask.send("POST", "/import/events", READ, json=[good, good]).text == "OK"
    assert [row["created_at"] for row in ask.vendor.rows(DAY)] == [f"{DAY}T10:00:00.000Z"] * 2


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
    assert len(ids(ask.events(start=DAY))) == 1  # one end is enough, as promised
    ask.vendor.add("evt_2", at=f"{DAY}T03:00:00Z")
    assert ids(ask.day()) == ["evt_1"]  # the days are the project's


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


# ---------- the sample


def test_sample_is_the_same_every_time_and_has_what_a_real_day_has():
    day = date(2026, 3, 4)
    vendor, again = (OpenPanel.with_sample([day]) for _ in range(2))
    rows = vendor.rows(day)
    assert rows == again.rows(day)
    assert 800 < len(rows) < 1600
    assert len({row["id"] for row in rows}) < len(rows)  # stored duplicates
    assert any(row["country"] == "\0\0" for row in rows)
    wanted = {"screen_view", "session_start", "session_end", "signup", "revenue", "link_out"}
    assert wanted <= {row["name"] for row in rows}
    assert any("__query.utm_source" in row["properties"] for row in rows)
    known = [row for row in rows if row["profile_id"].startswith("u-")]
    assert all(row["groups"] for row in known)
    assert {row["profile_id"] for row in known} <= vendor.projects["demo"].profiles.keys()
    assert vendor.rows("2026-03-07") == []
    assert OpenPanel.with_sample(["2026-03-07"]).count("2026-03-07") < 600  # a Saturday


def test_sample_of_today_grows_with_the_clock(openpanel):
    ask = openpanel()
    today = date(2026, 3, 5)
    ask.vendor.load_sample(today, today)
    noon = ask.vendor.count(today)
    ask.clock.now += 3600
    one = ask.day("2026-03-05").json()["meta"]["totalCount"]
    ask.clock.now += 86_400
    assert noon < one < ask.day("2026-03-05").json()["meta"]["totalCount"]
