"""Charts, Insights, Funnel and Manage get the requests that the real server got.

The events behind the recorded sums are not known, so most bodies are compared in shape: keys in their order, types of
values, labels and lengths. Where the sums determine the events (pageviews per day, the wide project, the one in New
York), events with those sums are stored and the whole bodies are compared.
"""

import itertools
import uuid
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest

from connector.sandbox import OpenPanel
from connector.sandbox.openpanel.charts import slug
from tests.sandbox.factory import Clock
from tests.sandbox.recorded_vendor import Replay, recorded, replay, without_events
from tests.sandbox.test_openpanel_recorded import REPORTS

VIEWS = dict(zip(range(11, 21), [723, 764, 741, 678, 721, 814, 786, 759, 706, 731], strict=True))
EVENTS = dict(zip(range(11, 20), [1851, 1951, 1914, 1773, 7890, 1993, 1993, 1993, 1837], strict=True))
CITIES = [
    ("US", "CA", "San Francisco"),
    ("US", "NY", "New York"),
    ("SE", "O", "Göteborg"),
    ("SE", "AB", "Stockholm"),
    ("GB", "ENG", "King's Lynn"),
    ("JP", "13", "東京"),
    ("BR", "SP", "São Paulo"),
    ("DE", "BE", "Berlin"),
    ("", "", ""),
]
DEVICES = [
    ("Windows", "10", "Chrome", "129.0.0.0", "desktop", "", ""),
    ("iOS", "17.5.1", "Mobile Safari", "17.5", "mobile", "Apple", "iPhone"),
    ("iPadOS", "17.4", "Mobile Safari", "17.4", "tablet", "Apple", "iPad"),
    ("Linux", "", "Firefox", "130.0", "desktop", "", ""),
    ("Android", "14", "Chrome", "128.0.6613.88", "mobile", "Samsung", "SM-S918B"),
    ("macOS", "10.15.7", "Safari", "17.6", "desktop", "Apple", "Macintosh"),
]
SOURCES = [
    ("", "", "", {}),
    ("https://news.ycombinator.com", "Hacker News", "tech", {}),
    (
        "https://www.google.com",
        "Google",
        "search",
        {"utm_source": "google", "utm_medium": "cpc", "utm_campaign": "brand", "utm_term": "shoes", "utm_content": "a"},
    ),
    ("https://t.co/", "X", "social", {"utm_source": "facebook", "utm_medium": "paid social"}),
    ("https://blog.example.org/post?id=1", "https://blog.example.org/post?id=1", "", {"utm_source": "newsletter"}),
]
PATHS = ["/", "/about", "/checkout", "/search", "/products/123", "/products/löparskor", "/a", "/b", "/c", "/d"]
GROUPS = {"org_acme": "Acme Inc", "org_beta": "Beta", "org_größe": "Größe GmbH", "team 7": "Team 7"}
WHOLE = [
    *("ch01_basic", "ch02_series_param", "ch03_range_7d", "ch04_no_dates_no_range", "ch12_interval_minute"),
    *("ch12_interval_month", "ch12_interval_week", "ch14_previous", "ch16_no_events", "ch21_only_startDate"),
    *("ch22_future_empty", "ch23_unknown_event", "ch24_star_event", "ch25_single_day", "ch28_ny_day"),
    *("ch29_endDate_with_time", "in11_live", "in36_empty_project", "in37_empty_country"),
]
TIES = ["ch26_breakdown_1300_values", "in17_pages_wide_project"]
TIES += [name for name in REPORTS if "wide" in name and name not in TIES]
REFUSED = [name for name in REPORTS if recorded(name)["status"] != 200]
SHAPES = [name for name in REPORTS if name not in (*WHOLE, *TIES, *REFUSED)]


def rows(day: int, views: int, serial: Iterator[int]) -> Iterator[dict[str, Any]]:
    """The pageviews of a day in sessions of one to five pageviews, with other events."""
    at, left = datetime(2026, 11, day, 0, 5, tzinfo=UTC), views
    while left:
        number = next(serial)
        place, device, source = CITIES[number // 6 % 9], DEVICES[number % 6], SOURCES[number % 5]
        own = f"{number % 1200:032x}"
        common = {
            **dict(zip(("country", "region", "city"), place, strict=True)),
            **dict(
                zip(("os", "os_version", "browser", "browser_version", "device", "brand", "model"), device, strict=True)
            ),
            **dict(zip(("referrer", "referrer_name", "referrer_type"), source, strict=False)),
            "properties": {f"__query.{key}": value for key, value in source[3].items()} | {"__title": "Page"},
            "device_id": own,
            "profile_id": f"user_{number % 400}" if number % 3 else own,
            "session_id": f"s{number}",
            "groups": [list(GROUPS)[number % 4]] if number % 3 else [],
            "origin": "https://shop.example.com",
        }
        size = min(left, (1, 3, 5)[number % 3])
        yield {**common, "name": "session_start", "at": at - timedelta(milliseconds=100), "path": PATHS[number % 10]}
        for step in range(size):
            path = PATHS[(number + step) % 10]
            yield {**common, "name": "screen_view", "at": at + timedelta(seconds=20 * step), "path": path}
        for step, name in enumerate(("add_to_cart", "purchase", "revenue")):
            if number % 7 > step:
                order = {"order.total": f"{50 + number % 90}.5"}
                money = {"revenue": 1290} if name == "revenue" else {"properties": order}
                yield {**common, "name": name, "at": at + timedelta(seconds=70 + step), "path": "/checkout", **money}
        yield {**common, "name": "session_end", "at": at + timedelta(seconds=80), "path": "/checkout"}
        left -= size
        at += timedelta(seconds=200)


def reports_vendor(clock: Clock) -> OpenPanel:
    vendor = without_events(clock=clock)
    ids, serial = itertools.count(), itertools.count()

    def load(project: str, found: Any) -> None:
        vendor.load(({"id": str(uuid.UUID(int=next(ids), version=4)), **row} for row in found), project)

    for day, views in VIEWS.items():
        load("acme-web", rows(day, views, serial))
        missing = EVENTS.get(day, 0) - vendor.count(f"2026-11-{day}", "acme-web")
        load("acme-web", ({"name": f"filler {n % 9}", "at": f"2026-11-{day}T10:00:00Z"} for n in range(missing)))
    for number in range(400):
        tier = {"tier": ("premium", "free")[number % 2]} if number % 4 else {}
        vendor.add_profile(f"user_{number}", project="acme-web", email=f"u{number}@example.com", properties=tier)
    for group, name in GROUPS.items():
        kind = "team" if group.startswith("team") else "company"
        vendor.add_group(group, project="acme-web", type=kind, name=name, properties={"plan": "x"})
    wide = {"name": "screen_view", "origin": "https://w.example.com", "at": "2026-11-18T12:00:00Z"}
    load(
        "acme-wide",
        (
            wide
            | {"path": f"/p/{n:04}", "session_id": f"w{n}", "profile_id": f"w{n}"}
            | {"properties": {"__query.utm_campaign": f"camp-{n:04}"}}
            for n in range(1300)
        ),
    )
    load("2048", rows(12, 60, serial))
    load("globex-app", new_york())
    clients = {"read_empty": "acme-empty"}
    for project in clients.values():
        vendor.add_client("77777777-7777-4777-8777-777777777777", "sec", "read", project=project)
    return vendor


def new_york() -> Iterator[dict[str, Any]]:
    """Days in UTC-5: 4 pageviews late on the 13th, then 15 in 8 sessions, 30 in 11 and 48 in 20."""
    people = {13: range(4), 14: range(7), 15: range(7, 18), 16: [*range(16, 35)]}
    sessions = {13: (4, 4), 14: (15, 8), 15: (30, 11), 16: (48, 20)}
    bounces = {13: 4, 14: 3, 15: 4, 16: 8}
    for day, (views, count) in sessions.items():
        start = datetime(2026, 11, day, 20, tzinfo=UTC) if day != 13 else datetime(2026, 11, 14, 2, tzinfo=UTC)
        sizes = [1] * bounces[day] + [2] * (count - bounces[day])
        sizes[-1] += views - sum(sizes)
        for number, size in enumerate(sizes):
            person = f"p{list(people[day])[number % len(people[day])]}"
            own = {"session_id": f"ny{day}-{number}", "profile_id": person}
            for step in range(size):
                at = start + timedelta(minutes=number, seconds=step)
                yield {"name": "screen_view", "at": at, "path": "/", **own}
            if day == 16 and not number:
                at = start + timedelta(minutes=number, seconds=30)
                yield {"name": "revenue", "at": at, "revenue": 12900, **own}


@pytest.fixture(scope="module")
def asked() -> Iterator[Replay]:
    with replay(reports_vendor) as asker:
        yield asker


def answer(asked: Replay, name: str) -> Any:
    """The body of a recorded request's answer; None if it is a text, which is then compared here."""
    asked.vendor.event_store_down = name.startswith("er02")
    try:
        got = asked.ask(name)
    finally:
        asked.vendor.event_store_down = False
    return got.json() if "body" in recorded(name) else None


def without_people(body: Any) -> Any:
    """A chart without the numbers of distinct people, which the recorded sums do not determine."""
    for series in body.get("series", []) if isinstance(body, dict) else []:
        if "metrics" in series:
            assert series["metrics"]["count"] > 0
            series["metrics"].pop("count")
            series["metrics"].get("previous", {}).pop("count", None)
    return body


def trimmed(value: Any) -> Any:
    """A value with at most five items of every list, as in the recordings."""
    if isinstance(value, dict):
        return {key: trimmed(item) for key, item in value.items()}
    return [trimmed(item) for item in value[:5]] if isinstance(value, list) else value


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_equal(name, asked):
    body, wanted = answer(asked, name), recorded(name).get("body")
    if name == "fn01_export_funnel":  # it repeats the query, which was sent with other characters escaped
        body, wanted = ({**found, "message": unquote(found["message"])} for found in (body, wanted))
    assert body == wanted


@pytest.mark.parametrize("name", WHOLE)
def test_bodies_are_equal(name, asked):
    wanted = deepcopy(recorded(name)["body"])
    body = answer(asked, name)
    for path, length in recorded(name).get("trimmed_original_lengths", {}).items():
        assert len(body["series"][0]["data"] if path.endswith("data") else body["series"]) == length
    assert without_people(trimmed(body)) == without_people(wanted)


@pytest.mark.parametrize("name", TIES)
def test_wide_answers_hold_as_many_of_the_rows(name, asked):
    """Of 1300 values, charts give all and Insights silently a thousand; which ones is up to the server."""
    body, expected = answer(asked, name), recorded(name)
    found = body["series"] if isinstance(body, dict) else body
    wanted = expected["body"]["series"] if isinstance(body, dict) else expected["body"]
    assert len(found) == next(iter(expected["trimmed_original_lengths"].values()))
    assert len(found) < 1300 or all(item in found for item in wanted)
    known = [{key: value for key, value in item.items() if key not in ("path", "name")} for item in found]
    assert len(found) == 1300 or all(item == known[0] for item in known)
    assert [list(item) for item in found[:5]] == [list(item) for item in wanted]


def kinds(value: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """Keys of objects and types of values, by their path."""
    if isinstance(value, dict):
        optional = ("breakdowns", "count") if path.startswith("$.series") else ()
        if not path.endswith(("properties", "breakdowns")):
            yield path, tuple(key for key in value if key not in optional)
        for key, item in value.items():
            if not path.endswith(("properties", "breakdowns")):
                yield from kinds(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from kinds(item, f"{path}[]")
    elif isinstance(value, bool):
        yield path, "boolean"
    else:
        yield path, "number" if isinstance(value, (int, float)) else type(value).__name__


NULLABLE = {
    "$[].name",
    "$.recentEvents[].longitude",
    "$.recentEvents[].latitude",
    "$.data[].domain",
    "$.data[].secret",
    "$.data[].projectId",
    "$[].longitude",
    "$[].latitude",
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_equal(name, asked):
    """Equal: keys in their order, types of values, time labels, and the lengths that follow from the dates."""
    expected = recorded(name)
    whole = answer(asked, name)
    body = trimmed(whole)
    given, wanted = set(kinds(body)), set(kinds(expected["body"]))
    more = {(path, kind) for path, kind in given - wanted if not (path in NULLABLE and kind == "NoneType")}
    assert not more
    assert {path for path, _ in wanted} - {path for path, _ in given} <= {"$.series[].metrics.count", "$[].groups[]"}
    for path, length in expected.get("trimmed_original_lengths", {}).items():
        if path == "$.series" and name.startswith("in"):
            assert len(whole["series"]) == length
        if path == "$" and name.startswith(("in2", "in30", "in38", "in59")) and name != "in20_referrer_name":
            assert len(whole) == length
    if name.startswith("ch"):
        for series, theirs in zip(body["series"], expected["body"]["series"], strict=False):
            assert [point["date"] for point in series["data"]] == [point["date"] for point in theirs["data"]]
        assert len(whole["series"][0]["data"]) == expected["trimmed_original_lengths"].get("$.series[0].data", 9)
    elif "series" in expected["body"] and isinstance(expected["body"], dict):
        assert [row["date"] for row in body["series"]] == [row["date"] for row in expected["body"]["series"]]


def test_new_york_days_are_local_and_their_label_says_utc(asked):
    """in40: local days. The same days in charts (ch28) begin five hours earlier and lose an evening."""
    wanted = deepcopy(recorded("in40_ny_metrics")["body"])
    body = answer(asked, "in40_ny_metrics")
    for row in (body["metrics"], wanted["metrics"], *body["series"], *wanted["series"]):
        row.pop("avg_session_duration")
        row.pop("_avg_session_duration", None)
    assert body == wanted


def test_ids_of_series_are_the_recorded_ones():
    """The id of every recorded series follows from its names."""
    seen = 0
    for name in REPORTS:
        body = recorded(name).get("body")
        for series in body.get("series", []) if isinstance(body, dict) and name.startswith("ch") else []:
            event, names = (
                series["event"],
                [part.removeprefix(f"({series['event']['id']}) ") for part in series["names"]],
            )
            assert slug(f"{event['name']}-{event['id']}-{'-'.join(names)}") == series["id"]
            seen += 1
    assert seen > 60
