"""What the tests of both simulated vendors share: a clock, HTTP clients, and helpers that read stored rows."""

import gzip
import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from connector.sandbox import READ, ROOT, USERPILOT_KEY, Client, OpenPanel, Userpilot, serve_userpilot

EXPORTS = "/api/v1/analytics/exports"
WORLDS = pytest.mark.parametrize("world", ["documented", "odd"])
DAY = "2026-03-04"
NULS = "\0\0"
STOCKHOLM = ZoneInfo("Europe/Stockholm")
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)  # the days on which Stockholm changes its clocks


def around(day: date, before: int = 1, after: int = 1) -> list[date]:
    """A day with some days before and after it."""
    return [day + timedelta(days=away) for away in range(-before, after + 1)]


def midnight(day: date) -> datetime:
    """The beginning of a day in Stockholm."""
    return datetime.combine(day, datetime.min.time(), STOCKHOLM).astimezone(UTC)


def local(row: dict[str, Any]) -> datetime:
    """The time of a row in Stockholm."""
    return datetime.fromisoformat(row["created_at"]).astimezone(STOCKHOLM)


def seconds_of(row: dict[str, Any]) -> float:
    """The time of a row in seconds since 1970."""
    return datetime.fromisoformat(row["created_at"]).timestamp()


def stored(vendor: OpenPanel, day: date) -> list[dict[str, Any]]:
    """The stored rows of a week around a day."""
    return [row for one in around(day, 3, 4) for row in vendor.rows(one)]


def ids(answer: httpx.Response) -> list[str]:
    """The ids of the rows of an answer."""
    return [row["id"] for row in answer.json()["data"]]


def refused(answer: httpx.Response) -> tuple[int, str]:
    """Status and message of a refusal."""
    return answer.status_code, answer.json()["message"]


def counts(series: dict[str, Any]) -> dict[str, Any]:
    """The counts of a chart's series by label."""
    return {point["date"]: point["count"] for point in series["data"]}


class Clock:
    """A clock that the test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Asker:
    """One simulated OpenPanel and an HTTP client for it."""

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

    def insights(self, route: str, client: Client = READ, project: str = "demo", **params: Any) -> Any:
        """The body of an Insights route."""
        answer = self.send("GET", f"/insights/{project}/{route}", client, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def chart(self, *series: dict[str, Any], **params: Any) -> dict[str, Any]:
        """The body of a chart; breakdowns are given as names."""
        asked = {"projectId": "demo", "events": json.dumps(series), **params}
        if "breakdowns" in asked:
            asked["breakdowns"] = json.dumps([{"name": name} for name in asked["breakdowns"]])
        answer = self.send("GET", "/export/charts", ROOT, params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def series(self, *series: dict[str, Any], **params: Any) -> dict[str, Any]:
        """The only series of a chart."""
        (found,) = self.chart(*series, **params)["series"]
        return found


class Exporter:
    """One simulated Userpilot and an HTTP client for it, without retries and redirects."""

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
        """A file with the bytes of its transport."""
        with self.http.stream("GET", url, headers=headers) as answer:
            return answer, b"".join(answer.iter_raw())

    def files(self, first: str = "2026-03-02", last: str = "2026-03-04", **body: Any) -> dict[str, bytes]:
        """A whole export: the unpacked text of every file."""
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

    def exported(self, first: str = "2026-03-02", last: str = "2026-03-04", **body: Any):
        """An export: the id of its job, and names and URLs of its files."""
        job_id = self.trigger(first, last, **body).json()["job_id"]
        return job_id, self.done(job_id)["presigned_urls"]

    def one_file(self) -> tuple[str, str]:
        """An export of one file with one row: the id of its job and the URL of the file."""
        self.vendor.add_event(at="2026-03-03T10:00:00Z")
        job_id, items = self.exported("2026-03-03", "2026-03-03")
        return job_id, items[0]["url"]


class Stage:
    """A pair of ports that serves one vendor after another, because opening ports costs more than a test."""

    def __init__(self, stack: ExitStack) -> None:
        self.vendor: Userpilot
        self.app = self._of(lambda vendor: vendor.app)
        self.files = self._of(lambda vendor: vendor.files)
        self.files_url = ""
        self.urls: tuple[str, str] = stack.enter_context(serve_userpilot(self))

    def _of(self, side: Callable[[Userpilot], Any]) -> Any:
        async def app(scope, receive, send) -> None:
            await side(self.vendor)(scope, receive, send)

        return app
