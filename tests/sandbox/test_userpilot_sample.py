"""The sample has the other vendor's people and what real exports contain; both servers run on their own."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta

import httpx
import pytest

from connector.sandbox import USERPILOT_KEY, Userpilot, companies, people
from tests.sandbox.factory import EXPORTS

FIRST, LAST = date(2026, 2, 23), date(2026, 3, 4)
NOON = 1_772_712_000.0  # of the day after
KEY = ("app_token", "event_type", "event_name", "user_id", "company_id", "inserted_at")


@pytest.fixture(scope="module")
def vendor():
    made = Userpilot(clock=lambda: NOON)
    made.load_sample(FIRST, LAST)
    return made


@pytest.fixture(scope="module")
def rows(vendor):
    days = [FIRST - timedelta(days=5) + timedelta(days=offset) for offset in range(15)]
    return [row for day in days for row in vendor.events(day)]


def test_size_follows_the_week(vendor):
    counts = {FIRST + timedelta(days=n): vendor.count(FIRST + timedelta(days=n)) for n in range(10)}
    assert all((150 < n < 350) if day.weekday() > 4 else (500 < n < 1000) for day, n in counts.items())


def test_same_seed_same_sample():
    found = []
    for seed in (1, 1, 2):
        vendor = Userpilot(clock=lambda: NOON)
        vendor.load_sample(LAST, LAST, seed=seed)
        found.append(vendor.events(LAST))
    assert found[0] == found[1] != found[2]


def test_people_are_those_of_the_other_vendor(rows):
    assert {row["user_id"] for row in rows} - {""} <= {person.id for person in people()}
    assert {row["company_id"] for row in rows} <= {company.id for company in companies()}
    assert len({row["user_id"] for row in rows}) > 200


def test_every_kind_of_event(rows, vendor):
    kinds = Counter(row["event_type"] for row in rows)
    assert kinds.keys() == {
        "identify_user",
        "identify_company",
        "page_view",
        "track",
        "track_feature",
        "interaction",
        "session_start",
    }
    assert {row["source"] for row in rows} == {"web-client", "backend-hubspot", "backend-http", "backend-segment"}
    listed = {item["key"] for item in vendor.lookups.tables["features_events"]}
    assert {row["event_name"] for row in rows if row["event_type"] in ("track", "track_feature")} == listed
    interactions = {row["event_name"] for row in rows if row["event_type"] == "interaction"}
    assert all(re.fullmatch(r"[a-z_]+:.+:[A-Z]+", name) for name in interactions)
    assert "resource_center:module:5:OPENED" in interactions
    assert any({"Plan", "plan"} <= row["metadata"].keys() for row in rows)


def test_every_day_has_true_duplicates_twins_and_late_rows(vendor):
    for offset in range(8):
        day = FIRST + timedelta(days=offset)
        found = vendor.events(day)
        assert vendor.count(day, distinct=True) < len(found)  # equal in every field
        by_key: dict[tuple, set[str]] = {}
        for row in found:
            by_key.setdefault(tuple(row[name] for name in KEY), set()).add(json.dumps(row["metadata"]))
        assert any(len(payloads) > 1 for payloads in by_key.values())  # equal keys, two payloads


def test_past_days_gain_rows():
    """Events of the days before arrive at half past nine."""
    now = [NOON - 86_400]
    vendor = Userpilot(clock=lambda: now[0])
    vendor.load_sample(FIRST, date(2026, 3, 5))
    before = vendor.count("2026-03-03")
    today = vendor.count("2026-03-05")
    now[0] += 86_400
    assert vendor.count("2026-03-03") > before
    assert today == 0 < vendor.count("2026-03-05")


def test_segments_have_members(vendor):
    assert (
        vendor.segments.keys()
        == {"101", "102", "103"}
        == {str(item["id"]) for item in vendor.lookups.tables["segments"]}
    )
    assert all(vendor.segments.values())


def test_both_vendors_on_their_own():
    """`python -m connector.sandbox` prints every address and credential, and answers on all three ports."""
    port = 20_000 + os.getpid() % 10_000
    command = [sys.executable, "-m", "connector.sandbox", "--days", "2", "--port", str(port), "--job-seconds", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            told = [process.stdout.readline() for _ in range(12)]
            values = dict(line.strip().split("=", 1) for line in told if re.match("[A-Z_]+=", line))
            assert told[0].startswith(f"OpenPanel sandbox on http://127.0.0.1:{port}: project demo, ")
            assert values.keys() == {
                "OPENPANEL_API_URL",
                "OPENPANEL_CLIENT_ID",
                "OPENPANEL_CLIENT_SECRET",
                "OPENPANEL_PROJECT_ID",
                "USERPILOT_API_URL",
                "USERPILOT_API_KEY",
            }
            assert values["USERPILOT_API_URL"] == f"http://127.0.0.1:{port + 1}"
            assert values["USERPILOT_API_KEY"] == USERPILOT_KEY
            with httpx.Client(headers={"authorization": f"Token {USERPILOT_KEY}"}) as client:
                today = date.today().isoformat()
                base = values["USERPILOT_API_URL"] + EXPORTS
                job = client.post(base, json={"from": "2026-01-01", "to": today}).json()
                files = client.get(f"{base}/jobs/{job['job_id']}").json()["presigned_urls"]
            assert files
            assert files[0]["url"].startswith(f"http://127.0.0.1:{port + 2}/")
            assert httpx.get(files[0]["url"]).status_code == 200
        finally:
            process.kill()
