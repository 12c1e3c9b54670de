"""The simulated OpenPanel gets the requests that the real one got, and must answer the same.

Its rows are rebuilt from the recorded answers (`recorded_vendor`), so rows, totals and pages are compared exactly, not
only their shape. `NOT_COMPARED` lists what is not compared, with the reason.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from connector.sandbox import OpenPanel
from tests.sandbox.recorded_vendor import (
    DAYS,
    START,
    Replay,
    client_of,
    names,
    recorded,
    replay,
    with_events,
    without_events,
)

NOT_COMPARED: dict[str, str] = {}
# Charts, Insights, Funnel and Manage: test_openpanel_reports compares them, with a vendor of its own.
REPORTS = [name for name in names("ch", "in", "fn", "mg", "er02") if name not in NOT_COMPARED]
# What Insights answer about the people and groups that Track created.
PEOPLE = ["tr32_profile_after", "tr33_group_after", "tr34_live_visitors", "tr35_profile_after_increment"]
APART = ["ev53_profileId_count_mismatch", "er01_event_store_down", "er03_health_event_store_down"]  # own tests below
SETTLED = [name for name in names("ev", "au", "pg", "er") if name not in (*APART, *REPORTS, *NOT_COMPARED)]
TRACKED = [name for name in names("tr") if name not in (*PEOPLE, *NOT_COMPARED)]

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def asked() -> Iterator[Replay]:
    with replay(with_events) as asker:
        yield asker


def compared(row: dict[str, Any], ignored: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row without the times in a placeholder profile, which are the time of the request."""
    kept = {key: value for key, value in row.items() if key not in ignored}
    profile = kept.get("profile")
    if profile and not profile["isExternal"]:
        assert MOMENT.fullmatch(profile["createdAt"])
        assert MOMENT.fullmatch(profile["lastSeenAt"])
        kept["profile"] = profile | {"createdAt": "", "lastSeenAt": ""}
    return kept


@pytest.mark.parametrize("name", SETTLED)
def test_same_question_same_answer(name: str, asked: Replay) -> None:
    """Bodies are equal: rows, totals, pages, and the text of refusals."""
    got, expected = asked.ask(name), recorded(name)
    if "body" not in expected:
        return
    if "data" not in expected["body"]:
        assert got.json() == expected["body"]
        return
    body = got.json()
    assert list(body) == ["meta", "data"]
    assert body["meta"] == expected["body"]["meta"]
    assert len(body["data"]) == body["meta"]["count"]
    for given, wanted in itertools.zip_longest(body["data"][: len(expected["body"]["data"])], expected["body"]["data"]):
        assert compared(given) == compared(wanted)
        assert list(given) == list(wanted)  # the order of the keys too


def test_walk_without_dates_loses_the_recorded_34_rows(asked: Replay) -> None:
    """As recorded: 903 rows announced, 869 delivered, page sizes 66, 100, ..., 3, and every answer is 200."""
    asked.clock.now += 11
    headers = client_of(recorded("pg01_nodates_limit100_page1")["request"])
    sizes, seen = [], set()
    for page in range(1, 11):
        got = asked.http.get(f"{asked.base}/export/events", params={"limit": 100, "page": page}, headers=headers)
        assert got.status_code == 200
        sizes.append(len(got.json()["data"]))
        seen |= {row["id"] for row in got.json()["data"]}
    assert sizes == [66, *[100] * 8, 3]
    assert len(seen) == 869
    assert sum(asked.vendor.count(day, "globex-app") for day in DAYS) == 903


def test_head_announces_the_length_of_the_get(asked: Replay) -> None:
    asked.clock.now += 11
    request = recorded("au21_head_events")["request"]
    url = request["url"].replace("{BASE}", asked.base)
    head, get = (asked.http.request(verb, url, headers=client_of(request)) for verb in ("HEAD", "GET"))
    assert head.headers["content-length"] == str(len(get.content))
    assert head.content == b""


def test_store_down(asked: Replay) -> None:
    """er01, er03: a text for a query, a list of what is broken for the health check."""
    asked.vendor.event_store_down = True
    try:
        asked.ask("er01_event_store_down")
        health = asked.ask("er03_health_event_store_down")
    finally:
        asked.vendor.event_store_down = False
    assert health.json() == recorded("er03_health_event_store_down")["body"]


def test_budget_is_refused_and_given_back_as_recorded() -> None:
    """rl01, rl02: 130 requests, 100 answers; requests that are refused do not prolong the wait."""
    with replay(with_events) as asked:
        statuses = []
        for _ in range(129):
            statuses.append(asked.send("rl01_429").status_code)
            asked.clock.now += 8.2 / 130
        assert statuses == [200] * 100 + [429] * 29
        got = asked.ask("rl01_429", after=0)
        assert asked.vendor.refusals == 30
        assert got.json() == recorded("rl01_429")["body"]
        assert got.headers["x-ratelimit-remaining"] == recorded("rl01_429")["headers"]["x-ratelimit-remaining"]
        assert 1 <= int(got.headers["retry-after"]) <= 10
        asked.clock.now = START + 10.1
        got = asked.ask("rl02_first_200_after_window", after=0)
        assert got.json() == recorded("rl02_first_200_after_window")["body"]
        assert got.headers["x-ratelimit-remaining"] == "99"


def test_track_as_recorded() -> None:
    """All recorded Track calls in their order, and what the export returns afterwards."""
    profile = recorded("tr30_export_after")["body"]["data"][0]["profile"]
    sent = 1_795_217_170.0  # 23:26:10, when the calls were recorded
    with replay(without_events, sent, visible_after=5) as asked:
        vendor = asked.vendor
        vendor.add_profile("12345", project="acme-web", first_name="李", email="12345@example.com", properties={})
        for name in [*TRACKED, "ev53_profileId_count_mismatch"]:
            after = 0.01 if name == "tr24_duplicate_same_origin" else 0.3
            if name == "tr06_increment":
                asked.clock.now += after
                continue  # sent later, when the profile could be read
            if name == "tr07_decrement":
                _assert_tracked("tr06_increment", asked.ask("tr06_increment", after=5 + after))
                after = 0
            if name == "tr30_export_after":
                after += 6
            got = asked.ask(name, after=after)
            if "data" not in recorded(name).get("body", {}):
                _assert_tracked(name, got)
                continue
            body, wanted = got.json(), recorded(name)["body"]
            assert body["meta"] == wanted["meta"]
            made = ("id", "deviceId", "sessionId", "profileId", "createdAt", "profile")
            assert compared(body["data"][0], made) == compared(wanted["data"][0], made)
            assert body["data"][0].keys() == wanted["data"][0].keys()
            if name == "tr30_export_after":
                assert body["data"][0]["profileId"] == "12345"
                assert body["data"][0]["profile"].keys() == profile.keys()
            if name == "tr31_export_late_event":
                late = ("deviceId", "sessionId", "createdAt", "profileId")
                assert [body["data"][0][key] for key in late] == [wanted["data"][0][key] for key in late]
        asked.clock.now += 6
        for name in PEOPLE:
            _assert_known(name, asked.ask(name, after=0))
    _assert_stored(vendor)


def _assert_stored(vendor: OpenPanel) -> None:
    """What the vendor has stored after all recorded Track calls."""
    known = vendor.projects["acme-web"].profiles["live-1"]
    assert known.properties["nested"] == '{"a":1}'  # nested values are stored as text
    assert known.properties["visits"] == "0"  # the second increment read the value before the first was written
    assert "empty" not in known.properties
    assert known.groups == ["org_live"]
    assert vendor.projects["acme-web"].groups["org_live"].properties == {"plan": "enterprise", "seats": "25"}
    stored = {row["name"]: row for row in vendor.rows("2026-11-20", "acme-web")}
    assert {"from_browser", "from_read_client", "from_write_client", "slash"} <= stored.keys()
    assert "from_bot" not in stored
    assert stored["revenue"]["revenue"] == 4999
    borrowed = ("device_id", "session_id", "os", "browser", "device")
    assert [stored["server_event"][key] for key in borrowed] == [stored["report_exported"][key] for key in borrowed]
    assert stored["future_event"]["created_at"].startswith("2026-11-20T23:26")
    assert sum(row["name"] == "from_browser" for row in vendor.rows("2026-11-20", "acme-web")) == 1


def _assert_tracked(name: str, got: httpx.Response) -> None:
    expected = recorded(name)
    if "body" not in expected:
        return
    if "deviceId" in expected["body"]:
        body = got.json()
        assert list(body) == list(expected["body"])
        assert re.fullmatch("[0-9a-f]{32}", body["deviceId"])
        assert re.fullmatch("[A-Za-z0-9_-]{22}", body["sessionId"])
        assert body.get("message") == expected["body"].get("message")
    else:
        assert got.json() == expected["body"]


def _assert_known(name: str, got: httpx.Response) -> None:
    """tr32 to tr35 are equal except times, generated ids, and the property ``visits``, which was read too early."""
    body, wanted = got.json(), recorded(name)["body"]
    if name == "tr34_live_visitors":
        assert list(body) == ["visitors"]
        assert body["visitors"] == 3  # the people of the last five minutes in this test
        return
    assert list(body) == list(wanted)
    made = {"created_at", "last_seen_at", "createdAt", "lastSeenAt", "updatedAt", "id", "device_id", "session_id"}
    for given, expected in zip(_rows_of(body), _rows_of(wanted), strict=True):
        assert list(given) == list(expected)
        assert {key: value for key, value in given.items() if key not in (*made, "properties")} == {
            key: value for key, value in expected.items() if key not in (*made, "properties")
        }
        assert given["properties"] | {"visits": ""} == expected["properties"] | {"visits": ""}
        for key in made & given.keys():
            assert re.sub("[0-9]", "0", given[key]) == re.sub("[0-9]", "0", expected[key]) or "id" in key


def _rows_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        row
        for value in body.values()
        if not isinstance(value, int)
        for row in (value if isinstance(value, list) else [value])
    ]


def test_import_as_recorded() -> None:
    """im01, im02: milliseconds are dropped, the time of the import is kept, rows can be read at once."""
    with replay(without_events) as asked:
        asked.ask("im01_import", after=0)
        got, wanted = asked.ask("im02_export_imported", after=0).json(), recorded("im02_export_imported")["body"]
    assert got["meta"] == wanted["meta"]
    for row, expected in zip(got["data"], wanted["data"], strict=True):
        assert row["importedAt"] == "2026-11-20T23:20:00.000Z"
        assert compared(row, ("importedAt",)) == compared(expected, ("importedAt",))


def test_every_recorded_answer_is_compared_or_excluded() -> None:
    """Every recorded file is compared, or excluded with a reason."""
    judged = {*SETTLED, *APART, *TRACKED, *PEOPLE, *REPORTS, *names("rl", "im")}
    assert judged | NOT_COMPARED.keys() == set(names(""))
    assert not judged & NOT_COMPARED.keys()
