"""A vendor that must answer the recorded requests as recorded, and a client that sends them again.

Every recorded row is stored as it is. Filler rows are added until the totals, and the positions of the recorded rows
in their pages, are the recorded ones. Then the same requests have the same answers.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from connector.sandbox import OpenPanel, serve
from tests.sandbox.factory import Clock

RECORDED = Path(__file__).parent.parent / "recorded" / "openpanel"
CLIENTS = {
    "root": ("11111111-1111-4111-8111-111111111111", "sec_root"),
    "read": ("22222222-2222-4222-8222-222222222222", "sec_read"),
    "write": ("33333333-3333-4333-8333-333333333333", "sec_write"),
    "root_noproj": ("44444444-4444-4444-8444-444444444444", "sec_root_noproj"),
    "read_num": ("55555555-5555-4555-8555-555555555555", "sec_read_num"),
    "read_ny": ("66666666-6666-4666-8666-666666666666", "sec_read_ny"),
}
START = 1_795_216_800.0  # 2026-11-20T23:20:00Z
DAYS = [f"2026-11-{day}" for day in range(11, 21)]
# Answers with rows that did not exist yet when most requests were sent (Track calls create them), and answers without
# events.
LATER = ("ev53", "tr", "im", "mg")
Row = dict[str, Any]


@cache
def recorded(name: str) -> dict[str, Any]:
    """One recorded request and its answer; it is shared, so do not change it."""
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.trimmed.json").read_text("utf-8"))
    return found


def names(*prefixes: str) -> list[str]:
    """The recorded cases with one of these prefixes."""
    found = sorted(path.name.removesuffix(".trimmed.json") for path in RECORDED.glob("*.trimmed.json"))
    return [name for name in found if name.startswith(prefixes)]


def client_of(request: Row) -> dict[str, str]:
    """The headers a recorded request was sent with."""
    headers: dict[str, str] = {}
    if request["client"]:
        client_id, secret = CLIENTS[request["client"].split("'")[1]]
        headers = {"openpanel-client-id": client_id, "openpanel-client-secret": secret}
    return headers | request.get("extra_headers", {})


class Replay:
    """Sends recorded requests to a simulated vendor again."""

    def __init__(self, vendor: OpenPanel, base: str, clock: Clock, http: httpx.Client) -> None:
        self.vendor, self.base, self.clock, self.http = vendor, base, clock, http

    def send(self, name: str) -> httpx.Response:
        """Send one recorded request."""
        request = recorded(name)["request"]
        path, _, query = request["url"].removeprefix("{BASE}").partition("?")
        url = httpx.URL(self.base, raw_path=f"{path}{'?' if query else ''}{quote(query, safe='=&+,:[]%')}".encode())
        headers = {"accept-encoding": "identity", **client_of(request)}
        content = None
        if request["method"] not in ("GET", "HEAD"):
            content = httpx.Response(200, json=request.get("body")).content
            headers["content-type"] = "application/json"
        return self.http.request(request["method"], url, headers=headers, content=content)

    def ask(self, name: str, *, after: float = 11) -> httpx.Response:
        """Send one recorded request; status, headers and a text body must be the recorded ones.

        Before that, the clock moves ``after`` seconds; with eleven, no request budget is ever spent.
        """
        self.clock.now += after
        got, expected = self.send(name), recorded(name)
        assert got.status_code == expected["status"], got.text[:300]
        headers = {key: value for key, value in got.headers.items() if key not in ("date", "connection")}
        assert headers.keys() == expected["headers"].keys()
        for header in ("content-type", "vary", "access-control-allow-origin", "x-ratelimit-limit"):
            assert headers.get(header) == expected["headers"].get(header)
        if got.request.method != "HEAD":
            assert int(headers["content-length"]) == len(got.content)
        assert "body" in expected or got.text == expected["body_text"]
        return got


@contextmanager
def replay(make: Callable[..., OpenPanel], now: float = START, **settings: Any) -> Iterator[Replay]:
    """A vendor on a socket, and the client that asks it."""
    clock = Clock(now)
    vendor = make(clock=clock, **settings)
    with serve(vendor.app) as base, httpx.Client() as http:
        yield Replay(vendor, base, clock, http)


def without_events(**settings: Any) -> OpenPanel:
    """The recorded projects and clients, without events."""
    vendor = OpenPanel(**settings)
    for project in ("acme-web", "acme-wide", "acme-big", "acme-empty", "2048"):
        vendor.add_project(project, organisation="acme")
    vendor.add_project("globex-app", organisation="globex", timezone="America/New_York")
    vendor.projects["acme-web"].cors = ["https://shop.example.com"]
    kinds: dict[str, tuple[Any, str | None]] = {
        "root": ("root", "acme-web"),
        "read": ("read", "acme-web"),
        "write": ("write", "acme-web"),
        "root_noproj": ("root", None),
        "read_num": ("read", "2048"),
        "read_ny": ("read", "globex-app"),
    }
    for name, (kind, project) in kinds.items():
        client_id, secret = CLIENTS[name]
        vendor.add_client(client_id, secret, kind, project=project, organisation=None if project else "acme")
    vendor.add_client("88888888-8888-4888-8888-888888888888", None, "read", project="acme-web")
    return vendor


def _recorded_rows() -> Iterator[tuple[str, Row]]:
    for name in names(""):
        body = recorded(name).get("body")
        if name.startswith(LATER) or not isinstance(body, dict):
            continue
        asked = recorded(name)["request"]["url"]
        for row in body.get("data", ()):
            known = {key: value for key, value in row.items() if key != "groups" or "groups" in asked}
            yield name, known


def with_events(**settings: Any) -> OpenPanel:
    """The recorded projects with their events."""
    vendor = without_events(**settings)
    rows: dict[str, Row] = {}
    for _, row in _recorded_rows():
        rows.setdefault(row["id"], {}).update(row)
    tr30_profile = recorded("tr30_export_after")["body"]["data"][0]["profile"]
    for row in [*rows.values(), {"profile": tr30_profile, "projectId": "acme-web"}]:
        project = row.pop("projectId")
        _keep_profile(vendor, project, row.pop("profile", None))
        _keep_record(vendor, project, row.pop("meta", None))
        if row:
            vendor.load([row], project)
    _fill(vendor)
    return vendor


def _keep_profile(vendor: OpenPanel, project: str, profile: Row | None) -> None:
    if profile and profile["isExternal"]:
        vendor.add_profile(
            profile["id"],
            project=project,
            first_name=profile["firstName"],
            last_name=profile["lastName"],
            email=profile["email"],
            properties=profile["properties"],
            created_at=_ms(profile["createdAt"]),
            last_seen_at=_ms(profile["lastSeenAt"]),
        )


def _keep_record(vendor: OpenPanel, project: str, meta: Row | None) -> None:
    if meta:
        fields = {key: meta[key] for key in ("conversion", "color", "icon")}
        record = vendor.add_record(meta["name"], project=project, created_at=_ms(meta["createdAt"]), **fields)
        record.id = meta["id"]


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _fill(vendor: OpenPanel) -> None:
    """Add filler rows until totals and positions are the recorded ones."""
    serial = iter(range(1_000_000))

    def rows(project: str = "acme-web", days: list[str] = DAYS) -> list[Row]:
        return [row for day in days for row in vendor.rows(day, project)]

    def pad(at: str, want: int, have: Callable[[Row], bool], *, project: str = "acme-web", **columns: Any) -> None:
        missing = want - sum(map(have, rows(project)))
        assert missing >= 0, (at, columns, missing)
        blank = {"name": "filler", **columns, "at": f"2026-11-{at}"}
        vendor.load([{**blank, "id": str(uuid.UUID(int=next(serial), version=4))} for _ in range(missing)], project)

    def named(name: str) -> Callable[[Row], bool]:
        return lambda row: row["name"] == name

    def on(*days: int) -> Callable[[Row], bool]:
        return lambda row: int(row["created_at"][8:10]) in days

    def newer(than: str, *days: int) -> Callable[[Row], bool]:
        return lambda row: row["created_at"] > f"2026-11-{than}" and (not days or on(*days)(row))

    for name, total in {
        "purchase": 367,
        "sign_up": 251,
        "söktext utförd": 736,
        "a,b event": 109,
        "revenue": 230,
    }.items():
        pad("16T00:10:00Z", total, named(name), name=name)
    source = {"__query.utm_source": "google"}
    pad("16T00:11:00Z", 1070, lambda row: source.items() <= row["properties"].items(), properties=source)
    # user_1's device, which also has anonymous rows
    stitched = recorded("ev38_profileId")["body"]["data"][0]["deviceId"]
    pad("16T00:12:00Z", 31, lambda row: row["profile_id"] == "user_1", profile_id="user_1", device_id=stitched)
    pad("16T00:12:00Z", 20, lambda row: row["profile_id"] == "12345", profile_id="12345")
    device = "5bbfdb3a5759a68f707215d1951c9a81"
    pad("19T00:10:00Z", 12, lambda row: row["profile_id"] == device, profile_id=device, device_id=device)
    pad("16T00:13:00Z", 3953, lambda row: row["country"] == "SE", country="SE")
    imported = named("row_imported")
    pad("15T12:00:20Z", 3000, lambda row: imported(row) and newer("15T12:00:00.000Z")(row), name="row_imported")
    pad("15T11:00:00Z", 6000, imported, name="row_imported")
    pad("15T00:10:00Z", 7890, on(15))
    pad("14T20:00:00Z", 1000, newer("14T13:46:28.764Z", 14))
    pad("14T10:00:00Z", 1200, newer("14T08:59:51.657Z", 14))
    pad("14T00:10:00Z", 1773, on(14))
    pad("12T00:10:00Z", 3865, on(12, 13))
    pad("19T00:10:00Z", 1837, on(19))
    pad("20T00:10:00Z", 100, on(20))
    pad("16T00:10:00Z", 19000, newer("14T08:59:51.657Z"))
    pad("11T00:10:00Z", 25013, lambda _: True)

    globex = "globex-app"
    pad("14T00:10:00Z", 51, on(14), project=globex)
    pad("20T10:00:00Z", 66, newer("20T00:00:00.000Z"), project=globex)
    pad("19T14:00:00Z", 100, newer("19T13:12:45.503Z"), project=globex)
    pad("11T00:10:00Z", 903, lambda _: True, project=globex)
    pad("11T00:10:00Z", 305, lambda _: True, project="2048")
    pad("18T00:10:00Z", 3900, on(18), project="acme-wide")
