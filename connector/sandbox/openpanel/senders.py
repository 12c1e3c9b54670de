"""The sender of an event, read from its request: address, browser, page and referrer.

Only a few browsers and referrers are known, which is enough for a demonstration; the real server has long tables.
Addresses are not looked up, so tracked events have no country.
"""

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_ADDRESS_HEADERS = (
    "openpanel-client-ip",
    "true-client-ip",
    "x-client-ip",
    "cf-connecting-ip",
    "x-forwarded-for",
    "x-real-ip",
)
_BOTS = (
    (re.compile(r"Googlebot"), "Googlebot", "Search bot"),
    (re.compile(r"bingbot", re.IGNORECASE), "BingBot", "Search bot"),
    (re.compile(r"AhrefsBot"), "aHrefs Bot", "Crawler"),
    (re.compile(r"\bbot\b|crawler|spider", re.IGNORECASE), "Generic Bot", "Crawler"),
)
_PROGRAM = re.compile(r"[^/]+/[\d.]+")
_SYSTEMS = (
    ("iPadOS", re.compile(r"iPad;.*? OS (\d+[_\d]*)"), "tablet", "Apple", "iPad"),
    ("iOS", re.compile(r"iPhone OS (\d+[_\d]*)"), "mobile", "Apple", "iPhone"),
    ("macOS", re.compile(r"Mac OS X (\d+[_\d]*)"), "desktop", "Apple", "Macintosh"),
    ("Windows", re.compile(r"Windows NT ([\d.]+)"), "desktop", "", ""),
    ("Android", re.compile(r"Android ([\d.]+)"), "mobile", "", ""),
    ("Linux", re.compile(r"Linux()"), "desktop", "", ""),
)
_BROWSERS = (
    ("Edge", re.compile(r"Edg/([\d.]+)")),
    ("Opera", re.compile(r"OPR/([\d.]+)")),
    ("Firefox", re.compile(r"Firefox/([\d.]+)")),
    ("Chrome", re.compile(r"Chrome/([\d.]+)")),
    ("Mobile Safari", re.compile(r"Version/([\d.]+) Mobile.*Safari")),
    ("Safari", re.compile(r"Version/([\d.]+).*Safari")),
)
_REFERRERS = {
    "google": ("Google", "search"),
    "bing": ("Bing", "search"),
    "duckduckgo": ("DuckDuckGo", "search"),
    "facebook": ("Facebook", "social"),
    "twitter": ("Twitter", "social"),
    "t.co": ("Twitter", "social"),
    "linkedin": ("LinkedIn", "social"),
    "github": ("GitHub", "tech"),
}
_DEVICE_COLUMNS = {
    "__os": "os",
    "__osVersion": "os_version",
    "__browser": "browser",
    "__browserVersion": "browser_version",
    "__device": "device",
    "__brand": "brand",
    "__model": "model",
}


@dataclass(frozen=True)
class Visitor:
    """Address and browser of one request."""

    address: str
    agent: str

    @property
    def is_program(self) -> bool:
        """Whether the vendor treats the sender as a server: no known browser, or ``name/1.2``."""
        return not self.agent or _PROGRAM.fullmatch(self.agent) is not None or not _read(self.agent)

    def device_id(self, project: str, day: str) -> str:
        """32 hexadecimal digits, different every day; empty without a user agent."""
        if not self.agent:
            return ""
        return hashlib.md5(f"{project}:{self.address}:{self.agent}:{day}".encode(), usedforsecurity=False).hexdigest()

    def columns(self, overrides: Mapping[str, Any]) -> dict[str, str]:
        """The device columns of an event. Properties of an SDK override the user agent."""
        if self.is_program:
            return {"device": "server"}
        found = _read(self.agent)
        for name, column in _DEVICE_COLUMNS.items():
            if isinstance(overrides.get(name), str) and overrides[name]:
                found[column] = overrides[name]
        return found


def visitor_of(headers: Mapping[str, str], host: str) -> Visitor:
    """The sender: the first public address in the headers that may contain one, or else the peer's."""
    for name in _ADDRESS_HEADERS:
        for part in headers.get(name, "").split(","):
            if _public(part.strip()):
                return Visitor(part.strip(), headers.get("user-agent", ""))
    return Visitor(host, headers.get("user-agent", ""))


def _public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or text.startswith(("10.", "192.168.", "172.16.")))


def _read(agent: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, pattern, device, brand, model in _SYSTEMS:
        match = pattern.search(agent)
        if match:
            version = match[1].replace("_", ".")
            version = "10" if name == "Windows" and version == "10.0" else version
            found = {"os": name, "os_version": version, "device": device, "brand": brand, "model": model}
            break
    for name, pattern in _BROWSERS:
        match = pattern.search(agent)
        if match:
            return {"device": "desktop", **found, "browser": name, "browser_version": match[1]}
    return found


def bot_of(agent: str) -> dict[str, str] | None:
    """Name and type of a known bot; None for any other user agent."""
    for pattern, name, kind in _BOTS:
        if pattern.search(agent):
            return {"name": name, "type": kind}
    return None


def page_of(address: str) -> tuple[dict[str, str], dict[str, str]]:
    """Columns (path, origin) and properties (query, hash) of the page an event happened on."""
    parts = urlsplit(address)
    origin = f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""
    properties = {f"__query.{name}": value for name, value in parse_qsl(parts.query)}
    if parts.fragment:
        properties["__hash"] = f"#{parts.fragment}"
    return {"path": parts.path, "origin": origin}, properties


def referrer_of(address: str, origin: str, properties: Mapping[str, str]) -> dict[str, str]:
    """The referrer columns. A campaign sets the source; a page of the same site does not count as a referrer."""
    columns = {"referrer": "", "referrer_name": "", "referrer_type": ""}
    host = urlsplit(address).netloc
    if address and host != urlsplit(origin).netloc:
        name, kind = next((known for part, known in _REFERRERS.items() if part in host), ("", ""))
        columns = {"referrer": address.rstrip("/"), "referrer_name": name, "referrer_type": kind}
    source = properties.get("__query.utm_source") or properties.get("__query.ref")
    if source:
        name, kind = _REFERRERS.get(source.lower(), (source, ""))
        columns |= {"referrer_name": name, "referrer_type": kind}
    return columns
