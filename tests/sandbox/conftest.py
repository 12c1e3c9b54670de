"""The simulated vendors on real sockets, and plain HTTP clients that ask them."""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from connector.sandbox import READ, USERPILOT_KEY, Client, OpenPanel, Userpilot, serve, serve_userpilot

EXPORTS = "/api/v1/analytics/exports"


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


class Exporter:
    """One simulated Userpilot and questions to it; nothing is retried and no redirect is followed."""

    def __init__(self, vendor: Userpilot, api: str, files: str, clock: Clock) -> None:
        self.vendor, self.api, self.files_url, self.clock = vendor, api, files, clock
        self.http = httpx.Client(timeout=2, verify=False)  # no TLS here; its context is slow to make

    def send(self, method: str, path: str, authorization: str | None = f"Token {USERPILOT_KEY}", **options: Any):
        headers = dict(options.pop("headers", {})) | ({"authorization": authorization} if authorization else {})
        return self.http.request(method, f"{self.api}{self.vendor.prefix}{path}", headers=headers, **options)

    def trigger(self, first: str = "2026-03-02", last: str = "2026-03-04", *, path: str = EXPORTS, **body: Any):
        return self.send("POST", path, json={"from": first, "to": last} | body)

    def jobs(self) -> list[dict[str, Any]]:
        return self.send("GET", f"{EXPORTS}/jobs/").json()

    def show(self, job_id: str) -> httpx.Response:
        return self.send("GET", f"{EXPORTS}/jobs/{job_id}")

    def done(self, job_id: str) -> dict[str, Any]:
        for _ in range(20):
            found = self.show(job_id).json()
            if found["status"] in ("completed", "failed"):
                return found
        raise AssertionError(f"never done: {found}")

    def get(self, url: str, **headers: str) -> tuple[httpx.Response, bytes]:
        """A file as it comes over the wire."""
        with self.http.stream("GET", url, headers=headers) as answer:
            return answer, b"".join(answer.iter_raw())

    def files(self, first: str = "2026-03-02", last: str = "2026-03-04", **body: Any) -> dict[str, bytes]:
        """A whole export: the text of every file, whatever it is packed in."""
        job = self.trigger(first, last, **body)
        assert job.is_success, job.text
        found = {}
        for item in self.done(job.json()["job_id"])["presigned_urls"]:
            raw = self.get(item["url"])[1]
            found[item["filename"]] = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        return found

    def rows(self, first: str = "2026-03-02", last: str = "2026-03-04", **body: Any) -> list[dict[str, Any]]:
        return [json.loads(line) for text in self.files(first, last, **body).values() for line in text.splitlines()]

    def names(self, *args: str, **body: Any) -> list[str]:
        return [row["event_name"] for row in self.rows(*args, **body)]


class Stage:
    """A pair of ports on which one vendor after the other plays; opening new ones for every test costs more than it."""

    def __init__(self, stack: ExitStack) -> None:
        self.playing: Userpilot
        self.app = self._of(lambda vendor: vendor.app)
        self.files = self._of(lambda vendor: vendor.files)
        self.files_url = ""
        self.urls: tuple[str, str] = stack.enter_context(serve_userpilot(self))

    def _of(self, side: Callable[[Userpilot], Any]) -> Any:
        async def app(scope, receive, send) -> None:
            await side(self.playing)(scope, receive, send)

        return app


@pytest.fixture(scope="session")
def stages() -> Iterator[Callable[[ExitStack], Stage]]:
    """Lends pairs of ports until a test ends; new ones are opened when there are none."""
    free: list[Stage] = []
    with ExitStack() as everything:

        def lend(borrower: ExitStack) -> Stage:
            stage = free.pop() if free else Stage(everything)
            borrower.callback(free.append, stage)
            return stage

        yield lend


@pytest.fixture
def userpilot(stages) -> Iterator[Callable[..., Exporter]]:
    """Makes environments; the clock stands at 2026-03-05T12:00:00Z until the test moves it."""
    with ExitStack() as stack:

        def make(world: str = "documented", **settings: Any) -> Exporter:
            clock = Clock(1_772_712_000.0)
            vendor = Userpilot(world=world, clock=clock, **settings)
            stage = stages(stack)
            api, vendor.files_url = stage.urls
            stage.playing = vendor
            exporter = Exporter(vendor, api, vendor.files_url, clock)
            stack.callback(exporter.http.close)
            return exporter

        yield make


@pytest.fixture(params=["documented", "odd"])
def pilot(request, userpilot) -> Exporter:
    """The same question in both worlds."""
    return userpilot(request.param)
