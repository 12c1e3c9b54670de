"""Downloads files from presigned links. The link is the credential, so no other one is ever sent."""

import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from connector.errors import ContractError, RejectedError, TransientError
from connector.http import codings
from connector.http.connection import FAULTS, Closing, HttpClient, Transport, http_client, place_of, what_to_check, why
from connector.http.retry import ATTEMPTS, Again, Give, Outcome, Tries, decide, hint_of, passes, refusal_wait
from connector.meter import Meter
from connector.redaction import excerpt
from connector.system.files import private

# Bytes of a file that must come in ten minutes: 2 kB/s, slower than any line that could ever carry an export.
LEAST = 2**20


class Files(Closing):
    """Fetches files from presigned links. The link is all that is needed to read, so this client has no credentials.

    Args:
        timeout: seconds to connect, and seconds without a byte before a file is given up for now.
        patience: seconds in which another ``LEAST`` bytes must have come; a host that drips bytes is cut off.
        attempts: per file; each goes on where the last one stopped if the host says the file is the same.
    """

    def __init__(
        self,
        *,
        timeout: float = 60.0,
        patience: float = 600.0,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        transport: Transport | None = None,
    ) -> None:
        self._attempts, self._patience, self._sleep = attempts, patience, sleep
        # Unencoded, if the host does as it is asked: what arrives are the stored bytes.
        self._client = http_client(headers={"accept-encoding": "identity"}, timeout=timeout, transport=transport)

    def close(self) -> None:
        self._client.close()

    def fetch(self, url: str, target: Path, *, where: str, meter: Meter | None = None) -> tuple[int, bool]:
        """The bytes behind ``url`` in ``target``, which exists only once they are all there.

        Content codings of the host are undone, except for one gzip around a plain file.

        Returns:
            Their number, and whether the host told where they end. If not, the end of the connection was the only
            one, and a host that dies ends it, too.

        Raises:
            TransientError: the network or the host failed five times.
            RejectedError: the host refuses the link, with its status.
            ContractError: the link is no address, or the file has a content coding that is not known.
            SettingsError: a variable about proxies or certificates is wrong.
        """
        part = target.with_name(target.name + ".part")
        part.unlink(missing_ok=True)
        download = _Download(self._client, url, part, where, meter or Meter(), self._patience)
        tries = Tries(self._attempts)
        while True:
            try:
                download.attempt(tries)
                break
            except _BrokenOffError as broken:
                match decide(broken.outcome, tries):
                    case Again(after, tries):
                        self._sleep(random.uniform(*after))
                    case Give(error):
                        raise error from None
        os.replace(part, target)
        return target.stat().st_size, download.end_told


@dataclass
class _Download:
    """One file on its way into ``part``, attempt by attempt.

    Attributes:
        etag: with it the rest can be asked for; empty if the next attempt begins at the first byte.
        codings: the Content-Encoding of what is in ``part``.
        end_told: whether the host told where it ends.
    """

    client: HttpClient
    url: str
    part: Path
    where: str
    meter: Meter
    patience: float
    etag: str = ""
    codings: str = ""
    end_told: bool = False

    def attempt(self, tries: Tries) -> None:
        """Append what is still missing, and undo the host's codings once it is whole."""
        have = self.part.stat().st_size if self.etag and self.part.exists() else 0
        # Ranges count the bytes as they are sent, so the codings are undone only at the end.
        headers = {"range": f"bytes={have}-", "if-match": self.etag} if have else {}
        request = self._request(headers)
        self.meter.add(requests=1)
        try:
            response = self.client.send(request, stream=True)
            try:
                if response.status_code not in (200, 206):
                    raise self._refusal(response, bool(have), tries)
                self._begin(response, have, tries)
                self._write(response, tries)
            finally:
                response.close()
            codings.undo(self.part, self.codings, self.where)
        except FAULTS as fault:
            error = TransientError(
                f"the file {self._place} did not arrive: {why(fault, self.client, self.url)}{tries.said}",
                where=self.where,
                next_step=what_to_check(fault, self.client, self.url),
            )
            raise _BrokenOffError(Outcome(error)) from None
        except TransientError as damaged:
            self.etag = ""
            raise _BrokenOffError(Outcome(damaged)) from None
        except OSError as fault:
            raise TransientError(
                f"a file cannot be written: {fault.strerror or type(fault).__name__}",
                where=self.where,
                next_step="free space on the disk of SPOOL_DIR, then rerun; files that are there are kept.",
            ) from None

    @property
    def _place(self) -> str:
        return place_of(self.url)

    def _request(self, headers: dict[str, str]) -> httpx.Request:
        try:
            request = self.client.build_request("GET", self.url, headers=headers)
            if request.url.scheme in ("http", "https"):
                return request
        except (httpx.InvalidURL, ValueError):
            pass
        raise ContractError(
            f"a link of the vendor is no address of a file: {excerpt(self.url.partition('?')[0], 120)!r}",
            where=self.where,
            next_step="rerun: the job is asked for its links again; if it repeats, report this message.",
        )

    def _begin(self, response: httpx.Response, have: int, tries: Tries) -> None:
        """Look at the headers of the file, or of its rest."""
        coded, etag = response.headers.get("content-encoding", ""), response.headers.get("etag", "")
        if response.status_code == 206:
            start = re.match(r"bytes (\d+)-", response.headers.get("content-range", f"bytes {have}-"))
            if not start or int(start[1]) != have or (coded and coded != self.codings):
                self.etag = ""
                raise _BrokenOffError(Outcome(self._failed("the host sent another part of it", tries)))
        else:
            self.codings = coded
        self.etag = etag
        self.end_told = bool(response.headers.keys() & {"content-length", "transfer-encoding"})

    def _write(self, response: httpx.Response, tries: Tries) -> None:
        with open(self.part, "ab" if response.status_code == 206 else "wb", opener=private) as file:
            due, until = LEAST, time.monotonic() + self.patience
            for piece in response.iter_raw():
                file.write(piece)
                self.meter.add(received=len(piece))
                due -= len(piece)
                if due <= 0:
                    due, until = LEAST, time.monotonic() + self.patience
                elif time.monotonic() > until:
                    slow = f"fewer than {LEAST // 2**20} MiB came in {self.patience:.0f} s"
                    raise _BrokenOffError(Outcome(self._failed(slow, tries)))
            file.flush()
            os.fsync(file.fileno())

    def _refusal(self, response: httpx.Response, resuming: bool, tries: Tries) -> Exception:
        status, proxy = response.status_code, self.client.proxy(self.url)
        said = f"{status} {excerpt(response.read()[:2000], 160)}{self.client.via(self.url)}"
        if status == 407 and proxy:
            return proxy.refuses_us()
        if resuming and status in (412, 416):
            self.etag = ""
            return _BrokenOffError(Outcome(self._failed(said, tries)))
        if passes(status):
            refused = status == 429
            hint = hint_of(response.headers, now=time.time(), refused=refused)
            wait = refusal_wait(hint, tries.refusals) if refused else hint or 0.0
            return _BrokenOffError(Outcome(self._failed(said, tries), status, wait))
        return RejectedError(
            f"the link to {self._place} was answered with {said}",
            where=self.where,
            next_step="links end after a while; the job is asked for new ones.",
            status=status,
        )

    def _failed(self, reason: str, tries: Tries) -> TransientError:
        return TransientError(
            f"the file {self._place} did not arrive: {reason}{tries.said}",
            where=self.where,
            next_step="rerun: files that are there are kept; if it persists, check that their host can be reached.",
        )


class _BrokenOffError(Exception):
    """A file arrived in part, or not at all."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.error))
        self.outcome = outcome
