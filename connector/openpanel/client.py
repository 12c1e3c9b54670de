"""Reads one UTC day of a stream and vouches that it is whole, or says why it cannot.

OpenPanel pages by offset over live data and takes no snapshot, so a row arriving mid-walk shifts every later page.
This room notices; it does not walk again (``sync.py`` does) and it never sees a table.
"""

import json
import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Self

import httpx
import msgspec

from connector.errors import ContractError, IncompleteError, SettingsError, excerpt
from connector.http import Http, Meter, Params
from connector.openpanel.settings import OpenPanelSettings
from connector.pacing import Budget, SharedBudget
from connector.rows import Rows, read_rows
from connector.settings import Secret, checked_url
from connector.stream import Page, Stream

CONNECTIONS = 8

_ADVICE = {
    401: "check OPENPANEL_CLIENT_ID and OPENPANEL_CLIENT_SECRET; the client must be of type read or root.",
    403: "this client belongs to another project: check OPENPANEL_PROJECT_ID, or use a root client.",
    404: "check OPENPANEL_PROJECT_ID, and OPENPANEL_API_URL: a self-hosted API usually lives below /api.",
    431: "the request line is too long: ask for fewer event names at once.",
    500: "OpenPanel also answers 500 to a parameter it cannot read. If it repeats: check the parameters named here, "
    "then the server's log (its event store may be down).",
}
_REWRITTEN = re.compile(r"-?\d+(\.\d+)?|true|false")


class _Meta(msgspec.Struct, rename={"total": "totalCount"}):
    total: int
    count: int | None = None
    pages: int | None = None
    current: float | None = None


class _Envelope(msgspec.Struct):
    """``data`` stays raw: the rows are read in their own pass, and spooled as the bytes they came as."""

    meta: _Meta
    data: msgspec.Raw


class OpenPanel:
    """One OpenPanel project, read through its Export API.

    Args:
        url: base URL; may carry a path prefix.
        client_id, client_secret: a ``read`` or ``root`` client. The secret lives in one header of one HTTP client.
        project_id: the project to read.
        timezone: the organization's timezone (insights and charts).
        budget: the request allowance; by default shared with every process that uses the same client id.
        transport: for tests that bring their own.
    """

    def __init__(
        self,
        *,
        url: str = "https://api.openpanel.dev",
        client_id: str,
        client_secret: str | Secret,
        project_id: str,
        timezone: str = "UTC",
        budget: Budget | None = None,
        connections: int = CONNECTIONS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        # The server compares the id as text and knows only lower case.
        client_id = client_id.strip().lower()
        if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", client_id):
            raise SettingsError(
                "OPENPANEL_CLIENT_ID", "is not a UUID", next_step="copy the client id from the project's settings."
            )
        secret = client_secret if isinstance(client_secret, Secret) else Secret(client_secret)
        self.project_id, self.timezone = project_id, timezone
        self._connections = connections
        self._http = Http(
            checked_url("OPENPANEL_API_URL", url),
            headers={"openpanel-client-id": client_id, "openpanel-client-secret": secret.reveal()},
            # One bucket per client id, shared by Export and Insights.
            budget=budget or SharedBudget(f"{url} {client_id}"),
            advice=_ADVICE,
            connections=connections,
            transport=transport,
        )

    @classmethod
    def from_settings(cls, settings: OpenPanelSettings) -> "OpenPanel":
        return cls(
            url=settings.api_url,
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            project_id=settings.project_id,
            timezone=settings.timezone,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    @property
    def meter(self) -> Meter:
        """Requests, refusals and bytes since this client was made."""
        return self._http.meter

    def count_day(self, stream: Stream, day: date) -> int:
        """The vendor's own count of rows for one UTC day: one request with one row."""
        where = stream.partition(day)
        return _open(self._ask(stream, day, page=1, limit=1, where=where), where).meta.total

    def read_day(self, stream: Stream, day: date, *, settled: str | None = None) -> Iterator[Page]:
        """Yield one UTC day, page by page, and vouch that it is whole.

        Args:
            stream: an events-like entry of the catalogue.
            day: a UTC day.
            settled: the ``fingerprint`` of an earlier walk's :class:`RepeatedIdError`. A second walk with the same
                fingerprint proves that the repeats are stored, and not rows that shifted while we read.

        Yields:
            Pages of 1..1000 rows, newest first. A day without events yields nothing.

        Raises:
            IncompleteError: the announced total moved while we read, a page was short, or an id came
                twice. Paging is by offset: three events arriving mid-walk gave 13 rows of 13, 10 unique.
            ContractError: the answer has no ``data`` list or no ``meta.totalCount``, or holds another day.
        """
        where, limit = stream.partition(day), _limit(stream)
        first = self._page(stream, day, 1, limit, where)
        total, size = first.meta.total, _page_size(first, limit, where)
        proof = _Proof(total, size, where)
        page = proof.accept(first)
        if page.rows:
            yield page
        if proof.pages < 2:
            return
        for answer in self._ahead(stream, day, range(2, proof.pages + 1), limit, where):
            yield proof.accept(answer)
        # A row stored between the last page's list and its count shows only now.
        if (now := self.count_day(stream, day)) != total:
            raise IncompleteError(
                where=where, announced=now, received=proof.received, because="rows were stored while we read"
            )
        proof.no_repeats(settled)

    def read_newest(self, stream: Stream, day: date, *, since: datetime) -> Iterator[Page]:
        """Yield the pages of a growing day that reach back to ``since``, newest first.

        The pages agree with each other about the total; whether they and the landed rows add up to it is for the
        landing to prove.

        Raises:
            IncompleteError: the total moved while we read.
        """
        where, limit = stream.partition(day), _limit(stream)
        first = self._page(stream, day, 1, limit, where)
        proof = _Proof(first.meta.total, _page_size(first, limit, where), where)
        answer = first
        while True:
            yield proof.accept(answer)
            if answer.number >= proof.pages or _instant(answer.rows.times[-1], where) < since:
                return
            answer = self._page(stream, day, answer.number + 1, limit, where)

    def _ahead(self, stream: Stream, day: date, numbers: Sequence[int], limit: int, where: str) -> Iterator["_Answer"]:
        """Pages in order, fetched up to eight ahead; memory holds at most that many."""
        pool = ThreadPoolExecutor(self._connections, thread_name_prefix="openpanel-page")
        waiting: deque[Future[_Answer]] = deque()
        try:
            for number in numbers:
                waiting.append(pool.submit(self._page, stream, day, number, limit, where))
                if len(waiting) >= self._connections:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _page(self, stream: Stream, day: date, number: int, limit: int, where: str) -> "_Answer":
        envelope = _open(self._ask(stream, day, page=number, limit=limit, where=where), where)
        rows = read_rows(memoryview(envelope.data), stream, where=where)
        if envelope.meta.current is not None and envelope.meta.current != number:
            raise ContractError(
                f"page {number} was asked for and page {envelope.meta.current:g} came",
                where=where,
                next_step="the server pages in a way we do not know: report it with the server's version.",
            )
        _same_day(rows, day, where)
        return _Answer(number, envelope.meta, rows)

    def _ask(self, stream: Stream, day: date, *, page: int, limit: int, where: str) -> bytes:
        end = day if stream.window.end_inclusive else day + timedelta(days=1)
        params: list[tuple[str, str]] = [
            ("projectId", quoted(self.project_id)),
            (stream.window.start, day.isoformat()),
            (stream.window.end, end.isoformat()),
            ("page", str(page)),
            ("limit", str(limit)),
        ]
        return self._http.get(stream.path, _with_lists(params, stream), where=where)


class RepeatedIdError(IncompleteError):
    """Ids came twice although the total stood still: shifted rows, or twins the server stored.

    Attributes:
        fingerprint: of all ids in order; give it to the next walk as ``settled``.
    """

    def __init__(self, *, where: str, announced: int, received: int, fingerprint: str) -> None:
        super().__init__(
            where=where, announced=announced, received=received, because=f"{announced - received} ids came twice"
        )
        self.fingerprint = fingerprint


class _Answer(msgspec.Struct, frozen=True):
    number: int
    meta: _Meta
    rows: Rows


class _Proof:
    """Compares every page of a walk with what the first one promised."""

    def __init__(self, total: int, size: int, where: str) -> None:
        self.total, self.size, self.where = total, size, where
        self.pages = math.ceil(total / size) if total else 0
        self.received = 0
        # Hashes, not ids: a million take 60 MB less, and a chance collision costs one more walk, never a row.
        self._seen: set[int] = set()
        self._last = 0
        self._repeats = 0
        self._fingerprint = 0

    def accept(self, answer: _Answer) -> Page:
        meta, rows, number = answer.meta, answer.rows, answer.number
        if meta.total != self.total:
            raise self._incomplete(meta.total, "the total moved while we read")
        expected = min(self.size, max(0, self.total - (number - 1) * self.size))
        if len(rows.keys) != expected or (meta.count is not None and meta.count != len(rows.keys)):
            raise self._incomplete(
                self.total, f"page {number} holds {len(rows.keys)} rows where {expected} were due", len(rows.keys)
            )
        for key in rows.keys:
            mark = hash(key)
            # Stored twins share time and id, so they are neighbours, also across the edge of a page.
            if mark != self._last:
                self._repeats += mark in self._seen
                self._seen.add(mark)
                self._last = mark
            self._fingerprint = (self._fingerprint * 1_000_003 + mark) & 0xFFFF_FFFF_FFFF_FFFF
        self.received += len(rows.keys)
        return Page(
            number=number,
            of=self.pages,
            rows=len(rows.keys),
            announced=self.total,
            body=rows.body,
            strangers=rows.strangers,
            misfits=rows.misfits,
        )

    def no_repeats(self, settled: str | None) -> None:
        fingerprint = f"{self.total}:{self._fingerprint:x}"
        if self._repeats and fingerprint != settled:
            raise RepeatedIdError(
                where=self.where,
                announced=self.total,
                received=self.total - self._repeats,
                fingerprint=fingerprint,
            )

    def _incomplete(self, announced: int, because: str, more: int = 0) -> IncompleteError:
        return IncompleteError(where=self.where, announced=announced, received=self.received + more, because=because)


def quoted(value: str) -> str:
    """A text as the server will read it as text: it turns ``123``, ``true`` and JSON into values before validating."""
    try:
        json.loads(value)
    except ValueError:
        rewritten = bool(_REWRITTEN.fullmatch(value))
    else:
        rewritten = True
    return json.dumps(value) if rewritten else value


def _limit(stream: Stream) -> int:
    limit = stream.params["limit"]
    assert isinstance(limit, int)
    return limit


def _with_lists(params: list[tuple[str, str]], stream: Stream) -> Params:
    """The entry's own parameters; lists as repeated names, the only spelling that every server version reads."""
    for name, value in stream.params.items():
        if isinstance(value, tuple):
            params.extend((name, str(item)) for item in value)
        elif name != "limit":
            params.append((name, str(value)))
    return params


def _open(body: bytes, where: str) -> _Envelope:
    """The envelope, or a ContractError: a missing key is never "no rows"."""
    try:
        return msgspec.json.decode(body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ContractError(
            f"the answer is not {{meta: {{totalCount}}, data: [...]}}: {excerpt(str(fault), 120)}; "
            f"it begins with {excerpt(body, 120)!r}",
            where=where,
            next_step="check OPENPANEL_API_URL; if it is right, the server's format changed: report this message.",
        ) from None


def _page_size(first: _Answer, limit: int, where: str) -> int:
    """How many rows a page really has: servers before 2025-04-16 cut every page to 50, in silence."""
    rows, total = len(first.rows.keys), first.meta.total
    if total <= rows or rows == limit:
        return limit
    if rows and (first.meta.pages is None or first.meta.pages == math.ceil(total / rows)):
        return rows
    raise IncompleteError(
        where=where,
        announced=total,
        received=rows,
        because="page 1 is short although more pages follow; OpenPanel before 2026-03-03 cuts page 1 in silence, "
        "in which case the server must be updated",
    )


def _same_day(rows: Rows, day: date, where: str) -> None:
    prefix, zulu = day.isoformat(), "Z"
    for time in rows.times:
        if time.startswith(prefix) and time.endswith(zulu):
            continue
        if (found := _instant(time, where).date()) != day:
            raise ContractError(
                f"a row of {found.isoformat()} (UTC) came where only {prefix} was asked for",
                where=where,
                next_step="the server ignored the dates, or its event store does not count days in UTC: "
                "update the server or set its ClickHouse timezone to UTC.",
            )


def _instant(time: str, where: str) -> datetime:
    try:
        # Python reads at most microseconds.
        instant = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", time))
    except ValueError:
        raise ContractError(
            f"{excerpt(time, 60)!r} is not a time", where=where, next_step="report this row to the vendor."
        ) from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
