"""Faults on demand: what a client must survive, one request at a time.

A test or a demo plants a fault; the first request with a matching path (and page) uses it up. Faults that change the
bytes of an answer are applied here, faults that need the socket in `asgi`. No fault happens by chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import msgspec

ON_THE_SOCKET = frozenset(
    {"drop", "truncate", "reset", "hang", "drip", "wrong_content_length", "endless", "bomb", "not_http"}
)
INSTEAD = frozenset({"status", "html_200", "redirect"})
IN_THE_BODY = frozenset(
    {
        "cut",
        "empty",
        "invalid_json",
        "garbled",
        "other_json",
        "missing_data",
        "missing_total",
        "extra_field",
        "bad_value",
    }
)
KINDS = ON_THE_SOCKET | INSTEAD | IN_THE_BODY

LOGIN_PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"


@dataclass(kw_only=True)
class Fault:
    """One planted fault; ``left`` is how many more requests it will spoil (None: all of them)."""

    kind: str
    path: str
    left: int | None = 1
    page: int | None = None
    after_bytes: int | None = None
    status: int = 500
    body: bytes | None = None
    headers: dict[str, str] | None = None
    seconds: float = 30.0
    location: str = "http://127.0.0.1:1/elsewhere"
    row: int = 0
    field: str = "surprise"
    value: Any = "an undeclared field"

    def matches(self, path: str, page: int) -> bool:
        """Whether this fault spoils a request."""
        return self.left != 0 and fnmatchcase(path, self.path) and self.page in (None, page)

    def spoil(self, body: bytes) -> bytes:
        """The body of a good answer, as this fault changes it."""
        match self.kind:
            case "empty":
                return b""
            case "cut" | "invalid_json":
                keep = len(body) // 2 if self.after_bytes is None else self.after_bytes
                return body[:keep]
            case "garbled":
                middle = len(body) // 2
                return body[:middle] + b'}"[' + body[middle:]
            case "other_json":
                return self.body if self.body is not None else b'{"result":{"items":[]},"ok":true}'
            case "missing_data" | "missing_total" | "extra_field" | "bad_value":
                page: dict[str, Any] | list[dict[str, Any]] = msgspec.json.decode(body)
                self._edit(page)
                return msgspec.json.encode(page)
        return body

    def _edit(self, page: dict[str, Any] | list[dict[str, Any]]) -> None:
        rows = page if isinstance(page, list) else page.get("data", [])
        if self.kind in ("extra_field", "bad_value"):
            if self.row < len(rows):
                rows[self.row][self.field] = self.value
        elif isinstance(page, dict):
            if self.kind == "missing_data":
                page.pop("data", None)
            else:
                page.get("meta", {}).pop("totalCount", None)


@dataclass
class Faults:
    """The planted faults that have not happened yet, in the order they were planted.

    Attributes:
        usual_path: the path of a fault that is planted without one.
    """

    waiting: list[Fault] = field(default_factory=list)
    usual_path: str = "/export/events"

    def add(
        self,
        kind: str,
        path: str | None = None,
        *,
        times: int | None = 1,
        page: int | None = None,
        after_bytes: int | None = None,
        status: int = 500,
        body: bytes | str | Mapping[str, Any] | list[Any] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 30.0,
        location: str | None = None,
        row: int = 0,
        field: str | None = None,
        value: Any = None,
    ) -> Fault:
        """Plant a fault for the next ``times`` matching requests (None: for all of them).

        Args:
            kind: one of `KINDS`. ``status`` answers ``status``/``body``/``headers`` instead of the vendor;
                ``hang`` waits ``seconds`` and then answers properly; ``drip`` spreads the body over ``seconds``;
                ``drop`` closes the connection without an answer;
                ``truncate`` announces the whole body and closes after ``after_bytes`` (half, if not given);
                ``reset`` does the same with a connection reset; ``wrong_content_length`` announces
                ``after_bytes`` and sends everything; ``cut`` and ``empty`` send less and announce it correctly;
                ``endless`` announces no length and goes on for ``seconds``; ``bomb`` sends ``after_bytes`` (a
                gigabyte, if not given) of spaces, compressed twice; ``not_http`` answers in another protocol;
                ``garbled`` breaks the JSON in its middle only; its beginning and end stay right;
                ``extra_field`` and ``bad_value`` set ``field`` of row ``row`` to ``value``.
            path: the route without the server's prefix; ``*`` matches any text. None: the usual path.
            headers: for ``status``: replaces all headers of the answer, including the rate headers. None keeps
                those the vendor sends with that status.
        """
        if kind not in KINDS:
            raise ValueError(f"no fault is called {kind!r}; there are {', '.join(sorted(KINDS))}")
        if isinstance(body, (Mapping, list)):
            body = msgspec.json.encode(body)
        fault = Fault(
            kind=kind,
            path=self.usual_path if path is None else path,
            left=times,
            page=page,
            after_bytes=after_bytes,
            status=status,
            body=body.encode() if isinstance(body, str) else body,
            headers=None if headers is None else {name.lower(): text for name, text in headers.items()},
            seconds=seconds,
            row=row,
        )
        if location is not None:
            fault.location = location
        if kind == "bad_value":
            fault.field, fault.value = "createdAt", {"unexpected": "object"}
        if field is not None:
            fault.field = field
        if value is not None or (field is not None and kind == "bad_value"):
            fault.value = value
        self.waiting.append(fault)
        return fault

    def take(self, path: str, page: int) -> Fault | None:
        """The first fault that matches; it counts as used once more."""
        for fault in self.waiting:
            if fault.matches(path, page):
                if fault.left is not None:
                    fault.left -= 1
                    if fault.left == 0:
                        self.waiting.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Remove every fault that has not happened yet."""
        self.waiting.clear()
