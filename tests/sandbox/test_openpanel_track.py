"""Track and Import: what becomes of an accepted event, and the sample the vendor can be filled with."""

from datetime import date

import pytest

from connector.sandbox import READ, ROOT, WRITE, OpenPanel, event_id
from tests.sandbox.factory import DAY

BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)


def tracked(name="screen_view", profile=None, **properties):
    payload = {"name": name, "properties": properties}
    return {"type": "track", "payload": payload | ({"profileId": profile} if profile else {})}


def test_session_end_is_written_late_and_into_the_past(ask):
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


def test_a_later_view_without_a_path_keeps_a_bounce(ask):
    """As the session: after its first event, only page views with a path count."""
    ask.track(WRITE, tracked(__path="https://shop.example.com/a"), user_agent=BROWSER)
    ask.clock.now += 1
    ask.track(WRITE, tracked(), user_agent=BROWSER)
    ask.clock.now += 36 * 60
    ask.vendor.tick()
    (end,) = (row for row in ask.vendor.rows("2026-03-05") if row["name"] == "session_end")
    assert end["properties"] == {"__bounce": "true"}
    assert [one["is_bounce"] for one in ask.vendor.sessions()] == [True]


def test_device_that_comes_back_ends_its_old_session(ask):
    ask.track(WRITE, tracked(), user_agent=BROWSER)
    ask.clock.now += 31 * 60
    ask.track(WRITE, tracked(), user_agent=BROWSER)
    names = [row["name"] for row in ask.vendor.rows("2026-03-05")]
    assert names == ["screen_view", "session_start", "session_end", "screen_view", "session_start"]


def test_tracked_events_are_readable_after_a_while(openpanel):
    """200 means queued: a row, its session and a profile can be read some seconds later."""
    ask = openpanel(visible_after=7)
    ask.track(WRITE, tracked(), user_agent=BROWSER)
    assert ask.day("2026-03-05").json()["meta"]["totalCount"] == 0
    ask.clock.now += 7
    assert ask.day("2026-03-05").json()["meta"]["totalCount"] == 2


def test_past_and_future_timestamps(ask):
    for name, moment in (("past", "2026-02-01T01:02:03.004Z"), ("future", "2026-03-05T12:02:00Z"), ("bad", "soon")):
        assert ask.track(WRITE, tracked(name, __timestamp=moment, k="v"), user_agent=BROWSER).status_code == 200
    past = ask.vendor.rows("2026-02-01")[0]
    assert (past["created_at"], past["device_id"], past["session_id"]) == ("2026-02-01T01:02:03.004Z", "", "")
    assert past["properties"] == {"k": "v"}
    now = {row["name"]: row["created_at"] for row in ask.vendor.rows("2026-03-05")}
    assert now["future"] == now["bad"] == "2026-03-05T12:00:00.000Z"
    ask.track(WRITE, tracked("soon", __timestamp="2026-03-05T12:00:59Z"), user_agent=BROWSER)
    assert ask.vendor.rows("2026-03-05")[0]["created_at"] == "2026-03-05T12:00:59.000Z"


def test_servers_have_no_device_and_no_session(ask):
    answer = ask.track(WRITE, tracked("job_done", "u-1"), user_agent="python-httpx/0.28.1")
    assert answer.json()["deviceId"]
    (row,) = ask.vendor.rows("2026-03-05")
    assert (row["device"], row["device_id"], row["session_id"], row["profile_id"]) == ("server", "", "", "u-1")


def test_revenue_and_reserved_names(openpanel, ask):
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


def changed(kind, profile="u-1", **payload):
    return {"type": kind, "payload": {"profileId": profile, **payload}}


def test_of_several_changes_of_a_profile_within_the_flush_the_last_one_wins(openpanel):
    ask = openpanel(visible_after=10)
    ask.vendor.add_profile("u-1", properties={"orders": "1", "plan": "free"})
    for body in (
        changed("identify", properties={"plan": "pro"}),
        changed("increment", property="orders", value=10),
        changed("decrement", property="orders", value=2),
        changed("increment", property="spent", value=7),
    ):
        assert ask.track(WRITE, body).status_code == 200
    assert ask.insights("profiles/u-1")["profile"]["properties"] == {"orders": "1", "plan": "free"}
    ask.clock.now += 10
    assert ask.insights("profiles/u-1")["profile"]["properties"] == {"orders": "1", "plan": "free", "spent": "7"}

    for body in (changed("increment", property="orders", value=10), changed("assign_group", groupIds=["acme"])):
        ask.track(WRITE, body)
        ask.clock.now += 10
    stored = ask.insights("profiles/u-1")["profile"]
    assert (stored["properties"], stored["groups"]) == ({"orders": "11", "plan": "free", "spent": "7"}, ["acme"])


def test_a_profile_that_is_not_flushed_yet_is_unknown(openpanel):
    ask = openpanel(visible_after=10)
    ask.track(WRITE, changed("identify"))
    step = changed("increment", property="visits", value=1)
    assert ask.track(WRITE, step).status_code == 404
    assert ask.send("GET", "/insights/demo/profiles/u-1").status_code == 404
    ask.clock.now += 10
    assert ask.track(WRITE, step).status_code == 200


def test_the_fraction_of_a_stored_counter_is_lost_before_the_next_change(ask):
    ask.vendor.add_profile("u-1", properties={"spent": "0"})
    for _ in range(2):
        ask.track(WRITE, changed("increment", property="spent", value=12.5))
    assert ask.insights("profiles/u-1")["profile"]["properties"]["spent"] == "24.5"


def test_revenue_above_2_to_the_53_is_rounded_and_that_of_other_events_is_lost(ask):
    for name in ("revenue", "order"):
        assert ask.track(WRITE, tracked(name, __revenue=2**53 + 1), user_agent=BROWSER).status_code == 200
    stored = {row["name"]: row for row in ask.vendor.rows("2026-03-05")}
    assert (stored["revenue"]["revenue"], stored["order"]["revenue"]) == (2**53, 0)
    assert stored["order"]["properties"] == {}


def test_a_client_that_may_only_write_reads_no_profile(ask):
    ask.vendor.add_profile("u-1")
    answers = [ask.send("GET", "/insights/demo/profiles/u-1", client) for client in (WRITE, READ, ROOT)]
    assert [answer.status_code for answer in answers] == [401, 200, 200]


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", "FastifyError"), (b"{oops", "FastifyError"), (b"[]", "Error"), (b'{"type":"track"}', "Error")],
)
def test_bodies_that_are_refused(openpanel, content, error):
    answer = openpanel().send("POST", "/track", WRITE, content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_deprecated_routes(ask):
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


def test_import_validates_nothing_and_stores_all_or_nothing(ask):
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
    assert all(bool(row["groups"]) == (row["imported_at"] is None) for row in known)  # imports drop groups
    assert {row["profile_id"] for row in known} <= vendor.projects["demo"].profiles.keys()
    assert vendor.rows("2026-03-07") == []
    assert OpenPanel.with_sample(["2026-03-07"]).count("2026-03-07") < 600  # a Saturday


def test_sample_of_today_grows_with_the_clock(ask):
    today = date(2026, 3, 5)
    ask.vendor.load_sample(today, today)
    noon = ask.vendor.count(today)
    ask.clock.now += 3600
    one = ask.day("2026-03-05").json()["meta"]["totalCount"]
    ask.clock.now += 86_400
    assert noon < one < ask.day("2026-03-05").json()["meta"]["totalCount"]
