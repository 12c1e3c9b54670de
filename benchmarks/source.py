"""A local stand-in for OpenPanel's export that costs next to nothing, so that the clients are what gets measured.

Every full page is built before the first request and leaves as one ``send`` of ready bytes. It is not the sandbox: it
knows one route and one day, checks no secret, and serves every field whatever ``includes`` says. With ``--rate-limit``
it keeps the real limiter's manners: a fixed window per client id, opened by the first request, refused calls counted.
Without, it sends the same headers with a budget nobody can spend, because the real server always sends them.

With ``--chunks`` it is Userpilot's export instead: a job that is complete as soon as it is asked for, and its files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from benchmarks import exported
from benchmarks.events import DAY, PAGE_SIZE, PROJECT, page

_UNLIMITED = 1_000_000_000
_REFUSED = b'{"status":429,"error":"Too Many Requests","message":"You have exceeded the rate limit for this endpoint."}'
_NO_CLIENT = b'{"error":"Unauthorized","message":"Export: Client ID must be a valid UUIDv4"}'


class Limit(NamedTuple):
    """``requests`` in every window of ``seconds``."""

    requests: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read ``100/10``."""
        requests, _, seconds = text.partition("/")
        return cls(int(requests), float(seconds))


@dataclass
class Window:
    """A fixed window, as Redis keeps it: a counter that expires a while after its first request."""

    opened: float
    used: int = 0


@dataclass
class Stats:
    """What the clients did since the last ``/reset``."""

    requests: int = 0
    refusals: int = 0
    bytes: int = 0
    in_flight_peak: int = 0
    cpu_before: float = field(default_factory=lambda: _cpu())

    def document(self) -> dict[str, float]:
        """The answer of ``/stats``."""
        return {
            "requests": self.requests,
            "refusals": self.refusals,
            "bytes": self.bytes,
            "in_flight_peak": self.in_flight_peak,
            "cpu_seconds": round(_cpu() - self.cpu_before, 4),
        }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Source:
    """Answers for one day of ``total`` events."""

    def __init__(self, *, total: int, day: date = DAY, latency: float = 0.0, limit: Limit | None = None) -> None:
        self.total, self.day, self.latency, self.limit = total, day, latency, limit
        self.pages = [page(number, total, day=day) for number in range(1, -(-total // PAGE_SIZE) + 1)]
        self.export: Export | None = None
        self.windows: dict[str, Window] = {}
        self.stats = Stats()
        self.in_flight = 0

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        connections: set[asyncio.Task[None]] = set()
        while True:
            client, _ = await loop.sock_accept(listener)
            task = loop.create_task(self._connection(client))
            connections.add(task)
            task.add_done_callback(connections.discard)

    async def _connection(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        client.setblocking(False)
        # Header and body leave as two sends: with Nagle's algorithm the last segment would wait for an ACK.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_194_304)
        received = b""
        try:
            while True:
                while b"\r\n\r\n" not in received:
                    more = await loop.sock_recv(client, 65536)
                    if not more:
                        return
                    received += more
                head, _, received = received.partition(b"\r\n\r\n")
                self.in_flight += 1
                self.stats.in_flight_peak = max(self.stats.in_flight_peak, self.in_flight)
                try:
                    header, body = await self._answer(head.decode("latin-1"))
                    await loop.sock_sendall(client, header)
                    await loop.sock_sendall(client, body)
                finally:
                    self.in_flight -= 1
        except (ConnectionError, BrokenPipeError):
            return
        finally:
            client.close()

    async def _answer(self, head: str) -> tuple[bytes, bytes]:
        request_line, *lines = head.split("\r\n")
        url = urlsplit(request_line.split(" ")[1])
        if url.path in ("/stats", "/reset"):
            document = json.dumps(self.stats.document()).encode()
            if url.path == "/reset":
                self.stats = Stats()
                self.windows.clear()
                if self.export:
                    self.export.started = ""
            return _header(200, document), document
        if url.path.rstrip("/").endswith("/export/events"):
            return await self._events(url.query, headers_of(lines))
        if self.export and (body := self.export.answer(request_line, headers_of(lines))):
            self.stats.requests += 1
            self.stats.bytes += len(body)
            return _header(200, body), body
        body = b'{"message":"Route not found","error":"Not Found","statusCode":404}'
        return _header(404, body), body

    async def _events(self, query: str, headers: dict[str, str]) -> tuple[bytes, bytes]:
        client_id = headers.get("openpanel-client-id", "")
        admitted, budget = self._admit(client_id)
        self.stats.requests += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        if not admitted:
            self.stats.refusals += 1
            status, body = 429, _REFUSED
        elif not client_id:
            status, body = 401, _NO_CLIENT
        else:
            status, body = 200, self._page(parse_qs(query, keep_blank_values=True))
        self.stats.bytes += len(body)
        return _header(status, body, budget), body

    def _admit(self, client_id: str) -> tuple[bool, str]:
        """Whether this request fits its window, and the headers that say so; seconds are rounded up as Redis' are."""
        limit = self.limit or Limit(_UNLIMITED, 10)
        now = time.monotonic()
        window = self.windows.get(client_id)
        if window is None or now >= window.opened + limit.seconds:
            window = self.windows[client_id] = Window(now)
        window.used += 1
        admitted = window.used <= limit.requests
        reset = math.ceil(window.opened + limit.seconds - now)
        budget = (
            f"x-ratelimit-limit: {limit.requests}\r\n"
            f"x-ratelimit-remaining: {max(limit.requests - window.used, 0)}\r\n"
            f"x-ratelimit-reset: {reset}\r\n"
        )
        return admitted, budget if admitted else f"{budget}retry-after: {reset}\r\n"

    def _page(self, query: dict[str, list[str]]) -> bytes:
        number = max(int(query.get("page", ["1"])[0]), 1)
        limit = min(max(int(query.get("limit", ["50"])[0]), 1), PAGE_SIZE)
        day = self.day.isoformat()
        start, end = query.get("start", [""])[0][:10], query.get("end", [""])[0][:10]
        project = query.get("projectId", query.get("project_id", [PROJECT]))[0]
        if not (start <= day <= end) or project != PROJECT:
            return page(number, 0, limit)
        if limit == PAGE_SIZE and number <= len(self.pages):
            return self.pages[number - 1]
        return page(number, self.total, limit, self.day)


class Export:
    """One job over ready files, complete at once; links are on this very host and never end."""

    def __init__(self, files: list[Path]) -> None:
        self.names = [file.name for file in files]
        self.bodies = {file.name: file.read_bytes() for file in files}
        self.started = ""

    def answer(self, request_line: str, headers: dict[str, str]) -> bytes:
        """The body of one answer; empty if the route is unknown."""
        method, target, _ = request_line.split(" ")
        path = urlsplit(target).path.rstrip("/")
        if path.startswith("/files/"):
            return self.bodies.get(path.removeprefix("/files/"), b"")
        if method == "POST" and path.endswith("/exports"):
            self.started = datetime.now(UTC).isoformat()
            return json.dumps({"job_id": "benchmark", "status": "in_progress"}).encode()
        job = {
            "job_id": "benchmark",
            "status": "completed",
            "type": "export",
            "start_time": self.started,
            "end_time": self.started,
            "all_chunks": [name.partition(".")[0] for name in self.names],
            "completed_chunks": [name.partition(".")[0] for name in self.names],
        }
        if path.endswith("/jobs"):
            return json.dumps([job] if self.started else []).encode()
        if path.endswith("/jobs/benchmark"):
            urls = [{"filename": name, "url": f"http://{headers['host']}/files/{name}"} for name in self.names]
            return json.dumps(job | {"presigned_urls": urls}).encode()
        return b""


def headers_of(lines: list[str]) -> dict[str, str]:
    """Header lines by lower-case name."""
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


_REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


def _header(status: int, body: bytes, budget: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json; charset=utf-8\r\n"
        f"{budget}content-length: {len(body)}\r\nconnection: keep-alive\r\n\r\n"
    ).encode()


async def _run(source: Source, port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    serving = loop.create_task(source.serve(listener))
    loop.add_signal_handler(signal.SIGTERM, serving.cancel)
    if not sys.stdin.isatty():  # a runner that dies without a goodbye closes our stdin
        loop.add_reader(0, lambda: os.read(0, 1) or serving.cancel())
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    try:
        await serving
    except asyncio.CancelledError:
        pass
    finally:
        listener.close()


def main() -> None:
    """Serve until the parent goes away."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000, help="events of the one day there is")
    parser.add_argument("--day", type=date.fromisoformat, default=DAY)
    parser.add_argument("--latency", type=float, default=0, metavar="MS", help="milliseconds before every answer")
    parser.add_argument("--rate-limit", type=Limit.parse, metavar="N/SECONDS", help="e.g. 100/10")
    parser.add_argument("--chunks", type=int, default=0, help="serve an export of so many files instead of pages")
    parser.add_argument("--cache", type=Path, default=Path(".bench"), help="where the files are kept")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    total = 0 if options.chunks else options.events
    source = Source(total=total, day=options.day, latency=options.latency / 1000, limit=options.rate_limit)
    if options.chunks:
        source.export = Export(exported.files(options.cache, options.events, options.chunks))
    asyncio.run(_run(source, options.port))


if __name__ == "__main__":
    main()
