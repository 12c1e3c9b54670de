"""The host of the exported files: presigned URLs, their expiry, ranges, and refusals in XML.

Whoever has a URL may read, and nobody else: the API's key is not merely useless here but refused. It is not the API
and does not know which job a file belongs to.
"""

import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from connector.sandbox.userpilot.answers import misbehaved, proxy
from connector.sandbox.userpilot.export_files import ExportFile
from connector.sandbox.wire import Answer, Header, Request, parse_query

if TYPE_CHECKING:
    from connector.sandbox.userpilot.vendor import Userpilot

SECRET = b"of the sandbox"
_SIGNATURE = re.compile(r"&?X-Amz-Signature=([0-9a-f]*)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class FileHost:
    """Objects by path, and the signatures given out for them.

    Attributes:
        base: how the files' URLs begin.
        objects: what is stored; the path as it stands in the request line.
        requests: every request seen, with what it was answered.
    """

    def __init__(self, vendor: "Userpilot", clock: Callable[[], float], url_life: float) -> None:
        self.vendor = vendor
        self.base = "https://csvexports.userpilot.io"
        self.objects: dict[str, ExportFile] = {}
        self.requests: list[Request] = []
        self._clock, self._life = clock, int(url_life)
        self._signed: dict[str, bool] = {}  # by signature: whether it is still good

    def store(self, path: str, file: ExportFile) -> None:
        """Keep an object."""
        self.objects[path] = file

    def sign(self, path: str, at: float | None = None) -> str:
        """A URL for a path, signed now or, always the same one, at a given time."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock() if at is None else at))
        scope = quote(f"AKIASANDBOX/{stamp[:8]}/us-east-1/s3/aws4_request", safe="")
        query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date={stamp}"
        query += f"&X-Amz-Expires={self._life}"
        if at is None:  # temporary credentials, others at every look
            token = hashlib.sha256(f"{path} {len(self._signed)}".encode()).hexdigest()[:24]
            query += f"&X-Amz-Security-Token={quote(f'+/{token}==', safe='')}"
        tail = "&X-Amz-SignedHeaders=host"
        signature = _signature(path, query + tail)
        self._signed.setdefault(signature, True)
        if at is None:  # the signature is not everybody's last parameter
            return f"{self.base}{path}?{query}&X-Amz-Signature={signature}{tail}"
        return f"{self.base}{path}?{query}{tail}&X-Amz-Signature={signature}"

    def expire(self) -> None:
        """Make every URL given out so far one of the past."""
        self._signed = dict.fromkeys(self._signed, False)

    def answer(self, request: Request) -> Answer:
        """Answer one request and remember it."""
        with self.vendor.lock:
            request.at = self._clock()
            self.requests.append(request)
            fault = self.vendor.faults.take(request.path, 1)
            answer = misbehaved(fault, lambda: self._checked(request), self._standard)
            request.status = answer.status
            return answer

    def _checked(self, request: Request) -> Answer:
        """The checks in the store's order: one kind of credentials, not expired, signed like this, still there."""
        if "authorization" in request.headers:
            return _refused(
                400,
                "InvalidArgument",
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
                "parameter or the Authorization header should be specified",
            )
        if request.method not in ("GET", "HEAD"):
            return _refused(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        found = _SIGNATURE.search(request.query)
        if found is None:
            return _refused(403, "AccessDenied", "Access Denied")
        if self._expired(request.query, found[1]):
            return _refused(403, "AccessDenied", "Request has expired")
        signed = request.query[: found.start()] + request.query[found.end() :]
        if request.method != "GET" or not hmac.compare_digest(_signature(request.path, signed), found[1]):
            return _refused(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
            )
        file = self.objects.get(request.path)
        if file is None:
            return _refused(404, "NoSuchKey", "The specified key does not exist.")
        return self._sent(file, request)

    def _expired(self, query: str, signature: str) -> bool:
        params = parse_query(query)
        try:
            signed = time.strptime(str(params.get("X-Amz-Date", "")), "%Y%m%dT%H%M%SZ")
            life = int(str(params.get("X-Amz-Expires", "")))
        except ValueError:
            return False  # then the signature is wrong as well
        return not self._signed.get(signature, True) or self._clock() >= calendar.timegm(signed) + life

    def _sent(self, file: ExportFile, request: Request) -> Answer:
        headers: list[Header] = [("content-type", "application/json" if file.encoded else "binary/octet-stream")]
        if file.encoded:
            headers.append(("content-encoding", "gzip"))
        if not self.vendor.world.etags:
            return Answer(headers=headers, body=file.body)
        etag = f'"{hashlib.md5(file.body, usedforsecurity=False).hexdigest()}"'
        headers += [("etag", etag), ("accept-ranges", "bytes")]
        if request.headers.get("if-match", etag) not in (etag, "*"):
            return _refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        wanted = _RANGE.fullmatch(request.headers.get("range", ""))
        if wanted is None or not any(wanted.groups()) or request.headers.get("if-range", etag) != etag:
            return Answer(headers=headers, body=file.body)
        size = len(file.body)
        start = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
        end = min(size, int(wanted[2]) + 1) if wanted[1] and wanted[2] else size
        if start >= end:
            refusal = _refused(416, "InvalidRange", "The requested range is not satisfiable")
            return refusal.with_headers({"content-range": f"bytes */{size}"})
        headers.append(("content-range", f"bytes {start}-{end - 1}/{size}"))
        return Answer(status=206, headers=headers, body=file.body[start:end])

    def _standard(self, status: int) -> Answer:
        """What this host says with a status."""
        match status:
            case 502 | 503 | 504:
                return proxy(status)
            case 403:
                return _refused(403, "AccessDenied", "Request has expired")
            case 404:
                return _refused(404, "NoSuchKey", "The specified key does not exist.")
        return _refused(status, "InternalError", "We encountered an internal error. Please try again.")


def _signature(path: str, query: str) -> str:
    """Covers method, path and query as they are spelt; the real one sorts the parameters, this one is stricter."""
    return hmac.new(SECRET, f"GET {path}?{query}".encode(), "sha256").hexdigest()


def _refused(status: int, code: str, message: str) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status=status, headers=[("content-type", "application/xml")], body=body.encode())
