"""One Userpilot environment: list, trigger, show, download, look up. It asks; what to do next is not its business.

Two HTTP clients: one carries the key and speaks to the API only; the other has no credentials at all and fetches
files, whose host refuses a second kind of them.
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
# Times a file is fetched that arrives damaged: what was cut on the way is whole the next time, at its source it is not.
FETCHES = 3
# Half a million names of flows or events: an endless list, and no account.
MOST_PAGES = 10_000
_ADVICE = {
    401: "check USERPILOT_API_KEY, and that the plan includes the export API (Enterprise, or Growth with the add-on).",
    403: "the plan of this environment lacks the export API, or USERPILOT_API_KEY belongs to another environment.",
    404: "check USERPILOT_API_URL; the environment page of the web app tells the host of your account.",
    400: "check the options of the export against the message; a rerun gets the same answer.",
    422: "check the options of the export against the message; a rerun gets the same answer.",
}


class LinkError(RejectedError):
    """The host of the files does not accept a link; ``gone`` if there is nothing behind it."""

    def __init__(self, error: RejectedError) -> None:
        super().__init__(error.what, where=error.where, next_step=error.next_step, status=error.status)
        self.gone = error.status == 404


@dataclass(frozen=True)
class Lookup:
    """The items of one lookup, as sent apart from their ids (see :func:`named`), and what a reader should know."""

    items: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()


class Userpilot(Closing):
    """One environment, asked through its bulk export and lookups API.

    Args:
        url: base URL of the API.
        api_key: lives in one header of one HTTP client.
        privacy: what is dropped or hashed when files and lookups are landed; None for nothing.
        budget: sees every answer's headers; the vendor is not known to count requests.
        timeout, deadline: seconds without a byte, and seconds one answer may take in all; a file may take longer.
        sleep, transport, files_transport: for tests that bring their own.
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
        """Jobs of the last three days, the newest first; the list tells neither what they export nor for whom.

        Raises:
            ContractError: the answer is not a list of jobs.
        """
        found = self._get(f"{JOBS}/", where=where, meter=meter)
        if not isinstance(found, list):
            raise _not_promised("the list of jobs is not a list", where)
        jobs = [_seen(item, where) for item in found]
        return tuple(sorted(jobs, key=lambda job: job.started or datetime.min.replace(tzinfo=UTC), reverse=True))

    def trigger(self, request: Request, *, meter: Meter | None = None) -> Created | Conflict | Unclear:
        """Ask for an export, once: an unanswered POST may have made a job, so it is never repeated blindly.

        Raises:
            RejectedError: the key, the plan or an option is wrong.
        """
        body, path, retried = request.body(), EXPORTS, False
        while True:
            try:
                call = Call(method="POST", path=path, body=body, where=request.where, attempts=1)
                answer = self._http.send(call, meter=meter)
            except RejectedError as error:
                # These refusals made no job, so another spelling may be tried; each once.
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
        """One job with its progress and its links; None if the vendor does not know it (any more)."""
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
        """One file into ``target``, raw and proven whole; returns its size in bytes.

        Raises:
            LinkError: the link ended, or there is nothing behind it.
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
        """All items of a lookup, bare or paged; None if the account does not have it.

        Pages are cut by a key that moves while events arrive, so items may repeat or be missed: they are told apart
        by id (:func:`named`), and if fewer came than the vendor counts, the walk is repeated once.

        Raises:
            ContractError: the answer is neither of the two shapes, a cursor came twice, or pages are empty.
        """
        try:
            items, total = self._walk(stream, meter)
        except RejectedError as error:
            if error.status == 404 and stream.name in OPTIONAL:
                return None
            raise
        found = named(items)
        if total is not None and len(found) < total:
            again, total = self._walk(stream, meter)
            found = named([*items, *again])
            if total is not None and len(found) < total:
                return Lookup(found, (f"{len(found)} of {total} counted items came, twice",))
        return Lookup(found)

    def _walk(self, stream: Stream, meter: Meter | None) -> tuple[list[dict[str, Any]], int | None]:
        """Items as sent, and the vendor's count where it gives one that is not capped."""
        items: list[dict[str, Any]] = []
        cursor, cursors, empty, total = "", set[str](), 0, None
        while True:
            params = [("limit", str(PAGE))] + ([("after_cursor", cursor)] if cursor else [])
            answer = self._get(stream.path, params, where=stream.table, meter=meter)
            page, following, counted = _opened(answer, stream.table)
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
        """A document; the other spelling of the path once, if the service itself does not know this one."""
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


def named(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items with an id each, as text: ``id``, else ``key``, else a hash of all of it; what came twice is there once.

    An id that comes again is the same item, met on another page. A key is no id: an item that shares it with another
    and says something else gets a hash of what it says behind the key.
    """
    found: dict[str, Mapping[str, Any]] = {}
    nameless = []
    for item in items:
        if item.get("id") in (None, ""):
            nameless.append(item)
        else:
            found[str(item["id"])] = item
    for item in nameless:
        name = _hash(item) if item.get("key") in (None, "") else str(item["key"])
        if name in found and _says(found[name]) != _says(item):
            name = f"{name}#{_hash(_says(item))}"
        found[name] = item
    return [{**item, "id": name} for name, item in found.items()]


def _says(item: Mapping[str, Any]) -> dict[str, Any]:
    """What stays the same while an item moves from page to page, and from one night to the next."""
    return {name: value for name, value in item.items() if name != "last_seen"}


def _hash(item: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:16]


def _opened(answer: Any, where: str) -> tuple[list[dict[str, Any]], str, int | None]:
    """Items, the cursor of the next page, and the count if it may be trusted."""
    match answer:
        case list():
            page, following, total = answer, "", None
        case {"data": list(page)}:
            # Documented are metadata.cursor.after and metadata.total_count; one level up, page 2 must not be missed.
            metadata = _inside(answer, "metadata")
            places = (_inside(metadata, "cursor"), metadata, _inside(answer, "cursor"), answer)
            following = next((str(place["after"]) for place in places if place.get("after")), "")
            counts = [place["total_count"] for place in places if isinstance(place.get("total_count"), int)]
            capped = any(place.get("total_count_cap_exceeded") is True for place in places)
            total = counts[0] if counts and not capped else None
        case _:
            raise _not_promised(f"neither a list nor pages: {excerpt(str(answer), 120)}", where)
    if not all(isinstance(item, dict) for item in page):
        raise _not_promised("an item is not an object", where)
    return page, following, total


def _inside(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
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
    """A member that is a list, or nothing."""
    found = item.get(name) or []
    if not isinstance(found, list):
        raise _not_promised(f"{name} of a job is not a list", where)
    return found


def link_ends(url: str) -> datetime | None:
    """When a presigned link ends, as its own query says; None if it does not say."""
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
        # The vendor's own page shows one with a comma too many; what is in it is no less a job.
        named = re.search(rb'"job_id"\s*:\s*"([A-Za-z0-9_-]{1,80})"', answer)
        return Created(named[1].decode()) if named else Unclear("the answer to the request is not JSON")
    job_id = found.get("job_id") if isinstance(found, dict) else None
    if not isinstance(job_id, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", job_id):
        return Unclear("the answer to the request names no job")
    return Created(job_id, utc(_text(found.get("start_time"))))


def _day_before(to: str, last: date) -> str | None:
    """A day less, while ``to`` may be one that has not come yet where the server is, and the days asked for are in it.

    Asking beyond the last day keeps whole what an excluded ``to`` or another zone would cut. A server that takes no
    day of the future gets less; such days are landed again by the following nights, with all of it.
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
