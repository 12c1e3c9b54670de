"""One request in, one body out: the only room that speaks HTTP and the only one that asks a request again.

It knows statuses, redirects, Retry-After, timeouts and sizes. It does not know what a body means: an answer that
arrived whole is handed over as bytes, and whoever asked decides what it says.
"""

import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urlsplit

import httpx

from connector.errors import ConnectorError, ContractError, RejectedError, SettingsError, TransientError
from connector.http.budget import PATIENCE, SLICE, Budget, Ticket, Unlimited
from connector.meter import Meter
from connector.redaction import excerpt

Params = Sequence[tuple[str, str]]
# A test may bring its own; nothing outside this folder imports httpx for it.
Transport = httpx.BaseTransport

# Attempts per request. A partition is tried three times by Dagster, so one request is sent at most 15 times a run.
ATTEMPTS = 5
# A 500 may be the server's word for a parameter it cannot read; three identical ones are an answer.
ATTEMPTS_ON_500 = 3
# Refusals by the rate limit are not failures, yet a vendor that refuses for minutes must not hold a run for ever.
PATIENCE_WHEN_REFUSED = PATIENCE
REFUSALS = 30
LARGEST_BODY = 256 * 1024 * 1024
# Bytes of a file that must come in ten minutes: 2 kB/s, slower than any line that could ever carry an export.
LEAST = 2**20
RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
# No byte of the request went out: whatever it asks for, it may be asked again.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
_REDIRECTS = {301, 302, 303, 307, 308}


class Closing(ABC):
    """Something that a ``with`` block closes at its end, however it ends."""

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Http(Closing):
    """A client for one base URL whose credentials never leave that origin.

    Args:
        base_url: with an optional path prefix, no trailing slash.
        headers: sent with every request; the credentials live here and nowhere else.
        budget: the vendor's request allowance.
        advice: status -> what the operator should do about it, in the vendor's words for its settings.
        timeout: seconds to connect, and seconds without a byte before an answer is given up.
        deadline: seconds one answer may take in all; a server that drips bytes is cut off.

    Raises:
        SettingsError: a header cannot be sent as it is; its value is not shown.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        budget: Budget | None = None,
        advice: Mapping[int, str] | None = None,
        timeout: float = 60.0,
        deadline: float = 600.0,
        largest_body: int = LARGEST_BODY,
        connections: int = 8,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        for name, value in headers.items():
            _must_be_sendable(name, value, advice or {})
        self.base_url = base_url.rstrip("/")
        self._budget, self._advice, self._sleep = budget or Unlimited(), dict(advice or {}), sleep
        self._deadline, self._largest, self._closed = deadline, largest_body, False
        self._client = httpx.Client(
            headers={"accept": "application/json", "user-agent": "openpanel-userpilot-connector", **headers},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,  # followed by hand below: httpx strips only its own auth header, not ours
            trust_env=transport is None,
            transport=transport,
            # Reading the certificate store takes 0.03 s; a base URL without TLS never meets one, as redirects stay
            # on the same scheme, host and port.
            verify=not _is_plain(base_url),
        )

    def close(self) -> None:
        """End the connections; whoever still asks or waits to ask again, in another thread, is told so."""
        self._closed = True
        self._client.close()

    def get(self, path: str, params: Params = (), *, where: str, meter: Meter | None = None) -> bytes:
        """The body of one GET, whole.

        Args:
            path: below the base URL, with a leading slash.
            params: query parameters in order; repeated names are lists.
            where: stream and partition, for messages.
            meter: counts what this reading cost.

        Raises:
            TransientError: still failing after 5 attempts (3 for a 500), or refused by the rate limit for 5 minutes.
            RejectedError: the vendor refused, or redirected to another host.
            ContractError: the answer is larger than the limit, or not a JSON document.
        """
        return self.send("GET", path, params, where=where, attempts=ATTEMPTS, json_expected=True, meter=meter)

    def send(
        self,
        method: str,
        path: str,
        params: Params = (),
        *,
        body: object = None,
        where: str,
        attempts: int,
        at_most_once: bool = False,
        json_expected: bool = False,
        meter: Meter | None = None,
    ) -> bytes:
        """Like :meth:`get` for any method.

        Args:
            attempts: 1 for requests that must not be repeated at all.
            at_most_once: ask again only while it is certain that nothing was taken: the error is then ``unsent``.
        """
        meter = meter or Meter()
        url, failures, refusals, refused_for, moved = self.base_url + path, 0, 0, 0.0, 0
        while True:
            if self._closed:
                raise TransientError(
                    f"{method} {path} was given up: the client was closed",
                    where=where,
                    next_step="nothing: another request of the same reading failed first, and its error tells why.",
                    unsent=at_most_once,  # whoever asks that way comes here only after what was not taken
                )
            ticket = self._budget.take(where)  # outside: what it raises has waited, or told, long enough
            try:
                answer = self._once(ticket, method, url, params, body, where, meter)
            except TransientError as failed:
                failures += 1
                if failures >= attempts or (at_most_once and not failed.unsent):
                    raise
                self._pause(failures)
                continue
            if 200 <= answer.status < 300:
                if not json_expected or _looks_like_json(answer.body):
                    return answer.body
                failures += 1  # a proxy's maintenance page and a cut body go away; a dashboard's address does not
                if failures >= attempts:
                    raise _not_json(answer, url, where)
                self._pause(failures)
                continue
            if answer.status in _REDIRECTS and method == "GET" and moved < 3:
                url, params, moved = self._same_origin(url, answer, where), (), moved + 1
                continue
            error = self._refusal(answer, method, path, params, where)
            if answer.status == 429:
                alone = isinstance(self._budget, Unlimited)
                usual = min(2.0**refusals, 10.0) if answer.retry_after is None else answer.retry_after
                wait = usual if alone else _refused_for(answer.headers, answer.retry_after)
                refused_for, refusals = refused_for + wait, refusals + 1
                if refused_for > PATIENCE_WHEN_REFUSED:
                    raise _impatient(error, refused_for)
                if refusals >= REFUSALS or attempts == 1:
                    raise error
                if alone:
                    self._sleep_in_slices(wait)
                continue  # otherwise the budget holds us, and everybody else, until the window ends
            failures += 1
            if (
                answer.status not in RETRIED_STATUSES
                or failures >= min(attempts, _limit(answer.status))
                or at_most_once
            ):
                raise error
            self._pause(failures, at_least=answer.retry_after)

    def _once(
        self, ticket: Ticket, method: str, url: str, params: Params, body: object, where: str, meter: Meter
    ) -> "_Answer":
        answered = False
        meter.add(requests=1)
        try:
            deadline = time.monotonic() + self._deadline
            asked = f"{url}?{'&'.join(map(_spelt, params))}" if params else url
            request = self._client.build_request(method, asked, json=body)
            response = self._client.send(request, stream=True)
            try:
                retry_after = _seconds(response.headers.get("retry-after"))
                refused = response.status_code == 429
                self._budget.learn(
                    ticket,
                    response.headers,
                    refused_for=_refused_for(response.headers, retry_after) if refused else None,
                )
                answered = True
                content = self._read(response, deadline, where, place_of(url))
            finally:
                response.close()
        except (httpx.TransportError, httpx.DecodingError, httpx.StreamError) as fault:
            # `from None`: httpx exceptions carry the request, and with it the headers that hold the key.
            raise TransientError(
                f"{method} {place_of(url)} failed: {type(fault).__name__} {excerpt(str(fault), 160)}",
                where=where,
                next_step="it is retried by itself; if it persists, check the network and the vendor's status page.",
                unsent=isinstance(fault, _NEVER_SENT),
            ) from None
        except (httpx.InvalidURL, ValueError) as fault:
            raise ContractError(
                f"{method} {place_of(url)}: {excerpt(str(fault), 160)}", where=where, next_step="check the base URL."
            ) from None
        finally:
            if not answered:
                self._budget.give_back(ticket)
        meter.add(refused=int(refused), received=len(content))
        return _Answer(response.status_code, content, retry_after, response.headers)

    def _read(self, response: httpx.Response, deadline: float, where: str, place: str) -> bytes:
        packings = response.headers.get("content-encoding", "")
        if "," in packings:  # each packing may unpack a thousand times its size, and all of them at one go
            raise ContractError(
                f"the answer of {place} is packed more than once ({excerpt(packings, 60)})",
                where=where,
                next_step="check what stands between here and the vendor: no vendor packs its answers twice.",
            )
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > self._largest:
                raise ContractError(
                    f"the answer of {place} is larger than {self._largest // 2**20} MiB",
                    where=where,
                    next_step="ask the vendor's support about this answer; nothing was landed from it.",
                )
            if time.monotonic() > deadline:
                raise TransientError(
                    f"the answer of {place} was not complete after {self._deadline:.0f} s",
                    where=where,
                    next_step="it is retried by itself; if it persists, ask the vendor why this answer is slow.",
                )
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _same_origin(self, url: str, answer: "_Answer", where: str) -> str:
        here = httpx.URL(url)
        try:
            target = here.join(answer.headers.get("location", ""))
        except (httpx.InvalidURL, ValueError) as fault:
            raise ContractError(
                f"{place_of(url)} redirects to what is no address: {excerpt(str(fault), 120)}",
                where=where,
                next_step="check the base URL, and what stands between here and the vendor.",
            ) from None
        if (target.scheme, target.host, target.port) != (here.scheme, here.host, here.port):
            raise RejectedError(
                f"{place_of(url)} redirects to {excerpt(f'{target.scheme}://{target.host}', 120)}; "
                "the credentials were not sent there",
                where=where,
                next_step="if the service moved, set the base URL in the settings to its new address.",
                status=answer.status,
            )
        return str(target)

    def _refusal(self, answer: "_Answer", method: str, path: str, params: Params, where: str) -> ConnectorError:
        said = vendor_message(answer.body)
        asked = f"{method} {path}" + (
            f" ({', '.join(f'{k}={excerpt(v, 40)}' for k, v in params[:6])})" if params else ""
        )
        what = f"{asked} was answered with {answer.status}: {said}"
        if answer.status in RETRIED_STATUSES or answer.status >= 500:
            hint = "the vendor is overloaded or down; it is retried by itself, then rerun the partition."
            advice = self._advice.get(answer.status, hint)
            return TransientError(what, where=where, next_step=advice, unsent=answer.status == 429)
        hint = "check the credentials, the plan and the parameters named above; a rerun gets the same answer."
        return RejectedError(what, where=where, next_step=self._advice.get(answer.status, hint), status=answer.status)

    def _pause(self, failures: int, *, at_least: float | None = None) -> None:
        # Full jitter: a backfill's forty runs that failed together must not come back together.
        self._sleep_in_slices(max(random.uniform(0.1, min(0.5 * 2**failures, 20.0)), min(at_least or 0.0, 120.0)))

    def _sleep_in_slices(self, seconds: float) -> None:
        while seconds > 0 and not self._closed:
            self._sleep(min(seconds, SLICE))
            seconds -= SLICE


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after: float | None
    headers: Mapping[str, str]


def vendor_message(body: bytes) -> str:
    """The vendor's own words from an error body of any shape: JSON with some message, or text; one short line."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return excerpt(body) or "an empty body"
    match document:
        case {"errors": [{} as first, *_]}:
            texts = [first.get("message"), first.get("details"), first.get("error")]
        case {}:
            texts = [document.get("message"), document.get("error"), document.get("details")]
        case _:
            texts = [document]
    return excerpt("; ".join(str(text) for text in texts if text) or str(document))


def _looks_like_json(body: bytes) -> bool:
    """Begins and ends as a document does: catches web pages and bodies cut behind a wrong content-length."""
    ends = body[:16].lstrip()[:1] + body[-16:].rstrip()[-1:]
    return ends in (b"{}", b"[]")


def _not_json(answer: _Answer, url: str, where: str) -> ContractError:
    return ContractError(
        f"{place_of(url)} was answered with something that is not a JSON document: {excerpt(answer.body, 120)}",
        where=where,
        next_step="check the base URL: it must be the API's, not the dashboard's, with no login page or proxy between "
        "that changes answers.",
    )


@lru_cache(maxsize=1024)
def _spelt(pair: tuple[str, str]) -> str:
    """A parameter as it stands in a query; of the thirty that ask for a page, one is another than the last page's."""
    return urlencode((pair,))


def _limit(status: int) -> int:
    return ATTEMPTS_ON_500 if status == 500 else ATTEMPTS


def _impatient(error: ConnectorError, wait: float) -> TransientError:
    return TransientError(
        f"{error.what}; it would have us wait {wait:.0f} s in all, and we wait at most {PATIENCE_WHEN_REFUSED:.0f} s",
        where=error.where,
        next_step="rerun after that time; if it repeats, ask the vendor what its rate limit is.",
        unsent=True,
    )


def _must_be_sendable(name: str, value: str, advice: Mapping[int, str]) -> None:
    """Headers hold credentials, and what refuses them further down repeats them in its message."""
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise SettingsError(
            f"the header {name}",
            "holds a control character, a blank at an end, or a character that is not ASCII",
            next_step="if it was read from a file, cut the newline at its end; "
            + advice.get(401, "copy the credentials once more."),
        )


def _is_plain(url: str) -> bool:
    """Whether requests go out without TLS, by the parser that sends them: however the scheme is spelt."""
    try:
        return httpx.URL(url).scheme == "http"
    except (httpx.InvalidURL, ValueError):
        return False


def place_of(url: str) -> str:
    """Where a request went, without the query: presigned links carry their password there."""
    try:
        parts = urlsplit(url)
        return excerpt(f"{parts.hostname or ''}{parts.path}", 160)
    except ValueError:
        return "an address that is none"


def _seconds(text: str | None) -> float | None:
    """Retry-After in either spelling, seconds or an HTTP date; capped at an hour."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), 3600.0) if seconds == seconds else None


def _refused_for(headers: Mapping[str, str], retry_after: float | None) -> float:
    if retry_after is not None:
        return retry_after
    reset = _seconds(headers.get("x-ratelimit-reset"))
    return reset if reset is not None and reset < 3600.0 else 1.0
