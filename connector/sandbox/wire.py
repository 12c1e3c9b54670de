"""Requests and answers between a simulated vendor and its socket.

A vendor answers synchronously from memory (`Vendor.answer`); this room turns that into an ASGI application and,
where an ordinary server cannot misbehave enough, writes to the socket itself. It knows no vendor's rules.
"""

import asyncio
import gzip
import json
import socket
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote_plus

from starlette.types import Receive, Scope, Send

from connector.sandbox.faults import Fault

Header = tuple[str, str]
Params = dict[str, str | list[str]]

REASONS = {200: "OK", 206: "Partial Content", 400: "Bad Request", 500: "Internal Server Error"}


@dataclass(kw_only=True)
class Request:
    """One request as the vendor saw it; ``status`` is what it was answered with (0 while unanswered)."""

    method: str
    path: str
    query: str
    params: Params
    headers: dict[str, str]
    body: bytes = b""
    host: str = "127.0.0.1"
    at: float = 0.0
    status: int = 0

    @property
    def url(self) -> str:
        """Path and query as they stood in the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def param(self, name: str) -> str | None:
        """The value of a parameter, the last one if it was repeated."""
        value = self.params.get(name)
        return value[-1] if isinstance(value, list) else value

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(kw_only=True)
class Answer:
    """Status, headers and body; ``fault`` asks the socket to misbehave while sending them."""

    status: int = 200
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""
    fault: Fault | None = None

    def with_headers(self, extra: Mapping[str, str]) -> "Answer":
        """The same answer with headers replaced or added."""
        kept = [(name, value) for name, value in self.headers if name not in extra]
        return Answer(status=self.status, headers=[*kept, *extra.items()], body=self.body, fault=self.fault)


class Answering(Protocol):
    """What this room needs of a vendor."""

    def answer(self, request: Request) -> Answer: ...


def parse_query(text: str) -> Params:
    """Decode a query string: plus is a blank, a repeated name becomes a list, order of names kept."""
    found: Params = {}
    for part in text.split("&"):
        if not part:
            continue
        raw_name, _, raw_value = part.partition("=")
        name, value = unquote_plus(raw_name), unquote_plus(raw_value)
        before = found.get(name)
        if before is None:
            found[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[name] = [before, value]
    return found


class Application:
    """The ASGI side of one vendor."""

    def __init__(self, vendor: Answering) -> None:
        self.vendor = vendor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                break
        query = scope["query_string"].decode("latin-1")
        raw_path = scope.get("raw_path") or scope["path"].encode()
        request = Request(
            method=scope["method"],
            path=raw_path.decode("latin-1").partition("?")[0],
            query=query,
            params=parse_query(query),
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            body=body,
            host=(scope.get("client") or ("127.0.0.1", 0))[0],
        )
        answer = self.vendor.answer(request)
        if request.method == "HEAD":
            length = str(len(answer.body))
            answer = Answer(status=answer.status, headers=answer.headers, fault=answer.fault)
            await _send(answer.with_headers({"content-length": length}), send)
            return
        await _deliver(answer, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _deliver(answer: Answer, receive: Receive, send: Send) -> None:
    fault = answer.fault
    if fault is None:
        await _send(answer, send)
    elif fault.kind == "hang":
        if await _still_there(receive, fault.seconds):
            await _send(answer, send)
    elif fault.kind == "drip":
        await _drip(answer, fault, send)
    elif fault.kind == "endless":
        await _go_on(answer, fault, receive, send)
    elif fault.kind == "bomb":
        await _send(_packed_twice(answer, fault.after_bytes or 2**30), send)
    elif fault.kind == "coded":
        headers = [(name, value) for name, value in answer.headers if name != "content-length"]
        coded = Answer(status=answer.status, headers=headers, body=zlib.compress(answer.body))
        await _send(coded.with_headers({"content-encoding": "deflate"}), send)
    else:
        await _break_off(answer, fault, send)


async def _send(answer: Answer, send: Send, body: bytes | None = None) -> None:
    await send(_start(answer))
    await send({"type": "http.response.body", "body": answer.body if body is None else body})


def _start(answer: Answer) -> dict[str, Any]:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if not any(name == b"content-length" for name, _ in headers) and answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


async def _still_there(receive: Receive, seconds: float) -> bool:
    """Wait, and say whether the caller was patient enough."""
    try:
        await asyncio.wait_for(receive(), timeout=seconds)
    except TimeoutError:
        return True
    return False


async def _drip(answer: Answer, fault: Fault, send: Send) -> None:
    """Send the whole body, correctly announced, spread over ``seconds``."""
    pieces = max(1, min(20, len(answer.body)))
    size = max(1, -(-len(answer.body) // pieces))
    await send(_start(answer))
    for start in range(0, len(answer.body), size):
        await asyncio.sleep(fault.seconds / pieces)
        await send({"type": "http.response.body", "body": answer.body[start : start + size], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _go_on(answer: Answer, fault: Fault, receive: Receive, send: Send) -> None:
    """The body again and again, of no announced length, until the caller has enough or ``seconds`` are over."""
    loop = asyncio.get_running_loop()
    until, gone = loop.time() + fault.seconds, asyncio.ensure_future(receive())
    try:
        await send({**_start(answer), "headers": [(b"content-type", b"application/json")]})
        while not gone.done() and loop.time() < until:
            await send({"type": "http.response.body", "body": answer.body or b" ", "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


def _packed_twice(answer: Answer, size: int) -> Answer:
    """Blanks that unpack a thousand times a thousand times their size."""
    piece = gzip.compress(b" " * min(2**24, size), 9)
    packed = gzip.compress(piece * -(-size // 2**24), 9)
    extra = {"content-encoding": "gzip, gzip"}
    return Answer(status=answer.status, headers=answer.headers, body=packed).with_headers(extra)


async def _break_off(answer: Answer, fault: Fault, send: Send) -> None:
    """Write to the socket past the server, which would not let a wrong length or a broken connection through."""
    cycle = getattr(send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        raise ConnectionResetError(f"the fault {fault.kind!r} needs a socket: use connector.sandbox.serve()")
    if fault.kind in ("drop", "not_http"):
        if fault.kind == "not_http":
            transport.write(b"SSH-2.0-OpenSSH_9.7\r\n")
        await _closed(transport, cycle)
        return
    body, announced = answer.body, len(answer.body)
    keep = len(body) // 2 if fault.after_bytes is None else min(fault.after_bytes, len(body))
    if fault.kind == "open_end":
        keep = max(body.rfind(b"}", 0, keep), body.rfind(b"]", 0, keep)) + 1
    if fault.kind == "wrong_content_length":
        announced = keep
    else:
        body = body[:keep]
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Answer')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers if name != "content-length"]
    if fault.kind != "open_end":
        lines.append(f"content-length: {announced}")
    lines += ["connection: close", "", ""]
    transport.write("\r\n".join(lines).encode("latin-1") + body)
    if fault.kind == "reset":
        await asyncio.sleep(0.05)  # let the head arrive, so that the reset falls inside the body
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    await _closed(transport, cycle)


async def _closed(transport: asyncio.Transport, cycle: object) -> None:
    transport.close()  # after an abort it does nothing
    while not getattr(cycle, "disconnected", True):
        await asyncio.sleep(0.002)
