"""The request budget: one fixed window per client id, shared by every family of routes.

The window opens with its first request, and refusals do not extend it. Track and Import have no limit. Requests
without a route are not counted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

MANAGE_MAX = 20


@dataclass
class _Window:
    count: int
    ends: float


@dataclass(frozen=True)
class Spent:
    """The state of the budget after one request."""

    headers: dict[str, str]
    seconds: int
    refused: bool


class Budget:
    """Counts requests by client id (or, without one, by address)."""

    def __init__(self, limit: tuple[int, float] | None, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def spend(self, key: str, *, manage: bool = False) -> Spent:
        """Count one request. Its answer must carry the headers, even if it is refused."""
        if self.limit is None:
            return Spent({}, 0, False)
        most, seconds = self.limit
        if manage:
            most = min(most, MANAGE_MAX)
        now = self._clock()
        window = self._windows.get(key)
        if window is None or now >= window.ends:
            window = self._windows[key] = _Window(0, now + seconds)
        window.count += 1
        left = max(1, math.ceil(round(window.ends - now, 3)))
        headers = {
            "x-ratelimit-limit": str(most),
            "x-ratelimit-remaining": str(max(0, most - window.count)),
            "x-ratelimit-reset": str(left),
        }
        return Spent(headers, left, window.count > most)


def key_of(headers: dict[str, str], host: str) -> str:
    """The key of the budget a request spends."""
    for name in ("openpanel-client-id", "x-real-ip", "x-client-ip", "x-forwarded-for"):
        if headers.get(name):
            return headers[name]
    return host
