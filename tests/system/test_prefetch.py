"""Prefetched calls: in order, limited in number, and without threads if the reader never waits."""

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from connector.system.prefetch import QUICK_CALLS, QUICK_SECONDS, ahead


def here(number: int, *, seconds: float = 0.0, spend: Callable[[float], None] = time.sleep) -> tuple[int, bool]:
    spend(seconds)
    return number, threading.current_thread() is threading.main_thread()


class Clock:
    """Time that passes only where a call says so: what is quick stays quick on a machine with other things to do."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def spend(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("connector.system.prefetch.time", clock)
    return clock.spend


def test_results_come_in_the_order_of_the_calls_whatever_they_take():
    calls = [partial(here, n, seconds=0.02 * (3 - n % 3)) for n in range(9)]
    assert [n for n, _ in ahead(calls, at_once=4)] == list(range(9))


def test_quick_calls_need_no_threads(spend):
    assert all(
        in_reader
        for _, in_reader in ahead(
            [partial(here, n, seconds=0.9 * QUICK_SECONDS, spend=spend) for n in range(50)], at_once=8, at_first=0
        )
    )


def test_slow_calls_get_threads_after_the_first_and_none_is_lost_or_run_twice():
    calls = [partial(here, n, seconds=5 * QUICK_SECONDS) for n in range(20)]
    results = list(ahead(calls, at_once=8, at_first=0))
    assert [n for n, _ in results] == list(range(20))
    assert [in_reader for _, in_reader in results] == [True] + 19 * [False]


def test_one_hiccup_among_quick_calls_starts_no_threads(spend):
    calls = [partial(here, n, seconds=3 * QUICK_SECONDS if n == 9 else 0, spend=spend) for n in range(30)]
    assert all(in_reader for _, in_reader in ahead(calls, at_once=8, at_first=0))


def test_a_server_that_turns_slow_after_many_quick_calls_is_noticed_at_once(spend):
    calls = [
        partial(here, n, seconds=3 * QUICK_CALLS * QUICK_SECONDS if n >= 100 else 0, spend=spend) for n in range(104)
    ]
    results = list(ahead(calls, at_once=8, at_first=0))
    assert [n for n, in_reader in results if not in_reader] == [101, 102, 103]


@pytest.mark.parametrize("at_first", [0, 1, None])
def test_never_more_at_once_than_asked_for(at_first):
    running, most, lock = 0, 0, threading.Lock()

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(2 * QUICK_SECONDS)
        with lock:
            running -= 1

    list(ahead([call] * 30, at_once=3, at_first=at_first))
    assert most == 3


@pytest.mark.parametrize("at_first", [0, 2])
def test_an_error_comes_out_where_its_result_would_and_stops_what_has_not_started(at_first):
    started = []

    def call(number: int) -> int:
        started.append(number)
        time.sleep(2 * QUICK_SECONDS)
        if number == 3:
            raise LookupError(number)
        return number

    results = []
    with pytest.raises(LookupError):
        results.extend(ahead((partial(call, n) for n in range(1000)), at_once=4, at_first=at_first))
    assert results == [0, 1, 2]
    assert len(started) < 20
