"""Asks a vendor's JSON API: one request in, one whole body out.

It knows statuses, redirects, time limits and sizes. What a body means is the caller's business; whether a request is
sent again is decided in ``retry.py``.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlencode

import httpx
import msgspec

from connector.errors import ConnectorError, ContractError, RejectedError, SettingsError, TransientError
from connector.http.budget import SLICE, Budget, Ticket, Unlimited
from connector.http.connection import (
    FAULTS,
    NEVER_SENT,
    Closing,
    Transport,
    coding_names,
    http_client,
    place_of,
    what_to_check,
    why,
)
from connector.http.retry import ATTEMPTS, Again, Give, Outcome, Return, Tries, decide, hint_of, passes, refusal_wait
from connector.meter import Meter
from connector.redaction import excerpt

Params = Sequence[tuple[str, str]]

LARGEST_BODY = 256 * 1024 * 1024
MOST_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_JSON = msgspec.json.Decoder(msgspec.Raw)


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request as its caller wants it.

    Attributes:
        path: below the base URL, with a leading slash.
        params: query parameters in order; repeated names are lists.
        body: sent as JSON; None for none.
        where: stream and partition, for messages.
        attempts: how often it may fail; 1 for requests that must not be repeated at all.
        at_most_once: send it again only while it is certain that nothing was taken: the error is then ``unsent``.
        json_expected: an answer that is no whole JSON document is a failure.
    """

    method: str
    path: str
    where: str
    params: Params = ()
    body: object = None
    attempts: int = ATTEMPTS
    at_most_once: bool = False
    json_expected: bool = False

    @property
    def said(self) -> str:
        """The request as messages show it."""
        asked = ", ".join(f"{name}={excerpt(value, 40)}" for name, value in self.params[:6])
        return f"{self.method} {self.path}{f' ({asked})' if asked else ''}"


class Http(Closing):
    """A client for one base URL whose credentials never leave that origin.

    Args:
        base_url: with an optional path prefix, no trailing slash.
        headers: sent with every request; the credentials live here and nowhere else.
        budget: the vendor's request allowance.
        advice: status -> what the operator should do about it, in the vendor's words for its settings.
        setting: the variable that holds the base URL, named where it cannot be reached.
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
        setting: str = "",
        timeout: float = 60.0,
        deadline: float = 600.0,
        largest_body: int = LARGEST_BODY,
        connections: int = 8,
        sleep: Callable[[float], None] = time.sleep,
        transport: Transport | None = None,
    ) -> None:
        for name, value in headers.items():
            _must_be_sendable(name, value, advice or {})
        self.base_url = base_url.rstrip("/")
        self.last_headers: Mapping[str, str] = {}
        self._setting = setting
        self._budget, self._advice, self._sleep = budget or Unlimited(), dict(advice or {}), sleep
        self._deadline, self._largest, self._closed = deadline, largest_body, False
        self._client = http_client(
            headers={"accept": "application/json", **headers},
            timeout=timeout,
            connections=connections,
            base_url=base_url,
            transport=transport,
        )

    def close(self) -> None:
        """End the connections; a thread that still asks, or waits to ask again, gets an error."""
        self._closed = True
        self._client.close()

    @property
    def via(self) -> str:
        """Words for a message: through which proxy the base URL is asked; nothing without one."""
        return self._client.via(self.base_url)

    def get(self, path: str, params: Params = (), *, where: str, meter: Meter | None = None) -> bytes:
        """The body of one GET, a whole JSON document.

        Args:
            path: below the base URL, with a leading slash.
            params: query parameters in order; repeated names are lists.
            where: stream and partition, for messages.
            meter: counts what this reading cost.

        Raises:
            TransientError: still failing after 5 attempts (3 for a 500), or refused by the rate limit for 5 minutes.
            RejectedError: the vendor refused, or redirected to another host.
            ContractError: the answer is larger than the limit, or no JSON document five times in a row.
        """
        return self.send(Call(method="GET", path=path, params=params, where=where, json_expected=True), meter=meter)

    def send(self, call: Call, *, meter: Meter | None = None) -> bytes:
        """The body of a good answer, after as many attempts as the call allows.

        Raises:
            TransientError, RejectedError, ContractError: as for :meth:`get`.
        """
        meter = meter or Meter()
        query = f"?{'&'.join(map(_spelt, call.params))}" if call.params else ""
        url, moved, tries = self.base_url + call.path + query, 0, Tries(call.attempts, call.at_most_once)
        while True:
            if self._closed:
                # Calls that may be sent only once come here only after what was not taken.
                raise _was_closed(call, unsent=call.at_most_once)
            ticket = self._budget.take(call.where)  # outside: what it raises has waited, or told, long enough
            answer = None
            try:
                answer = self._once(ticket, call, url, tries, meter)
                outcome = self._outcome(call, url, answer, tries)
            except TransientError as failed:
                outcome = Outcome(failed)
            if answer and answer.status in _REDIRECTS and call.method == "GET" and moved < MOST_REDIRECTS:
                url, moved = self._same_origin(url, answer, call.where), moved + 1
                continue
            match decide(outcome, tries):
                case Return() if answer:
                    return answer.body
                case Give(error):
                    raise error
                case Again(after, tries):
                    if outcome.status != 429 or not self._budget.holds:
                        self._pause(*after)
                    # else the budget holds this and all other requests until the window ends

    def _once(self, ticket: Ticket, call: Call, url: str, tries: Tries, meter: Meter) -> "_Answer":
        """One request, and its answer whatever the status.

        Raises:
            TransientError: no whole answer came.
            ContractError: the answer is too large, or the address is none.
            SettingsError: the proxy refuses us.
        """
        answered = False
        meter.add(requests=1)
        try:
            deadline = time.monotonic() + self._deadline
            request = self._client.build_request(call.method, url, json=call.body)
            response = self._client.send(request, stream=True)
            try:
                self.last_headers = response.headers
                refused = response.status_code == 429
                hint = hint_of(response.headers, now=time.time(), refused=refused)
                wait = refusal_wait(hint, tries.refusals) if refused else hint or 0.0
                self._budget.learn(ticket, response.headers, refused_for=wait if refused else None)
                answered = True
                content = self._read(response, deadline, call.where, place_of(url) + self._client.via(url))
            finally:
                response.close()
        except FAULTS as fault:
            # `from None`: httpx exceptions carry the request, and with it the headers that hold the key.
            raise TransientError(
                f"{call.method} {place_of(url)} failed: {why(fault, self._client, url)}{tries.said}",
                where=call.where,
                next_step=what_to_check(fault, self._client, url, self._setting),
                unsent=isinstance(fault, NEVER_SENT),
            ) from None
        except (httpx.InvalidURL, ValueError) as fault:
            raise ContractError(
                f"{call.method} {place_of(url)}: {excerpt(str(fault), 160)}",
                where=call.where,
                next_step="check the base URL.",
            ) from None
        except RuntimeError:
            if not self._closed or answered:
                raise
            raise _was_closed(call, unsent=True) from None
        finally:
            if not answered:
                self._budget.give_back(ticket)
        meter.add(refused=int(refused), received=len(content))
        return _Answer(response.status_code, content, wait, response.headers)

    def _outcome(self, call: Call, url: str, answer: "_Answer", tries: Tries) -> Outcome:
        if not 200 <= answer.status < 300:
            return Outcome(self._refusal(call, url, answer, tries), answer.status, answer.wait)
        if not call.json_expected or _is_json(answer.body):
            return Outcome()
        # A proxy's maintenance page and a cut body go away; a dashboard's address does not.
        return Outcome(_not_json(answer, place_of(url) + self._client.via(url), call.where, tries), answer.status)

    def _read(self, response: httpx.Response, deadline: float, where: str, place: str) -> bytes:
        codings = coding_names(response.headers.get("content-encoding", ""))
        if len(codings) > 1:  # each may unpack to a thousand times its size, and httpx undoes all of them in one go
            raise ContractError(
                f"the answer of {place} is packed more than once ({excerpt(', '.join(codings), 60)})",
                where=where,
                next_step="check what stands between here and the vendor: no vendor packs its answers twice.",
            )
        if codings:  # httpx does not know x-gzip
            response.headers["content-encoding"] = codings[0]
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
                    next_step="rerun; if it persists, ask the vendor why this answer is slow.",
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

    def _refusal(self, call: Call, url: str, answer: "_Answer", tries: Tries) -> ConnectorError:
        status, proxy = answer.status, self._client.proxy(url)
        if status == 407 and proxy:
            return proxy.refuses_us()
        via = self._client.via(url)
        what = f"{call.said}{via} was answered with {status}: {vendor_message(answer.body)}{tries.said}"
        from_elsewhere = _is_web_page(answer.body) and (proxy or status in (401, 403, 407))
        if passes(status):
            hint = "the vendor is overloaded or down: rerun later."
        elif status == 407:
            hint = "something between here and the vendor is a proxy that wants a password: name it in HTTPS_PROXY."
        else:
            hint = "check the credentials, the plan and the parameters named above; a rerun gets the same answer."
        advice = self._advice.get(status, hint)
        if from_elsewhere:
            between = proxy or "what stands between here and the vendor"
            advice = f"this answer is a web page, and not the API's: check {between}, and the base URL."
        if passes(status):
            return TransientError(what, where=call.where, next_step=advice, unsent=answer.status == 429)
        return RejectedError(what, where=call.where, next_step=advice, status=status)

    def _pause(self, least: float, most: float) -> None:
        """Wait, drawn by lot: the forty runs of a backfill that failed together must not come back together."""
        seconds = random.uniform(least, most)
        while seconds > 0 and not self._closed:
            self._sleep(min(seconds, SLICE))
            seconds -= SLICE


@dataclass(frozen=True, slots=True)
class _Answer:
    """A whole answer; ``wait`` are the seconds that it asks us to wait, 0 for none."""

    status: int
    body: bytes
    wait: float
    headers: Mapping[str, str]


def _was_closed(call: Call, *, unsent: bool) -> TransientError:
    return TransientError(
        f"{call.method} {call.path} was given up: the client was closed",
        where=call.where,
        next_step="nothing: another request of the same reading failed first, and its error tells why.",
        unsent=unsent,
    )


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


def _is_json(body: bytes) -> bool:
    """Whether a body is one whole JSON document, an object or an array.

    Every byte is looked at, as a body may be cut anywhere. That takes 0.6 ms for each megabyte; the strict pass over
    its rows takes 1.9 ms.
    """
    if body[:64].lstrip()[:1] not in (b"{", b"["):
        return False
    try:
        _JSON.decode(body)
    except RecursionError:
        return True  # too deep to look at; its reader says so
    except msgspec.DecodeError:
        try:  # JavaScript's NaN and halves of a pair are no JSON, and yet readable
            json.loads(body)
        except RecursionError:
            return True
        except ValueError:
            return False
    return True


def _is_web_page(body: bytes) -> bool:
    start = body[:64].lstrip()
    return start.startswith(b"<") and not start.startswith(b"<?xml")


def _not_json(answer: _Answer, place: str, where: str, tries: Tries) -> ContractError:
    coding = answer.headers.get("content-encoding", "")
    coded = f", in the content coding {excerpt(coding, 40)}" if coding else ""
    return ContractError(
        f"{place} was answered with something that is not a whole JSON document{tries.said}{coded}: "
        f"{excerpt(answer.body, 120)}",
        where=where,
        next_step="check the base URL: it must be the API's, not the dashboard's, with no login page or proxy between "
        "that changes answers.",
    )


@lru_cache(maxsize=1024)
def _spelt(pair: tuple[str, str]) -> str:
    """URL-encode one parameter. Cached: 29 of 30 repeat on every page."""
    return urlencode((pair,))


def _must_be_sendable(name: str, value: str, advice: Mapping[int, str]) -> None:
    """Check a header here: it may hold a credential, which the HTTP library would repeat in its own message."""
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise SettingsError(
            f"the header {name}",
            "holds a control character, a blank at an end, or a character that is not ASCII",
            next_step="if it was read from a file, cut the newline at its end; "
            + advice.get(401, "copy the credentials once more."),
        )
