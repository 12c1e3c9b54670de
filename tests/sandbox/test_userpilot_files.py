"""The exported files: which events they contain, how rows are written, and how files are packed.

Where the contract is undecided, the test names the world (`World`) that shows each reading.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from datetime import date

import pytest

from connector.sandbox.userpilot.behaviour import ODD
from connector.sandbox.userpilot.export_files import label, labels
from tests.sandbox.factory import WORLDS

# ---------- where a range is cut


@WORLDS
@pytest.mark.parametrize(
    ("at", "documented", "odd"),
    [
        ("2026-03-03T20:54:00Z", False, False),
        ("2026-03-03T20:56:00Z", False, True),  # not in the range, but close to it
        ("2026-03-03T21:00:00Z", False, True),
        ("2026-03-03T23:59:59.999999Z", False, True),
        ("2026-03-04T00:00:00Z", True, True),
        ("2026-03-04T20:59:00Z", True, True),
        ("2026-03-04T21:06:00Z", True, False),  # in the range by its UTC date, but missing
        ("2026-03-04T23:59:59.999999Z", True, False),
        ("2026-03-05T00:00:00Z", False, False),
    ],
)
def test_dates_are_utc_days_or_an_account_zones(userpilot, world, at, documented, odd):
    """Documented: UTC days, both included. Odd: days at +03:00, both included, and rows bleed over the borders."""
    ask = userpilot(world, polls_to_complete=0)
    ask.vendor.add_event(at=at, event_name="here")
    assert set(ask.names("2026-03-04", "2026-03-04")) == (
        {"here"} if {"documented": documented, "odd": odd}[world] else set()
    )


@pytest.mark.parametrize(("included", "found"), [(True, ["a", "b"]), (False, ["a"])])
def test_last_day_may_be_excluded(userpilot, included, found):
    ask = userpilot(to_included=included)
    ask.vendor.add_event(at="2026-03-03T10:00:00Z", event_name="a")
    ask.vendor.add_event(at="2026-03-04T10:00:00Z", event_name="b")
    assert ask.names("2026-03-03", "2026-03-04") == found


def test_documented_files_are_weeks_named_after_mondays(documented):
    for day in ("2024-07-29", "2024-08-04", "2024-08-05", "2024-08-26"):
        documented.vendor.add_event(at=f"{day}T00:00:00Z", event_name=day)
    found = documented.files("2024-08-01", "2024-08-31")
    assert {name: text.count(b"\n") for name, text in found.items()} == {
        "2024-07-29.json.gz": 1,  # named after a day before the range
        "2024-08-05.json.gz": 1,
        "2024-08-26.json.gz": 1,
    }


def test_odd_files_are_days_that_share_rows(userpilot):
    """A row just before a border is in the next file only; one just after it is in both files."""
    ask = userpilot("odd")
    for at in ("20:50", "20:58", "21:02", "21:10"):
        ask.vendor.add_event(at=f"2026-03-02T{at}:00Z", event_name=at)
    found = {
        name: [json.loads(line)["event_name"] for line in text.splitlines()]
        for name, text in ask.files("2026-03-02", "2026-03-03").items()
    }
    assert found == {"2026-03-02.json.gz": ["21:02", "20:50"], "2026-03-03.json.gz": ["21:10", "21:02", "20:58"]}
    ask.vendor.add_event(at="2026-03-03T20:58:00Z", event_name="last")
    assert "2026-03-04.json.gz" in ask.files("2026-03-02", "2026-03-03")  # named after a day beyond the range


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["2026-02-23.json.gz", "2026-03-09.json.gz"]),
        ({"empty_span": "nothing"}, ["2026-02-23.json.gz", "2026-03-02.json.gz", "2026-03-09.json.gz"]),
        ({"file_span": "month"}, ["2026-03-01-1.json.gz", "2026-03-01-2.json.gz"]),
        ({"file_span": "day"}, ["2026-03-01.json.gz", "2026-03-09.json.gz"]),
    ],
)
def test_spans_without_rows_and_long_spans(userpilot, settings, names):
    ask = userpilot(file_rows=1, **settings)
    ask.vendor.add_event(at="2026-03-01T10:00:00Z")
    ask.vendor.add_event(at="2026-03-09T10:00:00Z")
    found = ask.files("2026-03-01", "2026-03-15")
    assert list(found) == names
    assert sum(text.count(b"\n") for text in found.values()) == 2


@pytest.mark.parametrize(
    ("world", "settings", "status", "files"),
    [
        ("documented", {}, "completed", {}),
        ("odd", {}, "completed", {}),
        ("documented", {"empty_range": "nothing"}, "completed", {"2026-03-02.json.gz": b""}),
        ("documented", {"empty_range": "failed"}, "failed", {}),
    ],
)
def test_range_without_rows(userpilot, world, settings, status, files):
    """Not documented: both worlds complete without a file, and other readings can be set."""
    ask = userpilot(world, **settings)
    assert ask.files() == files
    assert ask.jobs()[0]["status"] == status


def test_labels():
    day = date(2024, 8, 1)
    assert [label(day, span).isoformat() for span in ("day", "week", "month")] == [
        "2024-08-01",
        "2024-07-29",
        "2024-08-01",
    ]
    assert len(labels(date(2024, 5, 2), date(2024, 9, 30), "month")) == 5
    assert len(labels(date(2024, 5, 2), date(2024, 9, 30), "week")) == 23


# ---------- rows


def test_row_as_documented(documented):
    documented.vendor.add_event(
        at="2026-03-03T07:45:30.123456Z",
        event_name="Subscription Purchased",
        user_id="user-001",
        company_id="company-001",
        source="web-client",
        hostname="app.example.com",
        screen_width=1920,
        metadata={"subscription_id": "sub-001", "Plan": 1, "plan": [None, True]},
    )
    (row,) = documented.rows()
    assert row == {
        "app_token": "NX-51f4acf7",
        "event_type": "track",
        "event_name": "Subscription Purchased",
        "user_id": "user-001",
        "company_id": "company-001",
        "source": "web-client",
        "hostname": "app.example.com",
        "pathname": "",
        "screen_width": 1920,
        "screen_height": 0,
        "device_type": "",
        "user_agent": "",
        "operating_system": "",
        "browser": "",
        "browser_language": "",
        "session": "",
        "country_code": "",
        "inserted_at": "2026-03-03T07:45:30.123456Z",
        "metadata": {"subscription_id": "sub-001", "Plan": 1, "plan": [None, True]},
    }
    assert documented.vendor.events("2026-03-03") == [row]


def test_row_in_the_odd_world(userpilot):
    """Odd: ClickHouse's time format, metadata as text, ids too long for a number, nulls, undocumented columns."""
    ask = userpilot("odd")
    ask.vendor.add_event(at="2026-03-03T08:55:35.874555Z", metadata={"plan": "größer"})
    ask.vendor.add_event(at="2026-03-03T08:55:36Z")
    bare, full = ask.rows()
    assert full["inserted_at"] == "2026-03-03 08:55:35.874555"
    assert bare["inserted_at"] == "2026-03-03 08:55:36.000000"
    assert json.loads(full["metadata"]) == {"plan": "größer"}
    assert bare["metadata"] == []
    assert re.fullmatch(r"\d{20}", full["internal_event_id"])
    assert full["event_name"] is full["company_id"] is full["screen_width"] is None
    assert full["sdk_version"] == "4.1.0"
    assert "session" not in full


@pytest.mark.parametrize("kind", [str, int])
def test_event_id_is_a_hash_of_the_natural_key(userpilot, kind):
    """Two events that differ only in their metadata have the same id."""
    ask = userpilot("odd", event_ids="string" if kind is str else "number")
    for second, number in ((0, 1), (0, 2), (1, 1)):
        ask.vendor.add_event(at=f"2026-03-03T10:00:0{second}Z", metadata={"n": number})
    late, second, first = (row["internal_event_id"] for row in ask.rows())
    assert first == second != late
    assert isinstance(first, kind)


@pytest.mark.parametrize(
    ("spelt", "day"),
    [
        ("2026-03-03T08:55:35.874555Z", "2026-03-03"),
        ("2026-03-03 08:55:35.874555", "2026-03-03"),
        ("2026-03-03 08:55:35", "2026-03-03"),
        ("2026-03-03T01:00:00+03:00", "2026-03-02"),
    ],
)
@pytest.mark.parametrize("metadata", ['{"as": "text"}', [], None, {}])
def test_spellings_can_be_mixed(pilot, spelt, day, metadata):
    pilot.vendor.add_event(inserted_at=spelt, metadata=metadata, internal_event_id="7", surprise={"a": 1})
    row = pilot.rows()[0]
    assert (row["inserted_at"], row["internal_event_id"], row["surprise"]) == (spelt, "7", {"a": 1})
    assert row["metadata"] == ([] if pilot.vendor.world == ODD and metadata == {} else metadata)
    assert pilot.vendor.count(day) == 1


def test_two_equal_events_are_two_events(pilot):
    for number in (1, 1, 2):
        pilot.vendor.add_event(at="2026-03-03T10:00:00Z", metadata={"n": number})
    assert len(pilot.rows()) == pilot.vendor.count("2026-03-03") == 3
    assert pilot.vendor.count("2026-03-03", distinct=True) == 2


def test_events_without_a_time_are_a_mistake_of_the_test(pilot):
    with pytest.raises(ValueError, match="at= or inserted_at="):
        pilot.vendor.add_event(event_name="when?")


def test_csv(pilot):
    """A CSV file has a header; metadata is JSON text."""
    pilot.vendor.add_event(at="2026-03-03T10:00:00Z", metadata={"a": 'quote " and, comma'}, event_name="x\ny")
    (text,) = (text for text in pilot.files(format="csv").values() if text)
    (row,) = csv.DictReader(io.StringIO(text.decode()))
    assert json.loads(row["metadata"]) == {"a": 'quote " and, comma'}
    assert row["event_name"] == "x\ny"
    assert pilot.exported(format="csv")[1][0]["filename"].endswith(".csv.gz")


# ---------- late and erased


def test_late_and_erased_events_change_past_days(pilot):
    vendor = pilot.vendor
    vendor.add_event(at="2026-03-03T10:00:00Z", user_id="stays")
    vendor.add_event(at="2026-03-03T10:00:00Z", user_id="erased")
    vendor.add_event(at="2026-03-03T10:00:00Z", user_id="late", arrives="2026-03-05T13:00:00Z")
    assert sorted(row["user_id"] for row in pilot.rows()) == ["erased", "stays"]
    pilot.clock.now += 3600
    assert vendor.delete_events(user_id="erased") == 1
    assert sorted(row["user_id"] for row in pilot.rows()) == ["late", "stays"]


def test_job_sees_what_was_there_when_it_started(pilot):
    pilot.vendor.add_event(at="2026-03-03T10:00:00Z")
    job_id = pilot.trigger().json()["job_id"]
    pilot.vendor.add_event(at="2026-03-03T11:00:00Z")
    pilot.vendor.delete_events(user_id="u-0001")
    found = [pilot.http.get(item["url"]).content for item in pilot.done(job_id)["presigned_urls"]]
    texts = [gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body for body in found]
    assert sum(text.count(b"\n") for text in texts) == 1
    assert pilot.names() == []


# ---------- packing


def test_odd_files_are_packed_in_every_way(userpilot):
    ask = userpilot("odd")
    for day in range(2, 6):
        for minute in range(6):
            ask.vendor.add_event(at=f"2026-03-0{day}T10:0{minute}:00Z")
    _, items = ask.exported("2026-03-02", "2026-03-05")
    assert len(items) == 4
    members, plain, encoded, whole = [ask.get(item["url"]) for item in items]
    one = zlib.decompressobj(wbits=31)
    assert one.decompress(members[1]).count(b"\n") == 2  # a reader of the first member only loses two thirds
    assert one.unused_data
    assert gzip.decompress(members[1]).count(b"\n") == 6
    assert plain[1].startswith(b'{"app_token"')
    assert plain[0].url.path.endswith("2026-03-03.json.gz")
    assert encoded[0].headers["content-encoding"] == "gzip"
    assert gzip.decompress(encoded[1]).count(b"\n") == 6
    assert ask.http.get(items[2]["url"]).text.count("\n") == 6  # the HTTP library unpacks it by itself
    assert "content-encoding" not in whole[0].headers
    assert gzip.decompress(whole[1]).count(b"\n") == 6


def test_odd_days_without_rows_are_gzips_of_nothing(userpilot):
    ask = userpilot("odd")
    ask.vendor.add_event(at="2026-03-03T10:00:00Z")
    _, items = ask.exported()
    first = ask.get(items[0]["url"])[1]
    assert len(items) == 3
    assert first[:2] == b"\x1f\x8b"
    assert gzip.decompress(first) == b""


@WORLDS
def test_sample_is_exported_completely(userpilot, world):
    """Every row of the requested days is exported, at least as often as the vendor has it."""
    ask = userpilot(world)
    ask.vendor.load_sample(date(2026, 2, 27), date(2026, 3, 5))
    types = ["identify_user", "identify_company", "page_view", "track", "track_feature", "interaction", "session_start"]
    rows = ask.rows("2026-03-01", "2026-03-04", event_type=types)
    delivered = Counter(json.dumps(row) for row in rows)
    for day in ("2026-03-02", "2026-03-03"):
        truth = Counter(json.dumps(row) for row in ask.vendor.events(day))
        assert truth <= delivered
        assert sum(truth.values()) == ask.vendor.count(day) > ask.vendor.count(day, distinct=True)
    once = world == "documented"
    assert once == (len(rows) == sum(ask.vendor.count(f"2026-03-0{day}") for day in range(1, 5)))
