"""Small servers on loopback that answer as a script says; they stand for proxies, file hosts and vendors."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request that a server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Host:
    """A server, and the requests it got; every answer is ``(status, headers, body)``, the last one for ever.

    Attributes:
        script: answers in order. Without a content-length among the headers, the end of the connection ends the body.
    """

    script: list[tuple[int, dict[str, str], bytes]]
    url: str = ""
    port: int = 0
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def host(*script: tuple[int, dict[str, str], bytes], address: str = "127.0.0.1", tls: Any = None) -> Iterator[Host]:
    """A server for as long as the block lasts.

    Args:
        tls: an ``ssl.SSLContext`` to speak TLS with.
    """
    found = Host(list(script))

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.asked.append(Asked(self.command, self.path, headers, body))
            status, named, content = found.script[min(len(found.asked), len(found.script)) - 1]
            self.send_response(status)
            for name, value in named.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_CONNECT = _answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    server = Server((address, 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    found.port = server.server_address[1]
    found.url = f"{'https' if tls else 'http'}://{address}:{found.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def whole(body: bytes, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """An answer whose length is told; ``content_encoding`` and the like become headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"content-length": str(len(body)), **named}, body
