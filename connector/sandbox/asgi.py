"""The ASGI application of a simulated vendor, and the faults that only the socket can produce.

A vendor answers synchronously from memory; this module receives the request and sends the answer. Where an ordinary
server would not misbehave enough, it writes to the socket itself. It knows no vendor's rules.
"""

import asyncio
import gzip
import socket
import struct
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from connector.sandbox.faults import Fault
from connector.sandbox.messages import Answer, Request, parse_query

REASONS = {200: "OK", 206: "Partial Content", 400: "Bad Request", 500: "Internal Server Error"}


class Answering(Protocol):
    """What an application needs of a vendor."""

    def answer(self, request: Request) -> Answer: ...


class Application:
    """The ASGI application of one vendor."""

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
    """Wait; True if the client is still connected afterwards."""
    try:
        await asyncio.wait_for(receive(), timeout=seconds)
    except TimeoutError:
        return True
    return False


async def _drip(answer: Answer, fault: Fault, send: Send) -> None:
    """Send the whole body in small pieces over ``seconds``, with the right length announced."""
    pieces = max(1, min(20, len(answer.body)))
    size = max(1, -(-len(answer.body) // pieces))
    await send(_start(answer))
    for start in range(0, len(answer.body), size):
        await asyncio.sleep(fault.seconds / pieces)
        await send({"type": "http.response.body", "body": answer.body[start : start + size], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _go_on(answer: Answer, fault: Fault, receive: Receive, send: Send) -> None:
    """Send the body again and again, without a length, until the client disconnects or ``seconds`` are over."""
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
    """Spaces compressed twice, to about a millionth of their size."""
    piece = gzip.compress(b" " * min(2**24, size), 9)
    packed = gzip.compress(piece * -(-size // 2**24), 9)
    extra = {"content-encoding": "gzip, gzip"}
    return Answer(status=answer.status, headers=answer.headers, body=packed).with_headers(extra)


async def _break_off(answer: Answer, fault: Fault, send: Send) -> None:
    """Write to the socket directly, because the server would prevent a wrong length or a broken connection."""
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
    if fault.kind == "wrong_content_length":
        announced = keep
    else:
        body = body[:keep]
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Answer')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers if name != "content-length"]
    lines += [f"content-length: {announced}", "connection: close", "", ""]
    transport.write("\r\n".join(lines).encode("latin-1") + body)
    if fault.kind == "reset":
        await asyncio.sleep(0.05)  # so that the headers arrive and the reset comes within the body
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    await _closed(transport, cycle)


async def _closed(transport: asyncio.Transport, cycle: object) -> None:
    transport.close()  # has no effect after an abort
    while not getattr(cycle, "disconnected", True):
        await asyncio.sleep(0.002)
