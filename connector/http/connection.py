"""Makes the HTTP client that everything here asks with: proxies, certificates, time limits, and what faults mean.

The library's own reading of the environment is switched off: it raises what it does not understand as it is, asks this
machine itself through a proxy, and reads certificates even where no request is encrypted.
"""

import logging
import os
import re
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from connector.errors import SettingsError
from connector.http.proxies import Proxies, Proxy
from connector.redaction import excerpt

# A test may bring its own; nothing outside this folder imports httpx for it.
Transport = httpx.BaseTransport

FAULTS = (httpx.TransportError, httpx.DecodingError, httpx.StreamError)
# Names that stand where a coding is due and change nothing; stores and proxies write them there.
_NO_CODINGS = {"", "identity", "none", "binary", "utf-8", "aws-chunked"}
# What the TLS library reads, in the order in which it is looked at here.
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
# No byte of the request went out: whatever it asks for, it may be sent again.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class _Redacted(logging.Filter):
    """httpx logs every address at level INFO. The query of a presigned link works like a password."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = excerpt(record.getMessage(), 2000), ()
        return True


logging.getLogger("httpx").addFilter(_Redacted())


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


class Routes(httpx.BaseTransport):
    """Sends every request directly, or through the proxy that the environment names for its address.

    Certificates are read when the first request needs them, and then always verified.
    """

    def __init__(self, connections: int) -> None:
        self._limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._proxies, self._lock = Proxies(), threading.Lock()
        self._found: dict[tuple[str, str, int | None], httpx.BaseTransport] = {}
        self._made: dict[tuple[str, bool], httpx.BaseTransport] = {}

    def proxy(self, url: httpx.URL) -> Proxy | None:
        """The proxy for an address, or None.

        Raises:
            SettingsError: the variable that names it is wrong.
        """
        return self._proxies.of(url)

    def to(self, url: httpx.URL) -> httpx.BaseTransport:
        """The connections for an address.

        Raises:
            SettingsError: a variable about proxies or certificates is wrong.
        """
        place = (url.scheme, url.host, url.port)
        with self._lock:
            if place not in self._found:
                proxy = self.proxy(url)
                encrypted = url.scheme == "https" or (proxy is not None and proxy.url.startswith("https:"))
                way = (proxy.url if proxy else "", encrypted)
                if way not in self._made:
                    self._made[way] = self._make(proxy, encrypted)
                self._found[place] = self._made[way]
            return self._found[place]

    def _make(self, proxy: Proxy | None, encrypted: bool) -> httpx.BaseTransport:
        trusted = certificates() if encrypted else None
        through = None
        if proxy:
            to_proxy = trusted if proxy.url.startswith("https:") else None
            through = httpx.Proxy(proxy.url, auth=proxy.auth, ssl_context=to_proxy)
        return httpx.HTTPTransport(verify=trusted or False, trust_env=False, limits=self._limits, proxy=through)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.to(request.url).handle_request(request)

    def close(self) -> None:
        for transport in self._made.values():
            transport.close()


class HttpClient(httpx.Client):
    """The library's client, which knows through which proxy it asks."""

    routes: Routes | None = None

    def proxy(self, url: str) -> Proxy | None:
        """The proxy for an address; None without one, and for what is no address."""
        try:
            return self.routes.proxy(httpx.URL(url)) if self.routes else None
        except (SettingsError, httpx.InvalidURL, ValueError):
            return None

    def via(self, url: str) -> str:
        """Words for a message: through which proxy an address is asked; nothing without one."""
        proxy = self.proxy(url)
        return f", through {proxy}" if proxy else ""


def http_client(
    *,
    headers: Mapping[str, str],
    timeout: float,
    connections: int = 8,
    base_url: str = "",
    transport: Transport | None = None,
) -> HttpClient:
    """The client for one vendor, webhook or file host. It follows no redirects: httpx strips only its own credentials.

    Args:
        headers: sent with every request.
        timeout: seconds to connect, and seconds without a byte before a request is given up.
        connections: at the same time.
        base_url: what will be asked, if it is known; the settings for it are checked now.
        transport: instead of the network; nothing of the environment is read then.

    Raises:
        SettingsError: a variable about proxies or certificates is wrong; nothing secret of it is shown.
    """
    routes = None if transport else Routes(connections)
    if routes and base_url:
        try:
            url = httpx.URL(base_url)
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL()  # told with the first request
        if url.scheme in ("http", "https"):
            routes.to(url)
    client = HttpClient(
        headers={"user-agent": "openpanel-userpilot-connector", **headers},
        timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
        follow_redirects=False,
        trust_env=False,
        transport=routes or transport,
    )
    client.routes = routes
    return client


def certificates(*names: str) -> ssl.SSLContext:
    """The certificates to trust: those of SSL_CERT_FILE or SSL_CERT_DIR if one is set, else the usual ones.

    Args:
        names: which variables to read; all of ``CERTIFICATES`` if left out.

    Raises:
        SettingsError: there are none, or SSLKEYLOGFILE cannot be written.
    """
    file, folders, log = (os.environ.get(name, "") if name in (names or CERTIFICATES) else "" for name in CERTIFICATES)
    if log:
        _must_be_writable(log)
    if file:
        try:
            return ssl.create_default_context(cafile=file)
        except (OSError, ValueError) as fault:
            reason = getattr(fault, "reason", None) or getattr(fault, "strerror", None) or type(fault).__name__
            raise SettingsError(
                "SSL_CERT_FILE",
                f"names {excerpt(file, 120)!r}, where no certificates can be read: {excerpt(reason, 80)}",
                next_step="name a PEM file with the certificates to trust, or unset it to trust the usual ones.",
            ) from None
    if folders:
        if not any(_has_certificates(folder) for folder in folders.split(os.pathsep)):
            raise SettingsError(
                "SSL_CERT_DIR",
                f"names {excerpt(folders, 120)!r}, where no certificates are found",
                next_step="run openssl rehash on the folder with the certificates, or name them in SSL_CERT_FILE, "
                "or unset it to trust the usual ones.",
            )
        return ssl.create_default_context(capath=folders)
    return httpx.create_ssl_context(trust_env=False)


def _must_be_writable(log: str) -> None:
    """Python writes the keys of every connection there if it is set, and fails if it cannot."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = log
    except OSError as fault:
        raise SettingsError(
            "SSLKEYLOGFILE",
            f"names {excerpt(log, 120)!r}, which cannot be written: {fault.strerror or type(fault).__name__}",
            next_step="unset it, or name a file that this user may write.",
        ) from None


def _has_certificates(folder: str) -> bool:
    """Whether certificates lie in a folder under the names by which OpenSSL looks for them."""
    try:
        return any(re.fullmatch(r"[0-9a-f]{8}\.\d+", each.name) and each.exists() for each in Path(folder).iterdir())
    except OSError:
        return False


def why(fault: Exception, client: HttpClient, url: str) -> str:
    """What a fault of the network was, and through which proxy it happened.

    Raises:
        SettingsError: the proxy refuses us.
    """
    proxy = client.proxy(url)
    if proxy and isinstance(fault, httpx.ProxyError) and str(fault).startswith("407"):
        raise proxy.refuses_us() from None
    return f"{type(fault).__name__} {excerpt(str(fault), 160)}{client.via(url)}"


def what_to_check(fault: Exception, client: HttpClient, url: str, setting: str = "") -> str:
    """The next step after a fault of the network.

    Args:
        setting: the variable that holds the address, if the user gave one.
    """
    if "CERTIFICATE_VERIFY_FAILED" in str(fault):
        return "if a proxy or an authority of your own signs for this host, name its certificate in SSL_CERT_FILE."
    if proxy := client.proxy(url):
        return f"rerun; if it persists, check the proxy that {proxy.variable} names, or name the host in NO_PROXY."
    address = f"{setting}, " if setting else ""
    return f"rerun; if it persists, check {address}the network and the vendor's status page."


def coding_names(header: str) -> list[str]:
    """The codings that a Content-Encoding header names, in the order in which they were put on, without ``x-``."""
    names = [name.strip().lower().removeprefix("x-") for name in header.split(",")]
    return [name for name in names if name not in _NO_CODINGS]


def place_of(url: str) -> str:
    """Where a request went, without the query: presigned links carry their password there."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return excerpt(f"{parts.hostname or ''}{port}{parts.path}", 160)
    except ValueError:
        return "an address that is none"
