"""The faults of the matrix: what breaks, how it is broken, and what is promised about it.

A fault is carried out where it happens for real: by the sandbox (answers and sockets), by the client's own network
stack sent to a wrong address (refused, DNS, TLS), on the machine (environment, disk, warehouse), or in an exported file
(`files.py`).
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from tests.soak.files import KINDS

Outcome = Literal["exact", "told", "either"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to break.

    Attributes:
        kind: what the sandbox calls it, or for ``place`` other than ``vendor`` what this package does.
        once: what is promised if it happens to one request; for ever, an error is promised unless it says otherwise.
        attempts: how often one request is sent at most while it lasts.
        timeout, deadline: the client's patience while it lasts, in seconds.
    """

    name: str
    place: Literal["vendor", "network", "machine", "file"] = "vendor"
    kind: str = ""
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    once: Outcome = "exact"
    for_ever: Outcome = "told"
    attempts: int = 5
    timeout: float = 30.0
    deadline: float = 60.0


def _status(status: int, *, attempts: int, once: Outcome, name: str = "", **options: Any) -> Fault:
    return Fault(
        name=name or f"status {status}", kind="status", options={"status": status, **options}, once=once,
        attempts=attempts,
    )  # fmt: skip


REDIRECT = "https://elsewhere.example.com/export/events"
QUICK = 0.4

FROM_VENDOR = (
    Fault(name="reset mid-body", kind="reset"),
    Fault(name="closed without a word", kind="drop"),
    Fault(name="hang", kind="hang", options={"seconds": 30.0}, timeout=QUICK),
    Fault(name="slow drip", kind="drip", options={"seconds": 8.0}, timeout=5.0, deadline=QUICK),
    Fault(name="truncated body", kind="truncate"),
    Fault(name="wrong content length", kind="wrong_content_length"),
    Fault(name="cut body, honestly announced", kind="cut"),
    Fault(name="empty body", kind="empty"),
    Fault(name="not HTTP", kind="not_http"),
    Fault(name="a page of HTML with status 200", kind="html_200"),
    Fault(name="invalid JSON", kind="garbled"),
    Fault(name="cut behind a bracket, without a length", kind="open_end"),
    Fault(name="in a content coding", kind="coded", for_ever="exact"),
    Fault(name="JSON of another shape", kind="other_json", once="told", attempts=1),
    Fault(name="a list where an object is due", kind="other_json", options={"body": "[1, 2]"}, once="told", attempts=1),
    _status(400, attempts=2, once="told"),
    _status(401, attempts=1, once="told"),
    _status(403, attempts=1, once="told"),
    _status(404, attempts=2, once="told"),
    _status(408, attempts=5, once="exact"),
    _status(409, attempts=1, once="told"),
    _status(429, attempts=30, once="exact", name="status 429 with retry-after", headers={"retry-after": "7"}),
    _status(429, attempts=30, once="exact", name="status 429 without retry-after", headers={}),
    _status(429, attempts=30, once="exact", name="status 429 with retry-after 0", headers={"retry-after": "0"}),
    _status(500, attempts=3, once="exact", name="status 500 as text", body="Internal server error"),
    _status(502, attempts=5, once="exact"),
    _status(503, attempts=5, once="exact"),
    _status(507, attempts=5, once="exact"),
    _status(524, attempts=5, once="exact", body="<html>error code: 524</html>"),
    Fault(name="redirect to another host", kind="redirect", options={"location": REDIRECT}, once="told", attempts=1),
)
FROM_NETWORK = (
    Fault(name="connection refused", place="network", kind="refused"),
    Fault(name="TLS error", place="network", kind="tls"),
    Fault(name="DNS failure", place="network", kind="dns"),
)
# What desktops, containers and companies set, and what is promised of a vendor that is reached through it.
_OF_NOWHERE = {
    "ALL_PROXY": "socks://127.0.0.1:9/",
    "HTTP_PROXY": "http://user:pr0xy-passw0rd@127.0.0.1:9",
    "https_proxy": "http://user:pr0xy-passw0rd@host:notaport",
    "NO_PROXY": "vendor.example.com,fd07:b51a:cc66:f0::/64",
    "SSL_CERT_FILE": "/nope.pem",
    "SSLKEYLOGFILE": "/nope/keys",
}


def _environment(name: str, **options: Any) -> Fault:
    return Fault(name=name, place="machine", kind="environment", options=options, once="told")


IN_ENVIRONMENT = (
    Fault(name="proxies and certificates of elsewhere", place="machine", kind="environment",
          options={"set": _OF_NOWHERE}, for_ever="exact"),
    _environment("a proxy of an unknown kind", away=True, set={"ALL_PROXY": "socks4://127.0.0.1:9"}),
    _environment("a proxy that is not there", away=True, set={"HTTP_PROXY": "http://u:pr0xy-passw0rd@127.0.0.1:9"}),
    _environment("a proxy that asks for a password", away=True, proxy=(407, b"<html>Who are you?</html>")),
    _environment("a proxy that answers with web pages", away=True, proxy=(403, b"<html>Not allowed.</html>")),
    _environment("a proxy that has no connection", away=True, proxy=(502, b"<html>Bad gateway</html>")),
)  # fmt: skip
ON_MACHINE = (
    Fault(name="disk full while spooling", place="machine", kind="full spool", once="told"),
    Fault(name="disk full while landing", place="machine", kind="full warehouse", once="told"),
    Fault(name="read-only warehouse", place="machine", kind="read-only", once="told"),
    Fault(name="locked warehouse", place="machine", kind="locked"),
    Fault(name="warehouse of a newer version", place="machine", kind="newer", once="told"),
    Fault(name="not a warehouse at all", place="machine", kind="other file", once="told"),
    Fault(name="spool of an older version", place="machine", kind="old spool", for_ever="exact"),
    Fault(name="vendor's clock an hour behind", place="machine", kind="clock -1 h", for_ever="exact"),
    Fault(name="vendor's clock an hour ahead", place="machine", kind="clock +1 h", for_ever="exact"),
    Fault(name="vendor's clock four days behind", place="machine", kind="clock -96 h", for_ever="exact"),
    Fault(name="vendor's clock four days ahead", place="machine", kind="clock +96 h", for_ever="exact"),
)
IN_FILES = tuple(
    Fault(name=name, place="file", kind=name, once=one.outcome, for_ever=one.outcome) for name, one in KINDS.items()
)
FAULTS = (*FROM_VENDOR, *FROM_NETWORK, *IN_ENVIRONMENT, *ON_MACHINE, *IN_FILES)
