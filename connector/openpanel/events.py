"""Reads one UTC day of events page by page and proves that it is complete, or tells why it is not.

OpenPanel paginates by offset over live data without a snapshot, so a row that arrives between two requests shifts every
later page. This module notices that and raises; ``sync.py`` reads the day again.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

from connector.errors import ContractError, IncompleteError, RejectedError
from connector.http.client import Http
from connector.meter import Meter
from connector.openpanel.day_proof import DayProof
from connector.openpanel.day_slices import read_in_slices
from connector.openpanel.encoding import as_is, quoted
from connector.openpanel.event_page import DayRequest, EventPage, instant, parse_page, read_envelope
from connector.stream import Page, Stream
from connector.system.prefetch import ahead

# After a day of up to this many pages, one more page is requested to see that nothing follows. At the rate limit, one
# more request can cost one more window of ten seconds: much for ten thousand rows, nothing for a million.
SHORT_DAY = 50
STORED_MEANWHILE = "rows were stored while we read"


class EventPages:
    """The paginated event export of one project.

    Args:
        http: sends the requests.
        project_id: the project.
        at_once: pages requested at the same time.
    """

    def __init__(self, http: Http, project_id: str, *, at_once: int) -> None:
        self._http, self._project_id, self._at_once = http, project_id, at_once
        self._growing: set[date] = set()  # current days that moved while they were read
        self._filters: bool | None = None  # whether the server reads ``filters``; None: not known yet
        self._rewrites: bool | None = None  # whether the server turns the text 404 into a number; None: not known yet

    def count_day(self, stream: Stream, day: date, *, meter: Meter | None = None) -> int:
        """The vendor's own count of rows for one UTC day: one request with one row."""
        return self._count(DayRequest(stream, day, meter))

    def read_day(
        self, stream: Stream, day: date, *, settled: str | None = None, meter: Meter | None = None
    ) -> Iterator[Page]:
        """Yield one UTC day, page by page, and prove that it is complete.

        Args:
            stream: a stream of events of the catalogue.
            day: a UTC day.
            settled: the ``fingerprint`` of an earlier reading's :class:`RepeatedIdError`. A second reading with the
                same fingerprint proves that the server stores the repeats, and that no rows shifted between pages.
            meter: counts the requests.

        Yields:
            Pages of 1..1000 rows, newest first. A day without events yields nothing.

        Raises:
            IncompleteError: the total changed while we read, a page was short, or an id came twice. Pagination is by
                offset: three events that arrived meanwhile gave 13 rows of 13, 10 of them unique.
            ContractError: the answer has no ``data`` list or no ``meta.totalCount``, or holds another day.
        """
        request = DayRequest(stream, day, meter)
        if day < datetime.now(UTC).date():
            yield from self._read(request, settled)
            return
        if day in self._growing and self._reads_filters(request) and (newest := self.newest(stream, day, meter=meter)):
            yield from read_in_slices(request, newest, self._count, self._read)
            return
        self._growing.add(day)  # if this reading fails, the next one is in slices
        try:
            yield from self._read(request, settled)
        except IncompleteError as error:
            raise error if self._reads_filters(request) else _too_busy(error) from None
        self._growing.discard(day)

    def _read(self, request: DayRequest, settled: str | None) -> Iterator[Page]:
        """The pages of a day, or of a slice of it, proven complete."""
        first = self._page(request, 1)
        proof = DayProof(first.meta.total, _page_size(first, request), request.where, settled)
        page = proof.accept(first)
        if page.rows:
            yield page
        if proof.pages < 2:
            self._nothing_follows(request, proof)
            return
        # Threads only fetch. Threads that parse rows would wait for each other. If the vendor answers at once, as a
        # server nearby does, even one fetching thread costs a third more than none.
        bodies = (partial(self._body, request, number) for number in range(2, proof.pages))
        for number, body in enumerate(ahead(bodies, at_once=self._at_once, at_first=0), start=2):
            yield proof.accept(parse_page(body, request, number))
        # The last page is requested alone, after all others have answered, so that its total covers the whole reading.
        yield proof.accept(self._page(request, proof.pages))
        # Its list and its total are two queries. A row stored between them shifts the list by one, which looks like a
        # repeat at the edge of a page. Only then is one more count worth a request.
        if proof.repeat_at_edge and (now := self._count(request)) != proof.total:
            raise proof.incomplete(now, STORED_MEANWHILE)
        proof.no_repeats()
        self._nothing_follows(request, proof)

    def _nothing_follows(self, request: DayRequest, proof: DayProof) -> None:
        """Request one more page if the last one is full, to see that it has no rows.

        A row that was stored after the count, or while an old server's cached count was ten minutes old, pushes the
        oldest row to that page.

        Raises:
            IncompleteError: there are more rows.
        """
        if not proof.is_full or proof.pages > SHORT_DAY:
            return
        try:
            after = self._page(request, proof.pages + 1)
            total, rows = after.meta.total, after.rows.keys
        except (ContractError, RejectedError):  # a server that knows no page behind the last one
            total, rows = self._count(request), ()
        if total != proof.total or (rows and rows != proof.last_keys):
            raise proof.incomplete(max(total, proof.received + len(rows)), STORED_MEANWHILE)

    def read_newest(self, stream: Stream, day: date, *, since: datetime, meter: Meter | None = None) -> Iterator[Page]:
        """Yield the pages of a growing day that reach back to ``since``, newest first.

        All pages have the same total. The landing proves that they and the landed rows add up to it.

        Raises:
            IncompleteError: the total changed while we read.
        """
        request = DayRequest(stream, day, meter)
        answer = self._page(request, 1)
        proof = DayProof(answer.meta.total, _page_size(answer, request), request.where, None)
        while True:
            yield proof.accept(answer)
            oldest = answer.rows.times[-1] if answer.rows.times else None
            if answer.number >= proof.pages or oldest is None or instant(oldest, request.where) < since:
                return
            answer = self._page(request, answer.number + 1)

    def newest(
        self, stream: Stream, day: date, *, meter: Meter | None = None, reported_as: str = ""
    ) -> datetime | None:
        """The instant of the newest row of one UTC day; None if the day has none. One request with one row.

        Args:
            reported_as: what messages name, if not this day of this stream.
        """
        request = DayRequest(stream, day, meter, reported_as=reported_as)
        body = self._ask(request, page=1, limit=1)
        times = parse_page(body, request, 1).rows.times
        return instant(times[0], request.where) if times else None

    def _reads_filters(self, request: DayRequest) -> bool:
        """Whether the server can be asked for a part of a day; at most two requests, once.

        A server before 2026-05-18 ignores filters, so that a slice before the day's first moment has its rows, too.
        """
        if self._filters is None:
            start = datetime.combine(request.day, time(), UTC)
            try:
                before = self._count(request.between(start - timedelta(days=1), start))
            except RejectedError:  # a proxy or a fork that refuses the parameter
                self._filters = False
            else:
                if before == 0 and self._count(request) == 0:
                    return False  # without rows there is no telling, and no need
                self._filters = before == 0
        return self._filters

    def _count(self, request: DayRequest) -> int:
        return read_envelope(self._ask(request, page=1, limit=1), request.where).meta.total

    def _page(self, request: DayRequest, number: int) -> EventPage:
        return parse_page(self._body(request, number), request, number)

    def _body(self, request: DayRequest, number: int) -> bytes:
        return self._ask(request, page=number, limit=request.limit)

    def _ask(self, request: DayRequest, *, page: int, limit: int) -> bytes:
        if self._rewrites is None and _differs(self._project_id, request.query.names):
            try:
                body = self._get(request, page, limit, rewrites=False)
            except RejectedError as error:
                if error.status != 400:
                    raise
            else:
                self._rewrites = False
                return body
        if self._rewrites is None:
            self._rewrites = True
        return self._get(request, page, limit, rewrites=self._rewrites)

    def _get(self, request: DayRequest, page: int, limit: int, *, rewrites: bool) -> bytes:
        window = request.stream.window
        end = request.day if window.end_inclusive else request.day + timedelta(days=1)
        params: list[tuple[str, str]] = [
            ("projectId", quoted(self._project_id) if rewrites else self._project_id),
            (window.start, request.day.isoformat()),
            (window.end, end.isoformat()),
            ("page", str(page)),
            ("limit", str(limit)),
        ]
        path, where = request.stream.path, request.where
        if request.filters:
            params.append(("filters", request.filters))
        # Lists as repeated parameters, the only form that every server version reads.
        params += [("includes", name) for name in request.query.includes]
        params += [("event", text if rewrites else as_is(text) or text) for text in map(quoted, request.query.names)]
        return self._http.get(path, params, where=where, meter=request.meter)


def _too_busy(error: IncompleteError) -> IncompleteError:
    """The error about a current day of a server that cannot be asked for a part of it."""
    return IncompleteError(
        where=error.where,
        announced=error.announced,
        received=error.received,
        because=error.because,
        fingerprint=error.fingerprint,
        next_step="rerun the partition at a quieter time, or let the nightly schedule land the day when it has ended. "
        "OpenPanel since 2026-05-18 can be asked for parts of a day, so that a busy day lands at any time.",
    )


def _differs(project_id: str, names: Sequence[str]) -> bool:
    """Whether server versions read a text here differently, so that it is first tried without quotes."""
    in_quotes = [value for value in map(quoted, (project_id, *names)) if value.startswith('"')]
    return bool(in_quotes) and all(as_is(value) for value in in_quotes)


def _page_size(first: EventPage, request: DayRequest) -> int:
    """The number of rows of a full page. Servers before 2025-04-16 cut every page to 50 without a word."""
    rows, total = len(first.rows.keys), first.meta.total
    if total <= rows or rows == request.limit:
        return request.limit
    if rows and (first.meta.pages is None or first.meta.pages == -(-total // rows)):
        return rows
    raise IncompleteError(
        where=request.where,
        announced=total,
        received=rows,
        because="page 1 is short although more pages follow; OpenPanel before 2026-03-03 cuts page 1 in silence, "
        "in which case the server must be updated",
    )
