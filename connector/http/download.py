"""Downloads files from presigned links. The link is the credential, so no other one is ever sent."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from connector.errors import ContractError, RejectedError, TransientError
from connector.http.client import ATTEMPTS, LEAST, RETRIED_STATUSES, place_of
from connector.meter import Meter
from connector.redaction import excerpt
from connector.system.files import private


class Files:
    """Fetches files from presigned links: whoever has the link may read, so this client has no credentials to lose.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._attempts, self._patience, self._sleep = attempts, patience, sleep
        self._client = httpx.Client(
            # Unencoded: what arrives are the stored bytes, whatever the host thinks of compression.
            headers={"accept-encoding": "identity", "user-agent": "openpanel-userpilot-connector"},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            follow_redirects=False,
            trust_env=transport is None,
            transport=transport,
        )

    def close(self) -> None:
        self._client.close()

    def fetch(self, url: str, target: Path, *, where: str, meter: Meter | None = None) -> tuple[int, bool]:
        """The bytes behind ``url`` in ``target``, which exists only once they are all there.

        Returns:
            Their number, and whether the host told where they end. If not, the end of the connection was the only
            one, and a host that dies ends it, too.

        Raises:
            TransientError: the network or the host failed five times.
            RejectedError: the host refuses the link, with its status.
        """
        part, failures, etag = target.with_name(target.name + ".part"), 0, ""
        part.unlink(missing_ok=True)
        meter = meter or Meter()
        while True:
            try:
                end_told = self._some(url, part, etag, where, meter)
                break
            except _BrokenOffError as broken:
                etag, failures = broken.etag, failures + 1
                if failures >= self._attempts:
                    raise broken.error from None
                self._sleep(random.uniform(0.1, min(0.5 * 2**failures, 20.0)))
        os.replace(part, target)
        return target.stat().st_size, end_told

    def _some(self, url: str, part: Path, etag: str, where: str, meter: Meter) -> bool:
        """Append what is still missing to ``part``; whether its end was told."""
        have = part.stat().st_size if etag and part.exists() else 0
        headers = {"range": f"bytes={have}-", "if-match": etag} if have else {}
        try:
            scheme = self._client.build_request("GET", url).url.scheme
        except (httpx.InvalidURL, ValueError):
            scheme = ""
        if scheme not in ("http", "https"):
            raise ContractError(
                f"a link of the vendor is no address of a file: {excerpt(url.partition('?')[0], 120)!r}",
                where=where,
                next_step="rerun: the job is asked for its links again; if it repeats, report this message.",
            )
        meter.add(requests=1)
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                status = response.status_code
                if status not in (200, 206):
                    raise self._refusal(response, url, bool(have), where)
                etag = response.headers.get("etag", "")
                end_told = bool(response.headers.keys() & {"content-length", "transfer-encoding"})
                with open(part, "ab" if status == 206 else "wb", opener=private) as file:
                    due, until = LEAST, time.monotonic() + self._patience
                    for piece in response.iter_raw():
                        file.write(piece)
                        meter.add(received=len(piece))
                        due -= len(piece)
                        if due <= 0:
                            due, until = LEAST, time.monotonic() + self._patience
                        elif time.monotonic() > until:
                            slow = f"fewer than {LEAST // 2**20} MiB came in {self._patience:.0f} s"
                            raise _BrokenOffError(_file_failed(url, slow, where), etag)
                    file.flush()
                    os.fsync(file.fileno())
        except (httpx.TransportError, httpx.StreamError) as fault:
            raise _BrokenOffError(
                _file_failed(url, f"{type(fault).__name__} {excerpt(str(fault), 160)}", where), etag
            ) from None
        except OSError as fault:
            raise TransientError(
                f"a file cannot be written: {fault.strerror or type(fault).__name__}",
                where=where,
                next_step="free space on the disk of SPOOL_DIR, then rerun; files that are there are kept.",
            ) from None
        return end_told

    def _refusal(self, response: httpx.Response, url: str, resuming: bool, where: str) -> Exception:
        status = response.status_code
        said = excerpt(response.read()[:2000], 160)
        if status in RETRIED_STATUSES or status >= 500 or (resuming and status in (412, 416)):
            return _BrokenOffError(_file_failed(url, f"{status} {said}", where), "")
        return RejectedError(
            f"the link to {place_of(url)} was answered with {status}: {said}",
            where=where,
            next_step="links end after a while; the job is asked for new ones.",
            status=status,
        )


class _BrokenOffError(Exception):
    """A file arrived in part; with ``etag`` the rest can be asked for."""

    def __init__(self, error: TransientError, etag: str) -> None:
        super().__init__(str(error))
        self.error, self.etag = error, etag


def _file_failed(url: str, why: str, where: str) -> TransientError:
    return TransientError(
        f"the file {place_of(url)} did not arrive: {why}",
        where=where,
        next_step="rerun: files that are there are kept; if it persists, check that their host is reachable from here.",
    )
