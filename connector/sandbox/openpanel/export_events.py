"""``GET /export/events``: the page a client asked for, cut out of rows that may change before it asks for the next.

Rows and count are two queries without a snapshot. Charts are not answered here.
"""

from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING

import msgspec

from connector.sandbox.openpanel import auth
from connector.sandbox.openpanel.answers import JSON, RefusalError, Server, raw, server_error
from connector.sandbox.openpanel.event_query import EventQuery, documented_query, event_query
from connector.sandbox.openpanel.export_rows import page_rows, server_rows
from connector.sandbox.openpanel.filters import Times, compile_filters
from connector.sandbox.openpanel.store import Event, Project
from connector.sandbox.openpanel.timestamps import DAY_MS, day_of, js_date, midnight
from connector.sandbox.wire import Answer, Request

if TYPE_CHECKING:
    from connector.sandbox.openpanel.vendor import OpenPanel

LOOKBACK_MAX_DAYS = 5 * 365
Span = tuple[int | None, int | None]


def events(vendor: "OpenPanel", request: Request) -> Answer:
    """Answer one request: query, credentials, project, dates, and then two queries without a snapshot."""
    documented = vendor.dialect == "pages"
    parse = documented_query if documented else event_query
    asked = parse(request.params, vendor.max_limit, vendor.say)
    client = auth.reader("Export", "export", vendor.clients, request.headers, vendor.say)
    project = auth.project_of(client, asked.project, vendor.projects, vendor.say)
    if documented:
        span = documented_span(asked, project.organisation.timezone, vendor.say)
    else:
        span = server_span(asked, vendor.server_timezone)
    offset, take = offset_of(asked), int(asked.limit)
    if vendor.event_store_down:
        raise RefusalError(server_error())
    selection = Selection(project, asked, span)
    _call(vendor.before_page, asked.page)
    if asked.page == 1 and not documented and (span == (None, None) or vendor.page_one_lookback):
        rows = windowed(selection, offset, take, vendor.now())
    else:
        rows = selection.page(offset, take)
    _call(vendor.before_count, asked.page)
    total = selection.count()
    encode = page_rows(project, asked.includes) if documented else server_rows(project, asked.includes, vendor.now())
    return envelope(encode(rows), len(rows), total, asked)


def _call(hooks: dict[int, Callable[[], object]], page: float) -> None:
    hook = hooks.pop(int(page), None)
    if hook is not None:
        hook()


class Selection:
    """The rows one query is about: a span of time and the tests a row must pass."""

    def __init__(self, project: Project, query: EventQuery, span: Span) -> None:
        self.project = project
        self.span = span
        self._names = None if query.names is None else frozenset(query.names)
        self._profile = query.profile or None
        self._times: Times | None = compile_filters(query.filters, project) if query.filters else None

    def count(self) -> int:
        """How many rows the count query finds; for a profile only the rows that carry its id."""
        if self._names is None and self._profile is None and self._times is None:
            return sum(map(len, self.project.events.parts(*self.span)))
        return sum(len(self._kept(part, None)) for part in self.project.events.parts(*self.span))

    def page(self, offset: int, most: int, since: int | None = None) -> list[Event]:
        """Up to ``most`` rows from ``offset`` on, newest first, none older than ``since``.

        For a profile the list also holds the anonymous rows of every device the profile ever used.
        """
        low, high = self.span
        if since is not None:
            low = since if low is None else max(low, since)
        devices = self.project.devices(self._profile) if self._profile else None
        found: list[Event] = []
        for part in self.project.events.parts(low, high):
            rows = self._kept(part, devices)
            if offset >= len(rows):
                offset -= len(rows)
                continue
            found += rows[offset : offset + most - len(found)]
            offset = 0
            if len(found) >= most:
                break
        return found

    def _kept(self, rows: list[Event], devices: set[str] | None) -> list[Event]:
        if self._names is not None:
            rows = [row for row in rows if row.name in self._names]
        if self._profile is not None:
            linked: set[str] = devices or set()
            rows = [
                row
                for row in rows
                if row.profile_id == self._profile or (row.device_id in linked and row.profile_id == row.device_id)
            ]
        if self._times is not None:
            times = self._times
            rows = [row for row in rows for _ in range(times(row))]
        return rows


def server_span(query: EventQuery, timezone: str) -> Span:
    """Whole days of the event store, both included, and only if both ends are given; otherwise everything."""
    if query.start is None or query.end is None:
        return None, None
    start, end = js_date(query.start), js_date(query.end)
    if start is None or end is None:
        raise RefusalError(server_error())
    return midnight(day_of(start), timezone), midnight(day_of(end) + timedelta(days=1), timezone)


def windowed(selection: Selection, offset: int, most: int, now: int) -> list[Event]:
    """Page 1 through the hidden look-back window: doubled only while nothing at all is found.

    The first try asks for half a day, which the event store rounds down to none: not older than this second.
    """
    second = now // 1000 * 1000
    days = 0.5
    while True:
        rows = selection.page(offset, most, since=second - int(days) * DAY_MS)
        if rows or days >= LOOKBACK_MAX_DAYS:
            return rows
        days = min(days * 2, LOOKBACK_MAX_DAYS)


def documented_span(query: EventQuery, timezone: str, say: Server) -> Span:
    """The days the documentation promises: each end optional, both included, in the project's timezone."""
    first, last = (_documented_day(text, name, say) for name, text in (("start", query.start), ("end", query.end)))
    return (
        None if first is None else midnight(first, timezone),
        None if last is None else midnight(last + timedelta(days=1), timezone),
    )


def _documented_day(text: str | None, name: str, say: Server) -> date | None:
    if text is None:
        return None
    moment = js_date(text)
    if moment is None:
        raise RefusalError(say.invalid("querystring", [(name, "Invalid date")]))
    return day_of(moment)


def envelope(rows: bytes, count: int, total: int, query: EventQuery) -> Answer:
    """The answer around the encoded rows."""
    take = int(query.limit)
    current = int(query.page) if float(query.page).is_integer() else query.page
    meta = {"count": count, "totalCount": total, "pages": -(-total // take), "current": current}
    return raw(b'{"meta":' + msgspec.json.encode(meta) + b',"data":' + rows + b"}", JSON)


def offset_of(query: EventQuery) -> int:
    """Rows to skip; the event store refuses fractions of a row."""
    offset = (query.page - 1) * query.limit
    if not float(query.limit).is_integer() or not float(offset).is_integer():
        raise RefusalError(server_error())
    return int(offset)
