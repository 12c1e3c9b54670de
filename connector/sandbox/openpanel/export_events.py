"""``GET /export/events``: one page of rows. Rows may change before the client asks for the next page.

Rows and count are two queries without a snapshot.
"""

from collections.abc import Callable
from datetime import date, timedelta

import msgspec

from connector.sandbox.messages import Answer, RefusalError, Request
from connector.sandbox.openpanel.answers import JSON, ServerWording, raw, server_error
from connector.sandbox.openpanel.auth import export_project
from connector.sandbox.openpanel.event_query import EventQuery, documented_query, event_query
from connector.sandbox.openpanel.export_rows import page_rows, server_rows
from connector.sandbox.openpanel.filters import Times, compile_filters
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import Event, Project
from connector.sandbox.openpanel.timestamps import DAY_MS, day_of, js_date, midnight

LOOKBACK_MAX_DAYS = 5 * 365
Span = tuple[int | None, int | None]


def events(state: State, request: Request) -> Answer:
    """Answer one request. The checks come in this order: query, credentials, project, dates, event store."""
    documented = state.documented
    parse = documented_query if documented else event_query
    asked = parse(request.params, state.max_limit, state.wording)
    project = export_project(state, request, asked.project)
    if documented:
        span = documented_span(asked, project.organisation.timezone, state.wording)
    else:
        span = server_span(asked, state.server_timezone)
    offset, take = offset_of(asked), int(asked.limit)
    state.check_event_store()
    selection = Selection(project, asked, span)
    _call(state.before_page, asked.page)
    if asked.page == 1 and not documented and (span == (None, None) or state.page_one_lookback):
        rows = windowed(selection, offset, take, state.now())
    else:
        rows = selection.page(offset, take)
    _call(state.before_count, asked.page)
    total = selection.count()
    encode = page_rows(project, asked.includes) if documented else server_rows(project, asked.includes, state.now())
    return envelope(encode(rows), len(rows), total, asked)


def _call(hooks: dict[int, Callable[[], object]], page: float) -> None:
    hook = hooks.pop(int(page), None)
    if hook is not None:
        hook()


class Selection:
    """The rows of one query: a span of time and the tests a row must pass."""

    def __init__(self, project: Project, query: EventQuery, span: Span) -> None:
        self.project = project
        self.span = span
        self._names = None if query.names is None else frozenset(query.names)
        self._profile = query.profile or None
        self._times: Times | None = compile_filters(query.filters, project) if query.filters else None

    def count(self) -> int:
        """The result of the count query; for a profile it counts only the rows that carry its id."""
        if self._names is None and self._profile is None and self._times is None:
            return sum(map(len, self.project.events.parts(*self.span)))
        return sum(len(self._kept(part, None)) for part in self.project.events.parts(*self.span))

    def page(self, offset: int, most: int, since: int | None = None) -> list[Event]:
        """Up to ``most`` rows from ``offset`` on, newest first, none older than ``since``.

        For a profile, the list also contains the anonymous rows of every device the profile ever used.
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
    """Whole days of the event store, both included. If one end is missing, everything."""
    if query.start is None or query.end is None:
        return None, None
    start, end = js_date(query.start), js_date(query.end)
    if start is None or end is None:
        raise RefusalError(server_error())
    return midnight(day_of(start), timezone), midnight(day_of(end) + timedelta(days=1), timezone)


def windowed(selection: Selection, offset: int, most: int, now: int) -> list[Event]:
    """Page 1 through the undocumented look-back window, which doubles until it contains a row.

    The first window is half a day. The event store rounds it down to zero days, so it begins with this second.
    """
    second = now // 1000 * 1000
    days = 0.5
    while True:
        rows = selection.page(offset, most, since=second - int(days) * DAY_MS)
        if rows or days >= LOOKBACK_MAX_DAYS:
            return rows
        days = min(days * 2, LOOKBACK_MAX_DAYS)


def documented_span(query: EventQuery, timezone: str, wording: ServerWording) -> Span:
    """The days as documented: each end is optional, both are included, in the project's timezone."""
    first, last = (_documented_day(text, name, wording) for name, text in (("start", query.start), ("end", query.end)))
    return (
        None if first is None else midnight(first, timezone),
        None if last is None else midnight(last + timedelta(days=1), timezone),
    )


def _documented_day(text: str | None, name: str, wording: ServerWording) -> date | None:
    if text is None:
        return None
    moment = js_date(text)
    if moment is None:
        raise RefusalError(wording.invalid("querystring", [(name, "Invalid date")]))
    return day_of(moment)


def envelope(rows: bytes, count: int, total: int, query: EventQuery) -> Answer:
    """The answer that contains the encoded rows."""
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
