"""Funnels, computed again from the stored rows by trying every combination of events."""

import itertools
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.factory import SPRING, local, refused, seconds_of, stored


def reached(rows, steps, hours, group):
    """How many groups reach each step, by trying every combination of rows in strict order of time."""
    groups = defaultdict(list)
    for row in rows:
        groups[row[group]].append((seconds_of(row), row["name"]))
    best = []
    for moments in groups.values():
        level = 0
        for length in range(1, len(steps) + 1):
            candidates = [[at for at, name in moments if name == step] for step in steps[:length]]
            if any(
                all(a < b for a, b in itertools.pairwise(walk)) and walk[-1] - walk[0] <= hours * 3600
                for walk in itertools.product(*candidates)
            ):
                level = length
        best.append(level)
    return [sum(level > at for level in best) for at in range(len(steps))]


@pytest.mark.parametrize("group", ["session_id", "profile_id"])
@pytest.mark.parametrize("hours", [1, 24])
def test_funnel(stockholm, group, hours):
    chance = random.Random(11)
    steps = ["screen_view", "signup", "revenue"]
    for number in range(400):
        at = datetime(2026, 3, 28, 20, tzinfo=UTC) + timedelta(minutes=15 * chance.randrange(220))
        who = chance.randrange(60)
        own = {"session_id": f"s{who}", "profile_id": f"u{who % 25}"}
        stockholm.vendor.add(f"e{number}", at=at.isoformat(), name=chance.choice(steps), **own)
    rows = [
        row for row in stored(stockholm.vendor, SPRING) if SPRING <= local(row).date() <= SPRING + timedelta(days=1)
    ]
    expected = reached(rows, steps, hours, group)
    last = f"{SPRING + timedelta(days=1)} 23:59:59"
    body = stockholm.insights("funnel", steps=steps, startDate=SPRING, endDate=last, windowHours=hours, groupBy=group)
    assert [step["users"] for step in body["steps"]] == expected
    assert len(set(expected)) == 3
    assert (body["totalUsers"], body["completedUsers"]) == (expected[0], expected[-1])
    assert body["steps"][1]["conversionRateFromStart"] == pytest.approx(100 * expected[1] / expected[0], abs=0.006)
    assert body["steps"][0]["dropoffPercent"] == pytest.approx(100 - 100 * expected[1] / expected[0], abs=0.006)
    lost = [a - b for a, b in itertools.pairwise(expected)]
    assert [step["isHighestDropoff"] for step in body["steps"]] == [lost[0] >= lost[1], lost[0] < lost[1], False]


def test_funnel_leaves_out_a_last_day_without_a_time(stockholm):
    for day in (2, 3):
        stockholm.vendor.add(f"e{day}", at=f"2026-03-0{day}T10:00:00Z", name="a", session_id=f"s{day}")
    span = {"steps": ["a", "b"], "startDate": "2026-03-02", "endDate": "2026-03-03"}
    assert stockholm.insights("funnel", **span)["totalUsers"] == 1
    assert stockholm.insights("funnel", **span | {"endDate": "2026-03-03 23:59:59"})["totalUsers"] == 2
    assert stockholm.insights("funnel", steps='["a","b"]', range="7d")["totalUsers"] == 2
    assert stockholm.insights("funnel", steps=["x", "y"])["overallConversionRate"] == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"steps": "a"}, "querystring/steps steps must have between 2 and 10 items"),
        ({"steps": "a,b"}, "querystring/steps steps must have between 2 and 10 items"),
        ({"steps": ["a", "b"], "windowHours": 721}, "querystring/windowHours Too big: expected number to be <=720"),
        (
            {"steps": ["a", "b"], "groupBy": "device_id"},
            'querystring/groupBy Invalid option: expected one of "session_id"|"profile_id"',
        ),
    ],
)
def test_funnel_refusals(openpanel, params, message):
    answer = openpanel().send("GET", "/insights/demo/funnel", params=params)
    assert refused(answer) == (400, message)


def test_a_server_has_one_funnel_or_the_other_or_none(openpanel):
    """Each server has at most one of the two routes; the documented one answers in its documented shape."""
    old = {"events": '[{"name":"a"},{"name":"b"}]', "projectId": "demo"}

    def statuses(**settings):
        ask = openpanel(**settings)
        here = ask.send("GET", "/insights/demo/funnel", params={"steps": ["a", "b"]}).status_code
        return here, ask.send("GET", "/export/funnel", params=old).status_code

    assert statuses() == (200, 404)
    assert statuses(dialect="pages") == (404, 200)
    assert statuses(funnel="none") == statuses(dialect="pages", funnel="none") == (404, 404)
    ask = openpanel(funnel="export")
    for name, at, session in (("a", 1, "s"), ("b", 2, "s"), ("a", 1, "t")):
        ask.vendor.add(f"{name}{session}", at=f"2026-03-04T0{at}:00:00Z", name=name, session_id=session)
    body = ask.send("GET", "/export/funnel", params=old).json()
    assert body == {
        "totalSessions": 2,
        "steps": [
            {
                "event": {"name": "a", "displayName": "a"},
                "count": 2,
                "percent": 100,
                "dropoffCount": 0,
                "dropoffPercent": 0,
                "previousCount": 2,
            },
            {
                "event": {"name": "b", "displayName": "b"},
                "count": 1,
                "percent": 50,
                "dropoffCount": 1,
                "dropoffPercent": 50,
                "previousCount": 2,
            },
        ],
    }
