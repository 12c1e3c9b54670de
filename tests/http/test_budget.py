"""The budget is spent at once, never overdrawn, and shared by every process with the same key."""

import subprocess
import sys
import textwrap

import httpx
import pytest

from connector.errors import TransientError
from connector.http.budget import OPENER_LEASE, SharedBudget
from connector.http.client import Http
from connector.meter import Meter
from connector.sandbox import READ, serve
from connector.sandbox import OpenPanel as Vendor

pytestmark = pytest.mark.usefixtures("each_state")


class Clock:
    def __init__(self):
        self.now = 1e9

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budget(tmp_path, clock):
    return lambda: SharedBudget("key", folder=tmp_path, clock=clock, sleep=clock.sleep)


def headers(limit=100, remaining=99, reset=10):
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(reset),
    }


def test_a_window_is_spent_at_once_and_then_waited_for(budget, clock):
    mine = budget()
    mine.learn(mine.take(), headers())
    for _ in range(99):
        mine.take()
    assert clock.now == 1e9, "pacing inside a window only loses time"

    mine.take()
    assert 1e9 + 10.0 <= clock.now <= 1e9 + 10.6


def test_two_processes_share_one_window(budget, clock):
    one, two = budget(), budget()
    one.learn(one.take(), headers(limit=10, remaining=9))
    for _ in range(5):
        one.take()
    for _ in range(4):
        two.take()
    assert clock.now == 1e9
    two.take()
    assert clock.now >= 1e9 + 10


def test_only_one_opens_a_window(budget, clock):
    ticket = budget().take()
    assert ticket.opener
    clock.sleep = lambda seconds: (_ for _ in ()).throw(StopIteration)
    with pytest.raises((StopIteration, RuntimeError)):
        budget().take()


def test_an_opener_that_died_is_replaced(budget, clock):
    budget().take()
    clock.now += OPENER_LEASE
    assert budget().take().opener


def test_an_opener_without_an_answer_makes_room_at_once(budget, clock):
    one = budget()
    one.give_back(one.take())
    assert budget().take().opener
    assert clock.now == 1e9


def test_what_strangers_use_is_counted(budget, clock):
    """Another machine shares the client id: the vendor's remaining is lower than ours."""
    mine = budget()
    mine.learn(mine.take(), headers(limit=100, remaining=40))
    for _ in range(40):
        mine.take()
    assert clock.now == 1e9
    mine.take()
    assert clock.now >= 1e9 + 10


def test_a_refusal_holds_everybody_until_the_vendor_listens_again(budget, clock):
    one, two = budget(), budget()
    one.learn(one.take(), headers())
    one.learn(one.take(), headers(remaining=0, reset=7), refused_for=7.0)
    two.take()
    assert clock.now >= 1e9 + 7


def test_a_server_without_rate_headers_is_not_slowed(budget, clock):
    mine = budget()
    mine.learn(mine.take(), {})
    for _ in range(500):
        mine.learn(mine.take(), {})
    assert clock.now == 1e9


@pytest.mark.parametrize(("reset", "waits"), [("10", 10), ("60", 60), ("300", 300), ("1000000060", 60)])
def test_a_window_that_ends_soon_is_waited_for_however_its_end_is_told(budget, clock, reset, waits):
    mine = budget()
    mine.learn(mine.take(), headers(limit=1, remaining=0, reset=reset))
    mine.take()
    assert 1e9 + waits <= clock.now <= 1e9 + waits + 1


@pytest.mark.parametrize("reset", ["301", "2000", "3500", "1000000400"])
def test_a_window_that_ends_late_is_told_at_once_to_all_and_not_waited_for(budget, clock, reset):
    """The header may mean hours or milliseconds; no run is held in silence for it."""
    mine = budget()
    mine.learn(mine.take(), headers(limit=2, remaining=1, reset=reset))
    mine.take()
    for one in (mine, budget()):
        with pytest.raises(TransientError, match=r"stream\[day\].* allows 2 requests.*listens again in \d+ s"):
            one.take("stream[day]")
    assert clock.now == 1e9
    clock.now += 3600
    assert mine.take().opener


@pytest.mark.parametrize("named", [{"retry-after": "2000"}, {"x-ratelimit-reset": "2000"}])
@pytest.mark.parametrize("status", [200, 429])
def test_a_request_tells_what_wait_it_does_not_take(tmp_path, named, status):
    asked = []

    def handle(request):
        asked.append(request)
        rate = {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "2000"}
        return httpx.Response(status, json={}, headers=rate if status == 200 else named)

    own = SharedBudget("k", folder=tmp_path, sleep=lambda _: pytest.fail("it waited"))
    with Http("http://host", headers={}, budget=own, transport=httpx.MockTransport(handle)) as http:
        if status == 200:
            http.get("/x", where="test")
        with pytest.raises(TransientError, match=r"\b2000 s"):
            http.get("/x", where="test")
    assert len(asked) == 1


@pytest.mark.parametrize("rubbish", [b"", b"{", b'{"limit":"x"}', b"\xff"])
def test_torn_content_starts_a_fresh_window(budget, rubbish):
    mine = budget()
    with mine._cell.changing() as content:
        content.data = rubbish
    assert mine.take().opener


def test_a_clock_set_back_does_not_stop_the_world(budget, clock):
    mine = budget()
    mine.learn(mine.take(), headers())
    clock.now -= 90_000
    assert mine.take().opener


def test_three_processes_are_refused_never(tmp_path):
    """What no per-process limiter can do: one bucket, three processes, not one 429."""
    vendor = Vendor(rate_limit=(20, 1.0))
    with serve(vendor.app) as url:
        code = textwrap.dedent(f"""
            from pathlib import Path
            from connector.http.client import Http
            from connector.meter import Meter
            from connector.http.budget import SharedBudget
            budget = SharedBudget("k", folder=Path({str(tmp_path)!r}))
            headers = {{"openpanel-client-id": {READ.id!r}, "openpanel-client-secret": {READ.secret!r}}}
            with Http({url!r}, headers=headers, budget=budget) as http:
                for _ in range(25):
                    http.get("/export/events", [("limit", "1")], where="test")
        """)
        processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
        assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]

    assert vendor.refusals == 0
    assert len(vendor.requests) == 75


def test_a_foreign_burst_costs_waiting_not_failure(tmp_path):
    """Another machine empties the window: our request is refused once, then waits and succeeds."""
    vendor = Vendor(rate_limit=(10, 1.0))
    headers_ = {"openpanel-client-id": READ.id, "openpanel-client-secret": READ.secret}
    with serve(vendor.app) as url:
        stranger = httpx.Client(headers=headers_)  # opened before, so that its burst ends before the window does
        with stranger, Http(url, headers=headers_, budget=SharedBudget("k", folder=tmp_path)) as http:
            http.get("/export/events", [("limit", "1")], where="test")
            for _ in range(12):
                stranger.get(url + "/export/events?limit=1")
            meter = Meter()
            http.get("/export/events", [("limit", "1")], where="test", meter=meter)
    assert meter.refused == 1
