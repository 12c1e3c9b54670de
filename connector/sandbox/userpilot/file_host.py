"""The host of the exported files: presigned URLs, their expiry, ranges, and refusals in XML.

A presigned URL is the only credential: a request that also carries the API's key is refused. This host is not the API
and does not know which job a file belongs to.
"""

import calendar
import hashlib
import hmac
import re
import time
from urllib.parse import quote

from connector.sandbox.messages import Answer, Header, Request, parse_query, proxy_error
from connector.sandbox.userpilot.answers import with_fault
from connector.sandbox.userpilot.export_files import ExportFile
from connector.sandbox.userpilot.state import State

SECRET = b"of the sandbox"
_SIGNATURE = re.compile(r"&?X-Amz-Signature=([0-9a-f]*)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class FileHost:
    """Objects by path, and the signatures given out for them.

    Attributes:
        base: scheme and host of the files' URLs.
        objects: the files by path, as it is written in the request line.
        requests: every request received, with the status of its answer.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.base = "https://csvexports.userpilot.io"
        self.objects: dict[str, ExportFile] = {}
        self.requests: list[Request] = []
        self._signed: dict[str, bool] = {}  # by signature: whether it is still good

    def store(self, path: str, file: ExportFile) -> None:
        """Keep an object."""
        self.objects[path] = file

    def sign(self, path: str, at: float | None = None) -> str:
        """A URL for a path. Without ``at`` it is signed now and new every time; with ``at`` it is always the same."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.state.clock() if at is None else at))
        scope = quote(f"AKIASANDBOX/{stamp[:8]}/us-east-1/s3/aws4_request", safe="")
        query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date={stamp}"
        query += f"&X-Amz-Expires={int(self.state.url_life)}"
        if at is None:  # temporary credentials, new ones every time
            token = hashlib.sha256(f"{path} {len(self._signed)}".encode()).hexdigest()[:24]
            query += f"&X-Amz-Security-Token={quote(f'+/{token}==', safe='')}"
        tail = "&X-Amz-SignedHeaders=host"
        signature = _signature(path, query + tail)
        self._signed.setdefault(signature, True)
        if at is None:  # some signers do not put the signature last
            return f"{self.base}{path}?{query}&X-Amz-Signature={signature}{tail}"
        return f"{self.base}{path}?{query}{tail}&X-Amz-Signature={signature}"

    def expire(self) -> None:
        """Expire every URL given out so far."""
        self._signed = dict.fromkeys(self._signed, False)

    def answer(self, request: Request) -> Answer:
        """Answer one request and remember it."""
        with self.state.lock:
            request.at = self.state.clock()
            self.requests.append(request)
            fault = self.state.faults.take(request.path, 1)
            answer = with_fault(fault, lambda: self._checked(request), self._standard)
            request.status = answer.status
            return answer

    def _checked(self, request: Request) -> Answer:
        """The answer after the checks, in S3's order: one kind of credentials, expiry, signature, object."""
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
            return False  # the signature check refuses it
        return not self._signed.get(signature, True) or self.state.clock() >= calendar.timegm(signed) + life

    def _sent(self, file: ExportFile, request: Request) -> Answer:
        headers: list[Header] = [("content-type", "application/json" if file.encoded else "binary/octet-stream")]
        if file.encoded:
            headers.append(("content-encoding", "gzip"))
        if not self.state.world.etags:
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
        """What this host usually answers with a status."""
        match status:
            case 502 | 503 | 504:
                return proxy_error(status)
            case 403:
                return _refused(403, "AccessDenied", "Request has expired")
            case 404:
                return _refused(404, "NoSuchKey", "The specified key does not exist.")
        return _refused(status, "InternalError", "We encountered an internal error. Please try again.")


def _signature(path: str, query: str) -> str:
    """A signature of method, path and query exactly as written. S3 sorts the parameters; this host is stricter."""
    return hmac.new(SECRET, f"GET {path}?{query}".encode(), "sha256").hexdigest()


def _refused(status: int, code: str, message: str) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status=status, headers=[("content-type", "application/xml")], body=body.encode())
