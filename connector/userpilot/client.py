"""The client of one Userpilot environment: list, trigger, show and download exports; read lookups.

It has two HTTP clients. One sends the key, and only to the API. The other has no credentials and fetches files,
because the file host refuses a request with two kinds of credentials. ``exports/machine.py`` decides what to send.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from connector.catalogue.userpilot import OPTIONAL
from connector.errors import ContractError, RejectedError, SettingsError, TransientError
from connector.http.budget import Budget
from connector.http.client import Call, Http
from connector.http.connection import Closing, Transport
from connector.http.download import Files
from connector.http.retry import ATTEMPTS
from connector.meter import Meter
from connector.privacy.policy import Privacy
from connector.records.files import prove_whole
from connector.records.fit import parsed
from connector.redaction import excerpt
from connector.settings import Secret, checked_url
from connector.stream import Stream
from connector.userpilot.exports.job import Conflict, Created, Seen, Unclear, utc
from connector.userpilot.exports.request import Request
from connector.userpilot.settings import API_URL, UserpilotSettings

EXPORTS = "/api/v1/analytics/exports"
JOBS = f"{EXPORTS}/jobs"
PAGE = 50
# Times a damaged file is fetched. A file that was cut in transit is whole the next time; one cut at its source is not.
FETCHES = 3
# 10,000 pages are half a million items: no account has so many, so the list is endless.
MOST_PAGES = 10_000
_ADVICE = {
    401: "check USERPILOT_API_KEY, and that the plan includes the export API (Enterprise, or Growth with the add-on).",
    403: "the plan of this environment lacks the export API, or USERPILOT_API_KEY belongs to another environment.",
    404: "check USERPILOT_API_URL; the environment page of the web app tells the host of your account.",
    400: "check the options of the export against the message; a rerun gets the same answer.",
    422: "check the options of the export against the message; a rerun gets the same answer.",
}


class LinkError(RejectedError):
    """The file host refused a presigned link; ``gone`` if the file does not exist any more."""

    def __init__(self, error: RejectedError) -> None:
        super().__init__(error.what, where=error.where, next_step=error.next_step, status=error.status)
        self.gone = error.status == 404


@dataclass(frozen=True)
class Lookup:
    """The items of one lookup, as sent except for their ids (see :func:`with_ids`), and warnings for readers."""

    items: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()


class Userpilot(Closing):
    """One environment's bulk export and lookups API.

    Args:
        url: base URL of the API.
        api_key: sent to the API only, in one header.
        privacy: rules for what is dropped or hashed when files and lookups are landed; None for no rules.
        budget: gets every answer's headers; the vendor is not known to limit requests.
        timeout, deadline: seconds without a byte, and seconds for one whole answer; a file may take longer.
        sleep, transport, files_transport: replaced in tests.
    """

    def __init__(
        self,
        *,
        url: str = API_URL,
        api_key: str | Secret,
        privacy: Privacy | None = None,
        budget: Budget | None = None,
        timeout: float = 60.0,
        deadline: float = 600.0,
        sleep: Callable[[float], None] = time.sleep,
        transport: Transport | None = None,
        files_transport: Transport | None = None,
    ) -> None:
        key = api_key if isinstance(api_key, Secret) else Secret(api_key)
        self.url, self.privacy = checked_url("USERPILOT_API_URL", url), privacy
        self._http = Http(
            self.url,
            headers={"authorization": f"Token {key.reveal()}"},
            budget=budget,
            advice=_ADVICE,
            setting="USERPILOT_API_URL",
            connections=2,
            timeout=timeout,
            deadline=deadline,
            sleep=sleep,
            transport=transport,
        )
        self._files = Files(timeout=timeout, patience=deadline, sleep=sleep, transport=files_transport)

    @classmethod
    def from_settings(cls, settings: UserpilotSettings) -> "Userpilot":
        return cls(url=settings.api_url, api_key=settings.api_key, privacy=settings.privacy)

    def close(self) -> None:
        self._http.close()
        self._files.close()

    @property
    def last_headers(self) -> Mapping[str, str]:
        """The headers of the API's last answer; empty before the first."""
        return self._http.last_headers

    # ---------- export jobs

    def list_jobs(self, *, where: str = "userpilot.events", meter: Meter | None = None) -> tuple[Seen, ...]:
        """Jobs of the last three days, the newest first. They tell neither what is exported nor who requested it.

        Raises:
            ContractError: the answer is not a list of jobs.
        """
        found = self._get(f"{JOBS}/", where=where, meter=meter)
        if not isinstance(found, list):
            raise _not_promised("the list of jobs is not a list", where)
        jobs = [_seen(item, where) for item in found]
        return tuple(sorted(jobs, key=lambda job: job.started or datetime.min.replace(tzinfo=UTC), reverse=True))

    def trigger(self, request: Request, *, meter: Meter | None = None) -> Created | Conflict | Unclear:
        """Request an export, once. An unanswered POST may have created a job, so it is never retried here.

        Returns:
            Created with the job's id; Conflict if the slot is in use; Unclear if there was no usable answer.

        Raises:
            RejectedError: the key, the plan or an option is wrong.
        """
        body, path, retried = request.body(), EXPORTS, False
        while True:
            try:
                call = Call(method="POST", path=path, body=body, where=request.where, attempts=1)
                answer = self._http.send(call, meter=meter)
            except RejectedError as error:
                # These refusals created no job, so each other form of the request may be tried once.
                if error.status == 409:
                    return Conflict()
                if error.status in (404, 301, 302, 307, 308) and path == EXPORTS and "job not found" not in error.what:
                    path = f"{EXPORTS}/"
                elif (
                    error.status in (400, 422)
                    and body["format"] == "json"
                    and not retried
                    and re.search(r"(?i)\bformat\b", error.what)
                ):
                    body, retried = {**body, "format": "ndjson"}, True
                elif error.status in (400, 422) and (earlier := _day_before(body["to"], request.last)):
                    body = {**body, "to": earlier}
                else:
                    raise
                continue
            except TransientError as error:
                return Unclear(error.what)
            return _created(answer)

    def show(
        self, job_id: str, *, where: str = "userpilot.events", meter: Meter | None = None, attempts: int = ATTEMPTS
    ) -> Seen | None:
        """One job with its progress and its links; None if the vendor does not know it, or not any more."""
        try:
            found = self._get(f"{JOBS}/{job_id}", where=where, meter=meter, attempts=attempts)
        except RejectedError as error:
            if error.status == 404:
                return None
            raise
        seen = _seen(found, where)
        if seen.job_id != job_id:
            raise _not_promised(f"asked for job {excerpt(job_id, 40)} and was told about another", where)
        return seen

    def download(self, url: str, target: Path, *, where: str, meter: Meter | None = None) -> int:
        """Fetch one file into ``target``, as sent and proven whole.

        Returns:
            Its size in bytes.

        Raises:
            LinkError: the link expired, or the file does not exist any more.
            TransientError: the network failed five times, or the file was damaged or ended early three times.
        """
        arrived = target.with_name(f"{target.name}.arrived")
        for left in reversed(range(FETCHES)):
            try:
                size, end_told = self._files.fetch(url, arrived, where=where, meter=meter)
            except SettingsError:  # no other link would do better
                raise
            except RejectedError as error:
                raise LinkError(error) from None
            try:
                prove_whole(arrived, where, end_told=end_told)
                break
            except TransientError:
                if not left:
                    raise
        arrived.replace(target)
        return size

    # ---------- lookups

    def lookup(self, stream: Stream, *, meter: Meter | None = None) -> Lookup | None:
        """All items of a lookup, from one list or from pages; None if the account does not have it.

        Pages are ordered by a key that changes while events arrive, so items may repeat or be missed. Repeats are
        removed by id (:func:`with_ids`). If fewer items came than the vendor counts, all pages are read once more.

        Raises:
            ContractError: the answer has neither of the two shapes, a cursor came twice, or pages are empty.
        """
        try:
            items, total = self._all_pages(stream, meter)
        except RejectedError as error:
            if error.status == 404 and stream.name in OPTIONAL:
                return None
            raise
        found = with_ids(items)
        if total is not None and len(found) < total:
            again, total = self._all_pages(stream, meter)
            found = with_ids([*items, *again])
            if total is not None and len(found) < total:
                return Lookup(found, (f"{len(found)} of {total} counted items came, twice",))
        return Lookup(found)

    def _all_pages(self, stream: Stream, meter: Meter | None) -> tuple[list[dict[str, Any]], int | None]:
        """Items as sent, and the vendor's count; None without one, or if it is capped."""
        items: list[dict[str, Any]] = []
        cursor, cursors, empty, total = "", set[str](), 0, None
        while True:
            params = [("limit", str(PAGE))] + ([("after_cursor", cursor)] if cursor else [])
            answer = self._get(stream.path, params, where=stream.table, meter=meter)
            page, following, counted = _parse_page(answer, stream.table)
            items += page
            total = counted
            if not following:
                return items, total
            empty = empty + 1 if not page else 0
            if len(cursors) >= MOST_PAGES:
                raise _not_promised(f"the list has no end: {len(cursors)} pages, {len(items)} items", stream.table)
            if following in cursors or empty > 1:
                why = "the same cursor came twice" if following in cursors else "empty pages follow each other"
                raise _not_promised(f"{why} after {len(items)} items", stream.table)
            cursors.add(following)
            cursor = following

    def _get(
        self,
        path: str,
        params: list[tuple[str, str]] | None = None,
        *,
        where: str,
        meter: Meter | None = None,
        attempts: int = ATTEMPTS,
    ) -> Any:
        """An answer's JSON. On a 404 of the service itself, the path is tried once with or without its final slash."""
        other = path[:-1] if path.endswith("/") else f"{path}/"
        for spelling in (path, other):
            try:
                call = Call(
                    method="GET",
                    path=spelling,
                    params=params or (),
                    where=where,
                    attempts=attempts,
                    json_expected=True,
                )
                body = self._http.send(call, meter=meter)
            except RejectedError as error:
                if error.status == 404 and spelling == path and "job not found" not in error.what:
                    continue
                raise
            try:
                return parsed(body)
            except (ValueError, RecursionError):
                raise _not_promised(f"the answer is not JSON: {excerpt(body, 120)}", where) from None
        raise AssertionError("the second spelling either returns or raises")


def with_ids(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items with unique ids, as text: ``id``, else ``key``, else a hash of the item. Repeated items are removed.

    A repeated id is the same item on another page. A repeated key need not be: if the items differ, a hash of the
    content is appended to the key.
    """
    found: dict[str, Mapping[str, Any]] = {}
    without_id = []
    for item in items:
        if item.get("id") in (None, ""):
            without_id.append(item)
        else:
            found[str(item["id"])] = item
    for item in without_id:
        name = _hash(item) if item.get("key") in (None, "") else str(item["key"])
        if name in found and _content(found[name]) != _content(item):
            name = f"{name}#{_hash(_content(item))}"
        found[name] = item
    return [{**item, "id": name} for name, item in found.items()]


def _content(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item without ``last_seen``, which changes between pages and nights, for comparing."""
    return {name: value for name, value in item.items() if name != "last_seen"}


def _hash(item: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:16]


def _parse_page(answer: Any, where: str) -> tuple[list[dict[str, Any]], str, int | None]:
    """Items, the cursor of the next page, and the total count; None without one, or if it is capped."""
    match answer:
        case list():
            page, following, total = answer, "", None
        case {"data": list(page)}:
            # Documented are metadata.cursor.after and metadata.total_count. They are also read one level up, because
            # a missed cursor would lose all following pages.
            metadata = _member(answer, "metadata")
            places = (_member(metadata, "cursor"), metadata, _member(answer, "cursor"), answer)
            following = next((str(place["after"]) for place in places if place.get("after")), "")
            counts = [place["total_count"] for place in places if isinstance(place.get("total_count"), int)]
            capped = any(place.get("total_count_cap_exceeded") is True for place in places)
            total = counts[0] if counts and not capped else None
        case _:
            raise _not_promised(f"neither a list nor pages: {excerpt(str(answer), 120)}", where)
    if not all(isinstance(item, dict) for item in page):
        raise _not_promised("an item is not an object", where)
    return page, following, total


def _member(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = answer.get(name)
    return found if isinstance(found, dict) else {}


def _seen(item: Any, where: str) -> Seen:
    if not isinstance(item, dict) or not isinstance(item.get("job_id"), str) or not item["job_id"]:
        raise _not_promised("a job has no job_id", where)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", item["job_id"]):
        raise _not_promised("a job_id is not an id", where)
    links: dict[str, str] = {}
    linkless = False
    for entry in _list(item, "presigned_urls", where):
        if not isinstance(entry, dict) or not entry.get("filename"):
            raise _not_promised("a file has no filename", where)
        if not entry.get("url") or not isinstance(entry["url"], str):
            linkless = True
            continue
        name = str(entry["filename"])
        if name in links:
            raise _not_promised(f"two files of one job are called {excerpt(name, 60)}", where)
        links[name] = entry["url"].strip().removeprefix("<").removesuffix(">")
    ends = [end for url in links.values() if (end := link_ends(url))]
    return Seen(
        job_id=item["job_id"],
        status=excerpt(str(item.get("status") or ""), 40),
        type=str(item.get("type") or "export"),
        started=utc(_text(item.get("start_time"))),
        ended=utc(_text(item.get("end_time"))),
        chunks=len(_list(item, "all_chunks", where)),
        chunks_done=len(_list(item, "completed_chunks", where)),
        links=links,
        linkless=linkless,
        links_until=min(ends) if ends else None,
    )


def _list(item: dict[str, Any], name: str, where: str) -> list[Any]:
    """A member that is a list; an empty list if it is missing."""
    found = item.get(name) or []
    if not isinstance(found, list):
        raise _not_promised(f"{name} of a job is not a list", where)
    return found


def link_ends(url: str) -> datetime | None:
    """When a presigned link expires, according to its own query; None if the query does not tell."""
    try:
        query = dict(parse_qsl(urlsplit(url).query))
        signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed + timedelta(seconds=int(query["X-Amz-Expires"]))
    except (KeyError, ValueError, OverflowError):
        return None


def _created(answer: bytes) -> Created | Unclear:
    try:
        found = parsed(answer)
    except (ValueError, RecursionError):
        # The vendor's own page shows an answer with a comma too many. The job in it is real.
        named = re.search(rb'"job_id"\s*:\s*"([A-Za-z0-9_-]{1,80})"', answer)
        return Created(named[1].decode()) if named else Unclear("the answer to the request is not JSON")
    job_id = found.get("job_id") if isinstance(found, dict) else None
    if not isinstance(job_id, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", job_id):
        return Unclear("the answer to the request names no job")
    return Created(job_id, utc(_text(found.get("start_time"))))


def _day_before(to: str, last: date) -> str | None:
    """One day before ``to`` if ``to`` may be in the future for the server; None if that would cut a wanted day.

    A request asks beyond the last day, because ``to`` may be excluded or in another zone. A server may refuse future
    days; then fewer days are requested, and the following nights land such days again in full.
    """
    day = date.fromisoformat(to)
    may_be_future = day >= datetime.now(UTC).date()
    return (day - timedelta(days=1)).isoformat() if may_be_future and day > last else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _not_promised(what: str, where: str) -> ContractError:
    return ContractError(
        what, where=where, next_step="rerun once; if it repeats, the vendor changed its format: report this message."
    )
