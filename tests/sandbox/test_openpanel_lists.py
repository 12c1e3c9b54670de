"""The Insights lists: no pages, silent limits, dates as instants, versions that are not merged, filters."""

import json

import pytest

from connector.sandbox.openpanel.insights_lists import UNDOCUMENTED
from tests.sandbox.factory import DAY, refused


def visits(vendor, count, *, views=1, start="2026-03-04T10:00:00"):
    for number in range(count):
        own = {"session_id": f"s{number}", "device_id": f"d{number}", "profile_id": f"d{number}"}
        for view in range(views):
            at = f"{start[:14]}{number % 60:02}:{view:02}.500Z"
            vendor.add(f"e{number}-{view}", at=at, path=f"/{view}", origin="https://x.example", **own)


def test_lists_hold_a_hundred_rows_and_do_not_say_so(ask):
    visits(ask.vendor, 120)
    for number in range(120):
        ask.vendor.add_group(f"g{number}", type="company", name="G")
    for route in ("sessions", "profiles", "groups"):
        assert len(ask.insights(route, startDate="2026-03-04", limit=100)) == 100
        assert len(ask.insights(route, startDate="2026-03-04")) == 20
        too_many = ask.send("GET", f"/insights/demo/{route}", params={"limit": 101})
        assert refused(too_many) == (400, "querystring/limit Too big: expected number to be <=100")
    assert ask.insights("groups/types") == {"types": ["company"]}


def test_dates_of_sessions_are_instants_in_whole_seconds_both_included(ask):
    ask.vendor.add("a", at=f"{DAY}T10:00:00.000Z", session_id="a")
    ask.vendor.add("b", at=f"{DAY}T10:00:00.500Z", session_id="b")
    ask.vendor.add("c", at=f"{DAY}T10:00:01.000Z", session_id="c")

    def between(start, end):
        return [row["id"] for row in ask.insights("sessions", startDate=start, endDate=end)]

    assert between(f"{DAY}T10:00:00Z", f"{DAY}T10:00:01Z") == ["a", "b", "c"]
    assert between(f"{DAY}T10:00:00Z", f"{DAY}T10:00:00Z") == ["a"]
    assert between(f"{DAY} 10:00:01", f"{DAY} 23:59:59") == ["c"]
    assert between(DAY, DAY) == [], "a last day without a time is left out"


def test_entry_and_exit_pages_are_of_sessions_in_the_organizations_time(ask):
    ask.vendor.projects["demo"].organisation.timezone = "Europe/Stockholm"
    visits(ask.vendor, 2, views=3)
    visits(ask.vendor, 1, start="2026-03-03T23:00:00")
    day = {"startDate": f"{DAY} 00:00:00", "endDate": f"{DAY} 23:59:59"}
    assert [(row["path"], row["sessions"], row["pageviews"]) for row in ask.insights("pages/entry_exit", **day)] == [
        ("/0", 2, 7)
    ]
    exits = ask.insights("pages/entry_exit", mode="exit", **day)
    assert [(row["path"], row["sessions"]) for row in exits] == [("/2", 2)]
    wrong = ask.send("GET", "/insights/demo/pages/entry_exit", params={"mode": "both"})
    assert refused(wrong)[0] == 400


def test_versions_that_are_not_merged_stand_beside_the_newest(openpanel):
    ask = openpanel(unmerged=True)
    visits(ask.vendor, 1, views=2)
    ask.vendor.add_profile("ada", last_seen_at=5_000)
    rows = ask.insights("sessions", startDate=DAY)
    assert [(row["id"], row["version"], row["screen_view_count"], row["is_bounce"]) for row in rows] == [
        ("s0", 1, 1, True), ("s0", 2, 2, False),
    ]  # fmt: skip
    assert ask.insights("metrics", startDate=DAY, endDate=DAY)["metrics"]["total_sessions"] == 1
    profiles = ask.insights("profiles", sortOrder="asc")
    assert [row["id"] for row in profiles].count("ada") == 2


def test_the_list_of_profiles_has_everybody_that_events_name_and_reads_filters(openpanel, ask):
    ask.vendor.add_profile("ada", email="ada@x.example")
    ask.vendor.add("a", at=f"{DAY}T10:00:00Z", profile_id="d1", device_id="d1")
    ask.vendor.add("b", at=f"{DAY}T11:00:00Z", profile_id="bob", device_id="d1")
    ask.vendor.add("c", at=f"{DAY}T12:00:00Z", profile_id="", device_id="d2")

    def found(*filters, asker=ask):
        asked = [{"name": name, "operator": operator, "value": values} for name, operator, *values in filters]
        return [row["id"] for row in asker.insights("profiles", filters=json.dumps(asked), sortOrder="asc")]

    assert {row["id"]: row["is_external"] for row in ask.insights("profiles")} == {
        "ada": True, "bob": True, "d1": False,
    }  # fmt: skip
    assert found(("profile.id", "gte", "b"), ("profile.id", "lt", "c")) == ["bob"]
    assert found(("profile.email", "is", "ada@x.example")) == ["ada"]
    assert found(("profile.id", "gt", " ada ")) == ["d1", "bob"], "blanks around a value are cut"
    assert len(found(("id", "is", "bob"))) == len(found(("profile.nothing", "is", "x"))) == 3, "ignored"
    older = openpanel(list_filters=False)
    older.vendor.add_profile("ada")
    assert found(("profile.id", "is", "bob"), asker=older) == ["ada"]


@pytest.mark.parametrize("route", UNDOCUMENTED)
def test_the_lists_exist_in_both_dialects_and_not_on_older_servers(openpanel, route):
    for ask in (openpanel(), openpanel(dialect="pages")):
        assert ask.send("GET", f"/insights/demo/{route}").status_code == 200
    assert openpanel(insights="paged").send("GET", f"/insights/demo/{route}").status_code == 404
    documented = openpanel(dialect="pages")
    assert documented.send("GET", f"/insights/other/{route}").status_code == 403
    assert "details" in documented.send("GET", "/insights/demo/sessions?limit=x").json()
