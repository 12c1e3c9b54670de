"""The types both vendors share: a request, an answer, and the exception that ends a request with an answer.

Nothing here knows a socket (see `asgi`) or the rules of one vendor.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from connector.sandbox.faults import IN_THE_BODY, ON_THE_SOCKET, Fault

Header = tuple[str, str]
Params = dict[str, str | list[str]]


@dataclass(kw_only=True)
class Request:
    """One request as the vendor received it; ``status`` is the status of its answer (0 while unanswered)."""

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
        """Path and query exactly as they are in the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def param(self, name: str) -> str | None:
        """The value of a parameter; the last one if it is repeated."""
        value = self.params.get(name)
        return value[-1] if isinstance(value, list) else value

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass(kw_only=True)
class Answer:
    """Status, headers and body; with a ``fault`` the socket misbehaves while it sends them."""

    status: int = 200
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""
    fault: Fault | None = None

    def with_headers(self, extra: Mapping[str, str]) -> "Answer":
        """The same answer with headers replaced or added."""
        kept = [(name, value) for name, value in self.headers if name not in extra]
        return Answer(status=self.status, headers=[*kept, *extra.items()], body=self.body, fault=self.fault)

    def with_fault(self, fault: Fault | None) -> "Answer":
        """The same answer, spoilt by a fault in its body or on the socket."""
        if fault is not None and fault.kind in IN_THE_BODY and self.status in (200, 206):
            self.body = fault.spoil(self.body)
        if fault is not None and fault.kind in ON_THE_SOCKET:
            self.fault = fault
        return self


class RefusalError(Exception):
    """Ends a request early with an answer; the router of the vendor catches it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body[:200]!r}")
        self.answer = answer


def json_bytes(body: Any) -> bytes:
    """Compact JSON in UTF-8, as both vendors write it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def is_json(body: bytes) -> bool:
    """Whether a body looks like a JSON object or array."""
    return body.lstrip()[:1] in (b"{", b"[")


def proxy_error(status: int) -> Answer:
    """The page a reverse proxy answers with when the server behind it is down."""
    page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>nginx</body></html>"
    return Answer(status=status, headers=[("content-type", "text/html")], body=page.encode())


def parse_query(text: str) -> Params:
    """Decode a query string: plus is a space, a repeated name becomes a list, the order of names is kept."""
    found: Params = {}
    for part in filter(None, text.split("&")):
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
