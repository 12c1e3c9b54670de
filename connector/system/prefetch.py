"""Runs calls a few ahead of their reader and yields the results in order.

Waiting for a vendor is what costs time, so several requests wait at once; memory holds at most that many answers.
It retries nothing and knows no HTTP.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Seconds a reader may wait for a result before more calls at a time would help it.
SOON = 0.005
# So many quick calls make up for slow ones: one hiccup is no reason for threads, a server that turned slow is.
OF_LATE = 10


def ahead(
    calls: Iterable[Callable[[], T]], *, at_once: int, at_first: int | None = None, to_the_end: bool = False
) -> Generator[T, None, None]:
    """Results of ``calls`` in their order, ``at_once`` of them running at any time.

    Stopping early, by an exception or by not asking for more, cancels what has not started.

    Args:
        at_once: at most so many.
        at_first: so many in the beginning, and twice as many whenever the reader had to wait. Where answers come
            faster than they are read, more threads would only take the processor from the reader; with 0 the reader's
            own thread runs the calls until they took longer than ``SOON`` on average of late.
        to_the_end: stopped early, wait for the calls that run: they use what is about to be taken away.
    """
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="ahead")
    running: deque[Future[T]] = deque()
    wanted, waiting_calls = at_once if at_first is None else at_first, iter(calls)
    try:
        spare = 0.0
        while not wanted and (call := next(waiting_calls, None)) is not None:
            asked = time.monotonic()
            result = call()
            spare = min(spare + SOON - (time.monotonic() - asked), OF_LATE * SOON)
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
            if time.monotonic() - asked > SOON:
                wanted = min(2 * wanted, at_once)
            yield result
    finally:
        pool.shutdown(wait=to_the_end, cancel_futures=True)
