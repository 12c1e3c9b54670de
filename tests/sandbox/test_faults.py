"""Every planted fault, as a plain HTTP client sees it on a real socket."""

import json
import time

import httpx
import pytest

DAY = "2026-03-04"


@pytest.fixture
def ask(openpanel):
    asker = openpanel()
    asker.vendor.load({"id": f"e{n}", "at": f"{DAY}T10:00:00Z"} for n in range(30))
    return asker


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        ({}, 500, "Internal server error"),
        ({"status": 502}, 502, "nginx"),
        ({"status": 401}, 401, "Unauthorized"),
        ({"status": 503, "body": {"error": "busy"}}, 503, "busy"),
        ({"status": 418, "body": "teapot"}, 418, "teapot"),
    ],
)
def test_status(ask, options, status, text):
    ask.vendor.faults.add("status", **options)
    answer = ask.day()
    assert answer.status_code == status
    assert text in answer.text
    assert ask.day().status_code == 200  # the fault happens once


def test_429_with_and_without_a_hint(ask):
    ask.vendor.faults.add("status", status=429)
    ask.vendor.faults.add("status", status=429, headers={})
    ask.vendor.faults.add("status", status=429, headers={"Retry-After": "2"})
    full, bare, own = (ask.day() for _ in range(3))
    assert full.headers["retry-after"] == full.headers["x-ratelimit-reset"] == "10"
    assert not {"retry-after", "x-ratelimit-reset"} & bare.headers.keys()
    assert own.headers["retry-after"] == "2"
    assert own.json()["error"] == "Too Many Requests"


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("html_200", "<html"),
        ("invalid_json", '{"meta":{"count":30'),
        ("other_json", '"items":[]'),
        ("missing_data", '{"meta"'),
        ("missing_total", '"count":30'),
        ("extra_field", '"surprise":"an undeclared field"'),
        ("bad_value", '"createdAt":{"unexpected":"object"}'),
    ],
)
def test_bodies(ask, kind, seen):
    ask.vendor.faults.add(kind)
    answer = ask.day()
    assert answer.status_code == 200
    assert seen in answer.text
    if kind == "invalid_json":
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    if kind == "missing_data":
        assert "data" not in answer.json()
    if kind == "missing_total":
        assert "totalCount" not in answer.json()["meta"]


@pytest.mark.parametrize("kind", ["truncate", "reset"])
@pytest.mark.parametrize("after", [None, 100])
def test_broken_off(ask, kind, after):
    """Half a body is an error, never a short page."""
    ask.vendor.faults.add(kind, after_bytes=after)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        ask.day()
    assert len(ask.day().json()["data"]) == 30


def test_dropped(ask):
    """The connection closes without an answer."""
    ask.vendor.faults.add("drop")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        ask.day()
    assert ask.day().status_code == 200


@pytest.mark.parametrize(("kind", "length"), [("empty", 0), ("cut", 40)])
def test_less_than_there_is_and_correctly_announced(ask, kind, length):
    ask.vendor.faults.add(kind, after_bytes=40)
    answer = ask.day()
    assert (len(answer.content), answer.headers["content-length"]) == (length, str(length))


def test_wrong_content_length(ask):
    """The client cuts a body that is longer than announced, so what arrives is not valid JSON."""
    ask.vendor.faults.add("wrong_content_length")
    answer = ask.day()
    assert len(answer.content) == int(answer.headers["content-length"])
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_hang(ask):
    ask.vendor.faults.add("hang", seconds=30)
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        ask.send("GET", "/export/events", timeout=0.2)
    ask.vendor.faults.add("hang", seconds=0.2)
    assert ask.day().status_code == 200
    assert 0.3 < time.monotonic() - began < 25


def test_drip(ask):
    ask.vendor.faults.add("drip", seconds=0.3)
    began = time.monotonic()
    assert len(ask.day().json()["data"]) == 30
    assert time.monotonic() - began > 0.25


def test_redirect(ask):
    ask.vendor.faults.add("redirect", location="https://elsewhere.example.com/export/events")
    answer = ask.day()
    assert (answer.status_code, answer.headers["location"]) == (302, "https://elsewhere.example.com/export/events")


def test_faults_choose_path_page_and_number(ask):
    ask.vendor.faults.add("status", page=2, times=2)
    ask.vendor.faults.add("status", path="/track")
    statuses = [ask.day(limit=10, page=page).status_code for page in (1, 2, 3, 2, 2)]
    assert statuses == [200, 500, 200, 500, 200]
    assert [fault.path for fault in ask.vendor.faults.waiting] == ["/track"]
    ask.vendor.faults.add("status", path="/export/*")
    assert [ask.day().status_code for _ in range(2)] == [500, 200]
    ask.vendor.faults.clear()
    ask.vendor.faults.add("status", times=None)
    assert {ask.day().status_code for _ in range(5)} == {500}


def test_unknown_kind_is_a_mistake_of_the_test(ask):
    with pytest.raises(ValueError, match="no fault is called 'explode'"):
        ask.vendor.faults.add("explode")
