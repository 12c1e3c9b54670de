"""Finds the proxy that the environment names for an address: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

HTTP libraries read these variables, too, and raise errors of their own about what they do not understand, at times
with the proxy's password. So they are read here. This machine itself is never asked through a proxy.
"""

import base64
import importlib.util
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote
from urllib.request import getproxies

import httpx

from connector.errors import SettingsError
from connector.redaction import conceal
from connector.settings import is_loopback

# How each kind of proxy may be spelt. Desktops write socks:// for version 5.
_KINDS = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5h", "socks": "socks5"}
_PLACE = re.compile(r"(?P<host>\[[^\s\[\]@]+\]|[^\s:\[\]@]+)(?::(?P<port>\d{1,5}))?")
_ENTRY = re.compile(
    r"(?:(?P<scheme>[a-z]+)://)?(?:\[(?P<six>[^\]]+)\](?P<bits>/\d+)?|(?P<name>.+?))(?::(?P<port>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy.

    Attributes:
        variable: where it is named, such as ``HTTPS_PROXY``.
        url: without credentials.
        place: host and port, as messages show it.
        auth: user and password, if there are any.
    """

    variable: str
    url: str
    place: str
    auth: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"the proxy {self.place} ({self.variable})"

    def refuses_us(self) -> SettingsError:
        """The error for a 407."""
        refused = "refuses the user and password in it" if self.auth else "asks for a user and a password"
        return SettingsError(
            self.variable,
            f"names the proxy {self.place}, which {refused} (status 407)",
            next_step=f"write {self.variable} as http://user:password@host:port, or name the host in NO_PROXY.",
        )


class Proxies:
    """The proxies of the process environment, read now; on macOS and Windows those of the system, too."""

    def __init__(self) -> None:
        self._named = getproxies()
        self._exempt = [entry for entry in re.split(r"[,\s]+", self._named.get("no", "").lower()) if entry]
        for scheme in ("http", "https", "all"):
            _conceal_credentials(self._named.get(scheme, ""))

    def variables(self) -> Mapping[str, str]:
        """The variables that name a proxy, by the scheme they are for."""
        return {scheme: _variable(scheme) for scheme in ("http", "https", "all") if self._named.get(scheme)}

    def of(self, url: httpx.URL) -> Proxy | None:
        """The proxy through which an address is asked; None if it is asked directly.

        Raises:
            SettingsError: the variable that would name it holds something else, or a kind that is not spoken here.
        """
        scheme = url.scheme if self._named.get(url.scheme) else "all"
        if not self._named.get(scheme):
            return None
        port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
        if is_loopback(url.host) or any(_exempts(entry, url, port) for entry in self._exempt):
            return None
        return self.named(scheme)

    def named(self, scheme: str) -> Proxy | None:
        """The proxy that is named for a scheme, or for ``all``.

        Raises:
            SettingsError: as for :meth:`of`.
        """
        value = self._named.get(scheme)
        return proxy(_variable(scheme), value) if value else None


def proxy(variable: str, value: str) -> Proxy:
    """The proxy that a variable names.

    Credentials end at the last ``@``, so that a password may hold any character.

    Raises:
        SettingsError: it names none; the message does not repeat the value.
    """
    kind, _, rest = (value if "://" in value else f"http://{value}").strip().partition("://")
    credentials, _, place = rest.rpartition("@")
    found = _PLACE.fullmatch(re.split(r"[/?#]", place)[0])
    if not found or not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9]{1,9}", kind):
        raise _malformed(variable)
    if kind.lower() not in _KINDS:
        raise SettingsError(
            variable,
            f"names a proxy of the kind {kind.lower()}://, which is not supported",
            next_step="name an http:// or socks5:// proxy, or name the vendors' hosts in NO_PROXY, or unset it.",
        )
    kind = _KINDS[kind.lower()]
    if kind.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise SettingsError(
            variable,
            "names a SOCKS proxy, and the package that speaks SOCKS is not installed",
            next_step='run: pip install "httpx[socks]"; or set HTTPS_PROXY and HTTP_PROXY to an http:// proxy, which '
            "come first; or name the vendors' hosts in NO_PROXY.",
        )
    if found["port"] and not 0 < int(found["port"]) < 2**16:  # the network stack would take the rest of a division
        raise _malformed(variable)
    where = found["host"] + (f":{found['port']}" if found["port"] else "")
    try:
        httpx.URL(url := f"{kind}://{where}")
    except (httpx.InvalidURL, ValueError):
        raise _malformed(variable) from None
    user, _, password = credentials.partition(":")
    return Proxy(variable, url, where, (unquote(user), unquote(password)) if credentials else None)


def _malformed(variable: str) -> SettingsError:
    return SettingsError(
        variable,
        "is not the address of a proxy",
        next_step=f"write {variable} as http://host:port or http://user:password@host:port, or unset it.",
    )


def _conceal_credentials(value: str) -> None:
    credentials, at, _ = value.partition("://")[2].rpartition("@") if "://" in value else value.rpartition("@")
    if not at:
        return
    user, colon, password = credentials.partition(":")
    for secret in {password, unquote(password)} if colon else {user, unquote(user)}:
        conceal(secret)
    conceal(base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode())  # as the header carries it


def _variable(scheme: str) -> str:
    """The variable's name as it is spelt; lower case comes first, as for curl."""
    name = f"{scheme}_proxy"
    spelt = [each for each in sorted(os.environ, reverse=True) if each.lower() == name and os.environ[each]]
    return spelt[0] if spelt else name.upper()


def _exempts(entry: str, url: httpx.URL, port: int) -> bool:
    """Whether an entry of NO_PROXY, in lower case, is about an address: ``*``, a name, an address, a network."""
    if entry == "*":
        return True
    network = _network(entry)
    found = _ENTRY.fullmatch(entry)
    if network is None and found:
        if found["scheme"] not in (None, "all", url.scheme) or (found["port"] and int(found["port"]) != port):
            return False
        network = _network(f"{found['six'] or found['name']}{found['bits'] or ''}")
    host = url.host.lower().rstrip(".")
    if network is not None:
        address = _network(host)
        return address is not None and address.version == network.version and address.subnet_of(network)  # type: ignore[arg-type]
    name = (found["name"] or "").removeprefix("*").strip(".") if found else ""
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
