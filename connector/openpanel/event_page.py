"""One page of events: an answer parsed and checked, with rows of the day that was requested.

It knows one answer at a time. Whether the pages of a day are complete together is checked in ``day_proof.py``.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import msgspec

from connector.catalogue.openpanel import EventsQuery
from connector.errors import ContractError
from connector.meter import Meter
from connector.records.fit import Rows, healed, read_rows
from connector.redaction import excerpt
from connector.stream import Stream


class _Meta(msgspec.Struct, rename={"total": "totalCount"}):
    total: int
    count: int | None = None
    pages: int | None = None
    current: float | None = None


class _Envelope(msgspec.Struct):
    """``data`` stays raw: rows are parsed separately, and spooled as the bytes that came."""

    meta: _Meta
    data: msgspec.Raw


@dataclass(frozen=True)
class DayRequest:
    """The day to read and the meter of this reading.

    Attributes:
        reported_as: what messages name instead of this day, if the question is asked on behalf of another stream.
        since, until: a slice of the day, its end excluded; None for the whole day. Only servers since 2026-05-18 read
            a slice, others answer with the whole day.
    """

    stream: Stream
    day: date
    meter: Meter | None
    since: datetime | None = None
    until: datetime | None = None
    reported_as: str = ""

    def between(self, since: datetime, until: datetime) -> "DayRequest":
        """A slice of this day."""
        return replace(self, since=since, until=until)

    def halves(self) -> tuple["DayRequest", "DayRequest"]:
        """The earlier and the later half of a slice."""
        assert self.since is not None and self.until is not None  # noqa: PT018  for the type checker
        middle = self.since + timedelta(milliseconds=round(self.length / timedelta(milliseconds=2)))
        return self.between(self.since, middle), self.between(middle, self.until)

    @property
    def length(self) -> timedelta:
        """How long the slice is; nothing for a whole day."""
        return self.until - self.since if self.since and self.until else timedelta()

    @property
    def filters(self) -> str:
        """The slice as the server's ``filters``: times in UTC with a blank, no T and no Z. Empty for the whole day."""
        bounds = [("gte", self.since), ("lt", self.until)]
        found = [
            {"name": "created_at", "operator": operator, "value": [at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]]}
            for operator, at in bounds
            if at is not None
        ]
        return json.dumps(found) if found else ""

    @property
    def where(self) -> str:
        return self.reported_as or self.stream.partition(self.day)

    @property
    def limit(self) -> int:
        return self.query.limit

    @property
    def query(self) -> EventsQuery:
        query = self.stream.query
        if not isinstance(query, EventsQuery):
            raise TypeError(f"{self.stream.table} is no stream of events")
        return query


class EventPage(msgspec.Struct, frozen=True):
    number: int
    meta: _Meta
    rows: Rows
    warnings: tuple[str, ...] = ()


def parse_page(body: bytes, request: DayRequest, number: int) -> EventPage:
    """An answer as the page with this number, with rows of the requested day.

    Raises:
        ContractError: the answer has another shape, is another page, or holds another day.
    """
    meta, rows = _sliced(body, request) or _parsed(healed(body), request)
    if meta.current is not None and meta.current != number:
        raise ContractError(
            f"page {number} was asked for and page {meta.current:g} came",
            where=request.where,
            next_step="the server pages in a way we do not know: report it with the server's version.",
        )
    if meta.total < 0:
        raise ContractError(
            f"the server counts {meta.total} rows",
            where=request.where,
            next_step="rerun once; if it repeats, report it with the server's version.",
        )
    _same_day(rows, request.day, request.where)
    return EventPage(number, meta, rows, _missing(rows, request) if number == 1 and rows.keys else ())


def _missing(rows: Rows, request: DayRequest) -> tuple[str, ...]:
    """Warnings about fields that were asked for by name and are in no row of a page.

    Raises:
        ContractError: only the default fields came. The other columns would land as NULL without a warning.
    """
    if not request.query.includes:
        return ()
    wanted = tuple(name for name in request.query.includes if name != "groups")  # always in the row, if only as []
    came = {name for name in (*wanted, "sessionId") if re.search(rb'"%b"\s*:' % name.encode(), rows.body)}
    if came == {"sessionId"}:
        raise ContractError(
            f"none of the {len(wanted)} fields that were asked for by name came ({', '.join(wanted[:3])} ...)",
            where=request.where,
            next_step="the server does not read includes: check that nothing between drops repeated parameters, and "
            "update OpenPanel to 2024-09-05 or later.",
        )
    if "properties" not in came:
        return ("no row of the first page has properties, although they were asked for",)
    return ()


def read_envelope(body: bytes, where: str) -> _Envelope:
    """The envelope of an answer.

    Raises:
        ContractError: a key is missing. That never counts as "no rows".
    """
    try:
        return msgspec.json.decode(body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ContractError(
            f"the answer is not {{meta: {{totalCount}}, data: [...]}}: {excerpt(str(fault), 120)}; "
            f"it begins with {excerpt(body, 120)!r}",
            where=where,
            next_step="check OPENPANEL_API_URL; if it is right, the server's format changed: report this message.",
        ) from None


def _sliced(body: bytes, request: DayRequest) -> tuple[_Meta, Rows] | None:
    """Meta and rows without parsing the body twice, if it has the usual form ``{"meta":{...},"data":[...]}``.

    The rows are parsed as one whole JSON array, so a wrong cut is always noticed.
    """
    cut = body.find(b',"data":[', 0, 4096)
    if cut < 0 or not body.endswith(b"]}") or not body.startswith(b'{"meta":'):
        return None
    try:
        meta = msgspec.json.decode(body[8:cut], type=_Meta)
        return meta, read_rows(memoryview(body)[cut + 8 : -1], request.stream, where=request.where)
    except (msgspec.DecodeError, ContractError):
        return None


def _parsed(body: bytes, request: DayRequest) -> tuple[_Meta, Rows]:
    envelope = read_envelope(body, request.where)
    return envelope.meta, read_rows(memoryview(envelope.data), request.stream, where=request.where)


def _same_day(rows: Rows, day: date, where: str) -> None:
    prefix = day.isoformat()
    if rows.times and min(rows.times) >= prefix and max(rows.times) < f"{prefix}U" and _plain_utc(rows.times):
        return
    for time in rows.times:
        if (found := instant(time, where).date()) != day:
            raise ContractError(
                f"a row of {found.isoformat()} (UTC) came where only {prefix} was asked for",
                where=where,
                next_step="the server ignored the dates, or its event store does not count days in UTC: "
                "update the server or set its ClickHouse timezone to UTC.",
            )


def _plain_utc(times: Sequence[str]) -> bool:
    """Whether all are written like ``2024-04-15T23:59:05.123Z``, so that texts compare like times."""
    return set(map(len, times)) == {24} and "".join(times).count("Z") == len(times)


def instant(time: str, where: str) -> datetime:
    """A time of a row in UTC.

    Raises:
        ContractError: it is not a time.
    """
    try:
        # Python reads at most microseconds.
        instant = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", time))
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ContractError(
            f"{excerpt(time, 60)!r} is not a time", where=where, next_step="report this row to the vendor."
        ) from None
    return instant
