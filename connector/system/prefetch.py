"""Prefetch: runs calls ahead of their reader and yields the results in order.

Most of the time goes into waiting for a vendor, so several requests wait at once. Memory holds at most that many
answers. It retries nothing and knows no HTTP.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Seconds: a reader that waits longer for a result is helped by more calls at a time.
QUICK_SECONDS = 0.005
# This many quick calls outweigh slow ones. One slow call is no reason to start threads; a server that turned slow is.
QUICK_CALLS = 10


def ahead(
    calls: Iterable[Callable[[], T]], *, at_once: int, at_first: int | None = None, to_the_end: bool = False
) -> Generator[T, None, None]:
    """Results of ``calls`` in their order, up to ``at_once`` of them running at any time.

    If the reader stops early, calls that have not started are cancelled.

    Args:
        calls: run in this order.
        at_once: most calls that run at the same time.
        at_first: calls at the same time in the beginning; doubled whenever the reader had to wait. If answers come
            faster than they are read, more threads would only take processor time from the reader. With 0, the
            reader's own thread runs the calls until recent ones took longer than ``QUICK_SECONDS`` on average.
        to_the_end: if the reader stops early, wait for running calls. Set it if they use something that the reader
            removes afterwards.
    """
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="ahead")
    running: deque[Future[T]] = deque()
    wanted, waiting_calls = at_once if at_first is None else at_first, iter(calls)
    try:
        spare = 0.0
        while not wanted and (call := next(waiting_calls, None)) is not None:
            asked = time.monotonic()
            result = call()
            spare = min(spare + QUICK_SECONDS - (time.monotonic() - asked), QUICK_CALLS * QUICK_SECONDS)
            if spare < 0:
                wanted = min(2, at_once)
            yield result
        while True:
            while len(running) < wanted and (call := next(waiting_calls, None)) is not None:
                running.append(pool.submit(call))
            if not running:
                return
            asked = time.monotonic()
            result = running.popleft().result()
            if time.monotonic() - asked > QUICK_SECONDS:
                wanted = min(2 * wanted, at_once)
            yield result
    finally:
        pool.shutdown(wait=to_the_end, cancel_futures=True)
