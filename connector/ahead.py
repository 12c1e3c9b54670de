"""Runs calls a few ahead of their reader and yields the results in order.

Waiting for a vendor is what costs time, so several requests wait at once; memory holds at most that many answers.
It retries nothing and knows no HTTP.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(calls: Iterable[Callable[[], T]], *, at_once: int) -> Iterator[T]:
    """Results of ``calls`` in their order, ``at_once`` of them running at any time.

    Stopping early, by an exception or by not asking for more, cancels what has not started.
    """
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="ahead")
    waiting: deque[Future[T]] = deque()
    try:
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) >= at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
