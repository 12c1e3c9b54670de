"""A simulated OpenPanel on a real socket, and a plain HTTP client that asks it."""


from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from connector.sandbox import READ, Client, OpenPanel, serve


class Clock:
    """A clock the test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Asker:
    """One simulated server and questions to it."""

    def __init__(self, vendor: OpenPanel, base: str, clock: Clock) -> None:
        self.vendor, self.base, self.clock = vendor, base, clock
        self.http = httpx.Client(base_url=base, timeout=2)

    def send(self, method: str, path: str, client: Client | None = READ, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if client is not None:
            headers = {"openpanel-client-id": client.id, "openpanel-client-secret": client.secret or ""} | headers
        return self.http.request(method, path, headers=headers, **options)

    def events(self, client: Client | None = READ, **params: Any) -> httpx.Response:
        return self.send("GET", "/export/events", client, params=params)

    def day(self, day: str = "2026-03-04", **params: Any) -> httpx.Response:
        return self.events(start=day, end=day, **params)

    def track(self, client: Client, body: Any, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", "/track", client, json=body, headers={"x-client-ip": "198.51.100.7", **named})


@pytest.fixture
def openpanel() -> Iterator[Callable[..., Asker]]:
    """Makes servers; the clock stands at 2026-03-05T12:00:00Z until the test moves it."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Asker:
            clock = Clock(1_772_712_000.0)
            vendor = OpenPanel(clock=clock, **settings)
            asker = Asker(vendor, stack.enter_context(serve(vendor.app)), clock)
            stack.callback(asker.http.close)
            return asker

        yield make
