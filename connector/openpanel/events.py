"""Reads one UTC day of events page by page and vouches that it is whole, or says why it cannot.

OpenPanel pages by offset over live data and takes no snapshot, so a row arriving mid-walk shifts every later page.
This room notices; it does not walk again (``sync.py`` does) and it never sees a table.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

import msgspec

from connector.catalogue.openpanel import EventsQuery
from connector.errors import ContractError, IncompleteError, RejectedError
from connector.http.client import Http
from connector.meter import Meter
from connector.openpanel.encoding import as_is, quoted
from connector.records.fit import Rows, healed, read_rows
from connector.redaction import excerpt
from connector.stream import Page, Stream
from connector.system.prefetch import ahead

# A billion rows a day at a thousand a page.
MOST_PAGES = 1_000_000
# A walk of up to so many pages may ask for one more, to see that nothing follows. Where the limit is met, one more
# request can be one more window: a second for ten thousand rows is much, and for a million it is nothing.
SHORT_WALK = 50
STORED_MEANWHILE = "rows were stored while we read"


class _Meta(msgspec.Struct, rename={"total": "totalCount"}):
    total: int
    count: int | None = None
    pages: int | None = None
    current: float | None = None


class _Envelope(msgspec.Struct):
    """``data`` stays raw: the rows are read in their own pass, and spooled as the bytes they came as."""

    meta: _Meta
    data: msgspec.Raw


class EventPages:
    """The paged export of one project.

    Args:
        http: where to ask.
        project_id: whose events.
        at_once: pages asked for at the same time.
    """

    def __init__(self, http: Http, project_id: str, *, at_once: int) -> None:
        self._http, self._project_id, self._at_once = http, project_id, at_once
        self._rewrites: bool | None = None  # whether the server turns 404 into a number; nobody knows yet

    def count_day(self, stream: Stream, day: date, *, meter: Meter | None = None) -> int:
        """The vendor's own count of rows for one UTC day: one request with one row."""
        return self._count(_Day(stream, day, meter))

    def read_day(
        self, stream: Stream, day: date, *, settled: str | None = None, meter: Meter | None = None
    ) -> Iterator[Page]:
        """Yield one UTC day, page by page, and vouch that it is whole.

        Args:
            stream: an events-like entry of the catalogue.
            day: a UTC day.
            settled: the ``fingerprint`` of an earlier walk's :class:`RepeatedIdError`. A second walk with the same
                fingerprint proves that the repeats are stored, and not rows that shifted while we read.
            meter: counts what it cost.

        Yields:
            Pages of 1..1000 rows, newest first. A day without events yields nothing.

        Raises:
            IncompleteError: the announced total moved while we read, a page was short, or an id came
                twice. Paging is by offset: three events arriving mid-walk gave 13 rows of 13, 10 unique.
            ContractError: the answer has no ``data`` list or no ``meta.totalCount``, or holds another day.
        """
        asked = _Day(stream, day, meter)
        first = self._page(asked, 1)
        proof = _Proof(first.meta.total, _page_size(first, asked), asked.where, settled)
        page = proof.accept(first)
        if page.rows:
            yield page
        if proof.pages < 2:
            self._nothing_follows(asked, proof)
            return
        # Threads only fetch: two that look at rows at once would wait for each other, and where nobody waits for the
        # vendor (a server next door) even one that fetches costs a third more than none.
        bodies = (partial(self._body, asked, number) for number in range(2, proof.pages))
        for number, body in enumerate(ahead(bodies, at_once=self._at_once, at_first=0), start=2):
            yield proof.accept(_opened(body, asked, number))
        # The last page is asked for alone, after all others have answered: its total speaks for the whole walk.
        yield proof.accept(self._page(asked, proof.pages))
        # Its list and its total are two queries. A row stored between them shifts the list by one, which looks like
        # twins on an edge; only then is one more count worth a request.
        if proof.edge_twins and (now := self._count(asked)) != proof.total:
            raise proof.incomplete(now, STORED_MEANWHILE)
        proof.no_repeats()
        self._nothing_follows(asked, proof)

    def _nothing_follows(self, asked: "_Day", proof: "_Proof") -> None:
        """A full last page has no room for a row that was stored after the count, or while an old server's count was
        ten minutes old: whatever was pushed off it stands on the next one.
        """
        if not proof.is_full or proof.pages > SHORT_WALK:
            return
        try:
            after = self._page(asked, proof.pages + 1)
            total, rows = after.meta.total, after.rows.keys
        except (ContractError, RejectedError):  # a server that knows no page behind the last one
            total, rows = self._count(asked), ()
        if total != proof.total or (rows and rows != proof.last_keys):
            raise proof.incomplete(max(total, proof.received + len(rows)), STORED_MEANWHILE)

    def read_newest(self, stream: Stream, day: date, *, since: datetime, meter: Meter | None = None) -> Iterator[Page]:
        """Yield the pages of a growing day that reach back to ``since``, newest first.

        The pages agree with each other about the total; whether they and the landed rows add up to it is for the
        landing to prove.

        Raises:
            IncompleteError: the total moved while we read.
        """
        asked = _Day(stream, day, meter)
        answer = self._page(asked, 1)
        proof = _Proof(answer.meta.total, _page_size(answer, asked), asked.where, None)
        while True:
            yield proof.accept(answer)
            oldest = answer.rows.times[-1] if answer.rows.times else None
            if answer.number >= proof.pages or oldest is None or _instant(oldest, asked.where) < since:
                return
            answer = self._page(asked, answer.number + 1)

    def _count(self, asked: "_Day") -> int:
        return _open(self._ask(asked, page=1, limit=1), asked.where).meta.total

    def _page(self, asked: "_Day", number: int) -> "_Answer":
        return _opened(self._body(asked, number), asked, number)

    def _body(self, asked: "_Day", number: int) -> bytes:
        return self._ask(asked, page=number, limit=asked.limit)

    def _ask(self, asked: "_Day", *, page: int, limit: int) -> bytes:
        if self._rewrites is None and _differs(self._project_id, asked.query.names):
            try:
                body = self._get(asked, page, limit, rewrites=False)
            except RejectedError as error:
                if error.status != 400:
                    raise
            else:
                self._rewrites = False
                return body
        if self._rewrites is None:
            self._rewrites = True
        return self._get(asked, page, limit, rewrites=self._rewrites)

    def _get(self, asked: "_Day", page: int, limit: int, *, rewrites: bool) -> bytes:
        window = asked.stream.window
        end = asked.day if window.end_inclusive else asked.day + timedelta(days=1)
        params: list[tuple[str, str]] = [
            ("projectId", quoted(self._project_id) if rewrites else self._project_id),
            (window.start, asked.day.isoformat()),
            (window.end, end.isoformat()),
            ("page", str(page)),
            ("limit", str(limit)),
        ]
        path, where = asked.stream.path, asked.where
        # Lists as repeated names, the only spelling that every server version reads.
        params += [("includes", name) for name in asked.query.includes]
        params += [("event", spelt if rewrites else as_is(spelt) or spelt) for spelt in map(quoted, asked.query.names)]
        return self._http.get(path, params, where=where, meter=asked.meter)


@dataclass(frozen=True)
class _Day:
    """What is being read, and on whose meter."""

    stream: Stream
    day: date
    meter: Meter | None

    @property
    def where(self) -> str:
        return self.stream.partition(self.day)

    @property
    def limit(self) -> int:
        return self.query.limit

    @property
    def query(self) -> EventsQuery:
        query = self.stream.query
        if not isinstance(query, EventsQuery):
            raise TypeError(f"{self.stream.table} is no stream of events")
        return query


class RepeatedIdError(IncompleteError):
    """Ids came twice although the total stood still: shifted rows, or twins the server stored.

    Attributes:
        fingerprint: of all ids in order; give it to the next walk as ``settled``.
    """

    def __init__(self, *, where: str, announced: int, received: int, fingerprint: str, because: str = "") -> None:
        because = because or f"{announced - received} ids came twice"
        super().__init__(where=where, announced=announced, received=received, because=because)
        self.fingerprint = fingerprint


class _Answer(msgspec.Struct, frozen=True):
    number: int
    meta: _Meta
    rows: Rows
    warnings: tuple[str, ...] = ()


class _Proof:
    """Compares every page of a walk with what the first one promised.

    The vendor sends newest first, so a repeated row breaks the order of times or stands among the ids of the newest
    millisecond of its page: looking at those is enough, and a million rows take no memory. A walk whose order breaks
    is walked again with all ids remembered, for a server that does not sort.

    Twins of one moment are neighbours wherever rows have an order. Apart from each other they mean that rows of one
    moment have none (servers before 2026-03-03) and that a page may have left others out: no second walk excuses them.
    """

    def __init__(self, total: int, size: int, where: str, settled: str | None) -> None:
        self.total, self.size, self.where, self._settled = total, size, where, settled
        self.pages = -(-total // size)
        if self.pages > MOST_PAGES:
            raise ContractError(
                f"the server counts {total} rows, which would be {self.pages} pages",
                where=where,
                next_step="no day is so large: report the count with the server's version.",
            )
        self.received = 0
        # An id stood on both sides of a page's edge: twins that the server stored, or a row that shifted by one.
        self.edge_twins = False
        self._last_time, self._last_key = "", ""
        self._tied: set[str] = set()
        self._seen: set[int] | None = None if settled is None else set()
        self._moments: set[int] = set()
        self._repeats = self._astray = 0
        self.last_keys: Sequence[str] = ()
        self._fingerprint = 0

    def accept(self, answer: _Answer) -> Page:
        meta, rows, number = answer.meta, answer.rows, answer.number
        if meta.total != self.total:
            raise self.incomplete(meta.total, "the total moved while we read")
        expected = min(self.size, max(0, self.total - (number - 1) * self.size))
        if len(rows.keys) != expected or (meta.count is not None and meta.count != len(rows.keys)):
            raise self.incomplete(
                self.total, f"page {number} holds {len(rows.keys)} rows where {expected} were due", len(rows.keys)
            )
        if rows.keys:
            self._look_for_repeats(rows.keys, rows.times)
        self.last_keys = rows.keys
        self.received += len(rows.keys)
        return Page(
            number=number,
            of=self.pages,
            rows=len(rows.keys),
            announced=self.total,
            body=rows.body,
            strangers=rows.strangers,
            misfits=rows.misfits,
            warnings=answer.warnings,
        )

    @property
    def is_full(self) -> bool:
        """No page has room for one more row."""
        return self.total > 0 and self.total % self.size == 0

    def _look_for_repeats(self, keys: Sequence[str], times: Sequence[str]) -> None:
        """Ids twice on one page come from one query and are stored so; only what crosses pages is suspect."""
        self._fingerprint = hash((self._fingerprint, tuple(keys)))
        edge = keys[0] == self._last_key
        self.edge_twins |= edge
        if self._seen is not None:
            marks = set(map(hash, keys))
            self._repeats += len(marks & self._seen) - edge
            self._seen |= marks
            moments = set(map(hash, zip(keys, times, strict=True)))
            self._astray += len(moments & self._moments) - (edge and times[0] == self._last_time)
            self._moments |= moments
        else:
            if self._last_time and times[0] > self._last_time:
                self._repeats += 1
            elif times[0] == self._last_time:
                ties = {key for key, time in zip(keys, times, strict=True) if time == self._last_time}
                self._astray += len(ties & self._tied) - edge
            self._repeats += list(times) != sorted(times, reverse=True)
            if times[0] != times[-1] or times[-1] != self._last_time:
                self._tied = set()
            self._tied |= {key for key, time in zip(keys, times, strict=True) if time == times[-1]}
        self._last_time, self._last_key = times[-1], keys[-1]

    def no_repeats(self) -> None:
        fingerprint = f"{self.total}:{self._fingerprint:x}"
        if self._astray or (self._repeats and fingerprint != self._settled):
            because = ""
            if self._astray and fingerprint == self._settled:
                because = (
                    f"{self._astray} ids of one moment stand on two pages each time: OpenPanel before 2026-03-03 gives "
                    "rows of one moment no order, in which case the server must be updated"
                )
            raise RepeatedIdError(
                where=self.where,
                announced=self.total,
                received=max(self.total - max(self._repeats, self._astray), 0),
                fingerprint=fingerprint,
                because=because,
            )

    def incomplete(self, announced: int, because: str, more: int = 0) -> IncompleteError:
        return IncompleteError(where=self.where, announced=announced, received=self.received + more, because=because)


def _differs(project_id: str, names: Sequence[str]) -> bool:
    """Whether something here has to be spelt otherwise for servers that rewrite, and may be tried as it is."""
    spelt = [value for value in map(quoted, (project_id, *names)) if value.startswith('"')]
    return bool(spelt) and all(as_is(value) for value in spelt)


def _opened(body: bytes, asked: _Day, number: int) -> _Answer:
    """A body as the page it must be, with rows of the day it must hold."""
    meta, rows = _sliced(body, asked) or _parsed(healed(body), asked)
    if meta.current is not None and meta.current != number:
        raise ContractError(
            f"page {number} was asked for and page {meta.current:g} came",
            where=asked.where,
            next_step="the server pages in a way we do not know: report it with the server's version.",
        )
    if meta.total < 0:
        raise ContractError(
            f"the server counts {meta.total} rows",
            where=asked.where,
            next_step="rerun once; if it repeats, report it with the server's version.",
        )
    _same_day(rows, asked.day, asked.where)
    return _Answer(number, meta, rows, _missing(rows, asked) if number == 1 and rows.keys else ())


def _missing(rows: Rows, asked: _Day) -> tuple[str, ...]:
    """What is to be said of fields that were asked for by name and stand in no row of a page.

    Raises:
        ContractError: what comes unasked came, and none of them. Landed so, their columns would be NULL, in silence.
    """
    if not asked.query.includes:
        return ()
    wanted = tuple(name for name in asked.query.includes if name != "groups")  # an empty list of them comes unasked
    came = {name for name in (*wanted, "sessionId") if re.search(rb'"%b"\s*:' % name.encode(), rows.body)}
    if came == {"sessionId"}:
        raise ContractError(
            f"none of the {len(wanted)} fields that were asked for by name came ({', '.join(wanted[:3])} ...)",
            where=asked.where,
            next_step="the server does not read includes: check that nothing between drops repeated parameters, and "
            "update OpenPanel to 2024-09-05 or later.",
        )
    if "properties" not in came:
        return ("no row of the first page has properties, although they were asked for",)
    return ()


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


def _sliced(body: bytes, asked: _Day) -> tuple[_Meta, Rows] | None:
    """Meta and rows without reading the body twice, if it is spelt the usual way: ``{"meta":{...},"data":[...]}``.

    The rows are proven to be one whole JSON array in their own pass, so a wrong cut cannot go unnoticed.
    """
    cut = body.find(b',"data":[', 0, 4096)
    if cut < 0 or not body.endswith(b"]}") or not body.startswith(b'{"meta":'):
        return None
    try:
        meta = msgspec.json.decode(body[8:cut], type=_Meta)
        return meta, read_rows(memoryview(body)[cut + 8 : -1], asked.stream, where=asked.where)
    except (msgspec.DecodeError, ContractError):
        return None


def _parsed(body: bytes, asked: _Day) -> tuple[_Meta, Rows]:
    envelope = _open(body, asked.where)
    return envelope.meta, read_rows(memoryview(envelope.data), asked.stream, where=asked.where)


def _page_size(first: _Answer, asked: _Day) -> int:
    """How many rows a page really has: servers before 2025-04-16 cut every page to 50, in silence."""
    rows, total = len(first.rows.keys), first.meta.total
    if total <= rows or rows == asked.limit:
        return asked.limit
    if rows and (first.meta.pages is None or first.meta.pages == -(-total // rows)):
        return rows
    raise IncompleteError(
        where=asked.where,
        announced=total,
        received=rows,
        because="page 1 is short although more pages follow; OpenPanel before 2026-03-03 cuts page 1 in silence, "
        "in which case the server must be updated",
    )


def _same_day(rows: Rows, day: date, where: str) -> None:
    prefix = day.isoformat()
    if rows.times and min(rows.times) >= prefix and max(rows.times) < f"{prefix}U" and _plain_utc(rows.times):
        return
    for time in rows.times:
        if (found := _instant(time, where).date()) != day:
            raise ContractError(
                f"a row of {found.isoformat()} (UTC) came where only {prefix} was asked for",
                where=where,
                next_step="the server ignored the dates, or its event store does not count days in UTC: "
                "update the server or set its ClickHouse timezone to UTC.",
            )


def _plain_utc(times: Sequence[str]) -> bool:
    """All spelt ``2024-04-15T23:59:05.123Z``, so that comparing texts compares instants."""
    return set(map(len, times)) == {24} and "".join(times).count("Z") == len(times)


def _instant(time: str, where: str) -> datetime:
    try:
        # Python reads at most microseconds.
        instant = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", time))
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ContractError(
            f"{excerpt(time, 60)!r} is not a time", where=where, next_step="report this row to the vendor."
        ) from None
    return instant
