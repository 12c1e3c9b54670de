"""Reads entry and exit pages, sessions, profiles and groups: lists that show 100 rows (pages: 1000) and have no pages.

What is longer is read in parts that cannot overlap and leave nothing out: sessions by the time they began, profiles by
their id. A part with fewer rows than the limit is whole. Groups can be divided by type only. ``CONTRACT.md`` 8 has the
facts.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from connector.errors import ContractError, IncompleteError, RejectedError
from connector.openpanel.encoding import quoted
from connector.openpanel.reports.api import ReportApi, ReportRequest, ReportRows, Row, wrong_shape

LIMIT, MOST_PAGES = 100, 1000
# 100,000 ranges are millions of profiles, and three hours of requests: such a list has no end.
MOST_RANGES = 100_000
# Sessions expected in a part. Half the limit, because sessions are not spread evenly over a day.
EXPECTED = 50
MOST_PARTS = 1440
# What groups of a type with more than LIMIT are searched for, alone and in pairs.
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)

Params = Sequence[tuple[str, str]]


class Lists:
    """The lists of one project.

    Args:
        api: sends the requests.
        zone: of the organization, whose days are the partitions.
    """

    def __init__(self, api: ReportApi, zone: ZoneInfo) -> None:
        self._api, self._zone = api, zone

    # ---------- entry and exit pages

    def entry_exit(self, request: ReportRequest) -> Iterator[ReportRows]:
        """The pages that sessions of a day began with, and those they ended with."""
        for mode in ("entry", "exit"):
            params = [
                ("mode", mode),
                ("startDate", f"{request.day} 00:00:00"),
                # On this route a plain end date means its midnight, which would exclude the day itself.
                ("endDate", f"{request.day} 23:59:59"),
            ]
            rows = self._rows(request.stream.path, params, request)
            warning = f"{mode} pages were cut at {MOST_PAGES} rows by the vendor" if len(rows) >= MOST_PAGES else ""
            yield ReportRows([{**self._api.head(request), "mode": mode, **row} for row in rows], warning)

    # ---------- sessions

    def sessions(self, request: ReportRequest) -> Iterator[ReportRows]:
        """The sessions that began on a local day, each in its newest version.

        Raises:
            IncompleteError: the vendor's total changed meanwhile, or is another one than was read.
            ContractError: more sessions began in one second than the server shows.
        """
        total = self.count_sessions(request)
        start, end = self._bounds(request)
        parts = min(max(1, -(-total // EXPECTED)), MOST_PARTS)
        edges = [start + (end - start) // parts * number for number in range(parts)]
        edges = [*dict.fromkeys(edge.replace(microsecond=0) for edge in edges), end]
        received = 0
        for first, last in pairwise(edges):
            for rows in self._sessions_between(first, last, request):
                # The total counts up to the last whole second.
                received += sum(_instant(row["created_at"]) <= end - _SECOND for row in rows)
                yield ReportRows(rows)
        now = self.count_sessions(request)
        if now != total or received != now:
            because = "sessions were stored while we read" if now != total else ""
            raise IncompleteError(where=request.where, announced=now, received=received, because=because)

    def count_sessions(self, request: ReportRequest) -> int:
        """The vendor's own count of sessions on a local day; those of its last, broken second are not in it."""
        path = self._api.path("/insights/{project}/metrics")
        day = request.day.isoformat()
        match self._api.get(path, [("startDate", day), ("endDate", day)], request):
            case {"metrics": {"total_sessions": int(total)}}:
                return total
            case other:
                raise wrong_shape(path, "{metrics: {total_sessions: n}}", other, request.where)

    def _bounds(self, request: ReportRequest) -> tuple[datetime, datetime]:
        first, last = (datetime.combine(day, time(), self._zone) for day in (request.day, request.day + _DAY))
        return first.astimezone(UTC), last.astimezone(UTC)

    def _sessions_between(self, first: datetime, last: datetime, request: ReportRequest) -> Iterator[list[Row]]:
        """Sessions that began in ``[first, last)``; the server includes both ends, in whole seconds."""
        params = [("startDate", _zulu(first)), ("endDate", _zulu(last)), ("limit", str(LIMIT))]
        rows = self._rows(request.stream.path, params, request)
        newest: dict[str, Row] = {}
        for row in rows:
            began = _instant(row.get("created_at"))
            if not first <= began <= last:
                raise _ignored(request, f"sessions from {_zulu(first)} to {_zulu(last)}", row.get("created_at"))
            name = str(row.get("id"))
            if began < last and (name not in newest or _version(newest[name]) < _version(row)):
                newest[name] = _in_utc(row, "created_at", "ended_at")
        if len(rows) < LIMIT:
            yield list(newest.values())
            return
        if last - first <= _SECOND:
            raise ContractError(
                f"{LIMIT} sessions or more began within the second {_zulu(first)}, and the server shows no more",
                where=request.where,
                next_step="take `sessions` out of the file of OPENPANEL_REPORTS; marts.sessions has them, from events.",
            )
        middle = (first + (last - first) / 2).replace(microsecond=0)
        yield from self._sessions_between(first, middle, request)
        yield from self._sessions_between(middle, last, request)

    # ---------- profiles

    def profiles(self, request: ReportRequest) -> Iterator[ReportRows]:
        """All profiles, each in its newest version, from ranges of ids ``[first, last)``; an empty text is no bound.

        Raises:
            RejectedError: there are more than the server lists, and it cannot be asked for a range.
            ContractError: the ranges have no end.
        """
        ranges, asked = [("", "")], 0
        while ranges:
            first, last = ranges.pop()
            asked += 1
            rows = self._profiles_between(first, last, request)
            newest: dict[str, Row] = {}
            for row in rows:
                name = str(row.get("id"))
                if _order(name) < _order(first) or (last and _order(name) >= _order(last)):
                    raise _unfiltered(request)
                if name not in newest or str(newest[name].get("last_seen_at")) < str(row.get("last_seen_at")):
                    newest[name] = row
            if len(rows) < LIMIT:
                yield ReportRows([_in_utc(row, "created_at", "last_seen_at") for row in newest.values()])
                continue
            # The server cuts blanks from the ends of a filter's value.
            usable = [name for name in sorted(newest, key=_order)[1:] if name == name.strip()]
            if not usable or asked > MOST_RANGES:
                raise ContractError(
                    f"after {asked} ranges of ids the server still answers {len(rows)} rows, of {len(newest)} profiles",
                    where=request.where,
                    next_step="try again in an hour; if it repeats, report it with the server's version.",
                )
            middle = usable[len(usable) // 2]
            ranges += [(middle, last), (first, middle)]

    def _profiles_between(self, first: str, last: str, request: ReportRequest) -> list[Row]:
        bounds = [("gte", first)] * bool(first) + [("lt", last)] * bool(last)
        filters = [{"name": "profile.id", "operator": operator, "value": [value]} for operator, value in bounds]
        params = [("sortOrder", "asc"), ("limit", str(LIMIT))]
        return self._rows(request.stream.path, [*params, *_as_param(filters)], request)

    # ---------- groups

    def groups(self, request: ReportRequest) -> Iterator[ReportRows]:
        """All groups, type by type; a warning where a type has more than the server lists."""
        path = request.stream.path
        match self._answer(f"{path}/types", [], request):
            case {"types": [*types]}:
                for kind in types:
                    yield self._groups_of(str(kind), request)
            case other:
                raise wrong_shape(self._api.path(f"{path}/types"), "{types: [...]}", other, request.where)

    def _groups_of(self, kind: str, request: ReportRequest) -> ReportRows:
        found: dict[str, Row] = {}
        if self._search(kind, "", found, request):
            return ReportRows(list(found.values()))
        for letter in _LETTERS:
            if not self._search(kind, letter, found, request):
                for second in _LETTERS:
                    self._search(kind, letter + second, found, request)
        warning = f"of more than {LIMIT} groups of type {kind!r}, {len(found)} were found; others may be missing"
        return ReportRows(list(found.values()), warning)

    def _search(self, kind: str, term: str, found: dict[str, Row], request: ReportRequest) -> bool:
        """Add the groups whose id or name holds a term; whether these were all of them."""
        params = [("type", quoted(kind)), ("limit", str(LIMIT))]
        params += [("search", quoted(term))] if term else []
        rows = self._rows(request.stream.path, params, request)
        found.update((str(row.get("id")), row) for row in rows)
        return len(rows) < LIMIT

    # ---------- requests

    def _rows(self, path: str, params: Params, request: ReportRequest) -> list[Row]:
        answer = self._answer(path, params, request)
        if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
            raise wrong_shape(self._api.path(path), "a list of objects", answer, request.where)
        return answer

    def _answer(self, path: str, params: Params, request: ReportRequest) -> object:
        try:
            return self._api.get(self._api.path(path), params, request)
        except RejectedError as refused:
            if refused.status != 404:
                raise
            raise RejectedError(
                f"this server does not list {request.stream.name}: it is from before 2026-04-09",
                where=request.where,
                next_step=f"update the server, or take `{request.stream.name}` out of the file of OPENPANEL_REPORTS.",
                status=404,
            ) from None


def _ignored(request: ReportRequest, asked: str, got: object) -> ContractError:
    return ContractError(
        f"asked for {asked}, the server also sent one from {got}",
        where=request.where,
        next_step="take `sessions` out of the file of OPENPANEL_REPORTS, and report the server's version.",
    )


def _unfiltered(request: ReportRequest) -> RejectedError:
    return RejectedError(
        f"the project has {LIMIT} profiles or more, and this server ignores the filter that asks for a part of them",
        where=request.where,
        next_step="update the server, or take `profiles` out of the file of OPENPANEL_REPORTS.",
    )


def _as_param(filters: Sequence[object]) -> Params:
    return [("filters", json.dumps(filters))] if filters else []


def _instant(text: object) -> datetime:
    """A time of the event store, which is UTC without a zone; the year 1 for anything else, which is in no part."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _in_utc(row: Row, *names: str) -> Row:
    """A row whose times say that they are UTC; what is no time stays as it is."""
    times = {name: str(row[name]).replace(" ", "T") + "Z" for name in names if _is_bare(row.get(name))}
    return row | times


def _is_bare(value: object) -> bool:
    return isinstance(value, str) and _instant(value).year > 1 and not value.endswith("Z") and "+" not in value


def _version(row: Row) -> float:
    version = row.get("version")
    return version if isinstance(version, int | float) else 0


def _order(name: str) -> bytes:
    """The event store compares texts byte by byte."""
    return name.encode("utf-8", "surrogatepass")


def _zulu(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
