"""Where the attacks happen: for each stream a vendor, a client, a table that holds other content, and the truth.

A stage is made once and used by every fault of the matrix: the vendor is cleaned, the warehouse is a copy of one that
was landed before the vendor's content changed.
"""

import dataclasses
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import httpx

from connector import EVENTS, Exports, OpenPanel, Userpilot, Warehouse, sync_day
from connector.catalogue.reports import Chart, Funnel, Series
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.catalogue.userpilot import LOOKUPS
from connector.http.budget import SharedBudget
from connector.openpanel.reports.config import Questions, streams
from connector.sandbox import READ, USERPILOT_KEY, serve, serve_userpilot
from connector.sandbox import OpenPanel as OpenPanelVendor
from connector.sandbox import Userpilot as UserpilotVendor
from connector.stream import Stream
from connector.userpilot.exports.request import Request
from connector.userpilot.lookups import sync_lookup
from tests.soak import lakes

DAY = date(2026, 3, 4)
FIRST, LAST = date(2026, 3, 2), date(2026, 3, 6)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
# Seconds an export is waited for; by the stage's clock, which sleeping moves.
PATIENCE = 900.0
BOOKKEEPING = {"_load_id", "_landed_at", "_first_seen", "_last_seen", "sampled_at"}
_TLS = ssl.create_default_context()


class Clock:
    """Seconds since 1970; sleeping moves it, so nothing waits."""

    def __init__(self) -> None:
        self.now, self.slept, self._lock = NOW.timestamp(), 0.0, threading.Lock()

    def __call__(self) -> float:
        return self.now

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.slept += seconds


@dataclass
class Detour:
    """Requests that are sent to a wrong address: the error is the one the network stack really has."""

    path: str
    page: int | None
    to: str
    left: int | None = 1


class Network(httpx.BaseTransport):
    """The real transport; counts requests and sends some of them astray."""

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport(verify=_TLS, limits=httpx.Limits(max_connections=20))
        self._lock = threading.Lock()
        self.sent: list[str] = []
        self.active = 0
        self.detours: list[Detour] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.active += 1
            self.sent.append(f"{request.method} {request.url.path}")
            detour = next((one for one in self.detours if self._meets(one, request)), None)
            if detour and detour.left is not None:
                detour.left -= 1
        if detour:
            url = httpx.URL(detour.to)
            request.url = request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port)
        try:
            return self._real.handle_request(request)
        finally:
            with self._lock:
                self.active -= 1

    def settle(self) -> None:
        """Wait until no thread asks any more: threads that were asking when another one failed end their turn."""
        quiet, until = 0, time.monotonic() + 10
        while quiet < 3 and time.monotonic() < until:
            time.sleep(0.005)
            quiet = 0 if self.active else quiet + 1

    def lead_astray(self, path: str, page: int | None, to: str, times: int | None) -> None:
        self.detours.append(Detour(path, page, to, times))

    def _meets(self, detour: Detour, request: httpx.Request) -> bool:
        page = int(request.url.params.get("page", "2" if "after_cursor" in request.url.params else "1"))
        path = request.url.path.rstrip("/")
        return detour.left != 0 and fnmatchcase(path, detour.path) and detour.page in (None, page)

    def close(self) -> None:
        self._real.close()


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is attacked: one stream, or one phase of an export.

    Attributes:
        path, page: the requests that a fault spoils.
        questions: requests that may be under way when the fault meets them.
        rows: SQL for what must be equal to the truth.
    """

    name: str
    stream: Stream
    path: str
    page: int | None = None
    questions: int = 1
    appends: bool = False

    @property
    def table(self) -> str:
        return self.stream.table


@dataclass
class Try:
    """One attempt at landing: where, with which patience.

    Attributes:
        environment: whether the client itself finds its way, by what the environment says.
        away: whether the vendor is on another machine; nothing on this one knows its name.
    """

    folder: Path
    clock: Clock
    network: Network
    timeout: float = 30.0
    deadline: float = 60.0
    lock_wait: float = 5.0
    skew: float = 0.0
    incremental: bool = False
    spoil: Callable[[bytes], bytes] | None = None
    spoils: int | None = None
    allow_undated: bool = False
    environment: bool = False
    away: bool = False

    @property
    def file(self) -> Path:
        return self.folder / "w.duckdb"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.file, lock_wait=self.lock_wait)

    @property
    def transport(self) -> Network | None:
        return None if self.environment else self.network

    def url(self, base: str) -> str:
        return "http://vendor.invalid" if self.away else base


def rows_of(file: Path, table: str) -> list[tuple[Any, ...]]:
    """Every row without what differs between two landings of the same."""
    with lakes.reading(file) as connection:
        schema, name = table.split(".")
        columns = connection.execute(
            "select column_name from duckdb_columns() where schema_name = $1 and table_name = $2 order by column_index",
            [schema, name],
        ).fetchall()
        kept = ", ".join(f'"{column}"' for (column,) in columns if column not in BOOKKEEPING)
        if not kept:
            return []
        return sorted(connection.execute(f'select {kept} from "{schema}"."{name}"').fetchall(), key=repr)


class Stage:
    """A vendor that answers, and landings from it."""

    vendor: Any

    def __init__(self, target: Target, folder: Path, stack: ExitStack) -> None:
        self.target, self.folder = target, folder
        self.base = self._open(stack)
        folder.mkdir(parents=True, exist_ok=True)
        self.template = folder / "before.duckdb"
        (folder / "first").mkdir()
        self.content("before")
        first = self.attempt(folder / "first")
        self.run(first)
        self.requests_before = len(first.network.sent)
        lakes.copy(first.file, self.template)
        self.before = rows_of(self.template, target.table)
        self.content("after")
        clean = self.attempt(self.fresh("clean"))
        self.run(clean)
        self.clean_requests = len(clean.network.sent)
        self.truth = rows_of(clean.file, target.table)
        assert self.before, target.name
        assert self.truth != self.before, f"{target.name}: nothing changes, so nothing can be seen to land"

    def fresh(self, name: str) -> Path:
        """A folder with the warehouse as it was landed before."""
        folder = self.folder / name
        folder.mkdir()
        lakes.copy(self.template, folder / "w.duckdb")
        return folder

    def attempt(self, folder: Path, **options: Any) -> Try:
        return Try(folder=folder, clock=Clock(), network=Network(), **options)

    def asked(self) -> int:
        """Requests that the vendor saw since this was asked last."""
        seen = self.vendor.requests
        count = len(seen) + len(getattr(self.vendor, "file_requests", ()))
        seen.clear()
        return count

    def _open(self, stack: ExitStack) -> str:
        raise NotImplementedError

    def content(self, which: str) -> None:
        """Make the vendor hold what it held before, or what it holds now."""
        raise NotImplementedError

    def run(self, attempt: Try) -> None:
        """Land once, with the real client."""
        raise NotImplementedError

    @property
    def faults(self) -> Any:
        raise NotImplementedError


class OpenPanelStage(Stage):
    """A stream of OpenPanel."""

    def _open(self, stack: ExitStack) -> str:
        self.vendor = OpenPanelVendor(rate_limit=None, clock=lambda: NOW.timestamp() + self.skew)
        self.skew = 0.0
        return stack.enter_context(serve(self.vendor.app))

    def content(self, which: str) -> None:
        if which == "before":
            for number in range(4):
                self._visit(number)
        else:
            for number in range(4, 9):
                self._visit(number)
            self.vendor.remove("v0-0")

    def _visit(self, number: int) -> None:
        for step, name in enumerate(("screen_view", "screen_view", "purchase")):
            self.vendor.add(
                f"v{number}-{step}", at=f"{DAY}T{number * 2:02}:0{step}:00Z", name=name, session_id=f"s{number}",
                profile_id=f"p{number}", device_id=f"d{number}", path=f"/{number}", origin="https://x.example",
                browser="Firefox", country="SE", properties={"__query": "a=1"},
            )  # fmt: skip
        if self.target.stream.name == "insights_live":
            self.vendor.add(
                f"live{number}", at=(NOW - timedelta(seconds=30)).isoformat(), session_id=f"l{number}",
                device_id=f"d{number}", profile_id=f"p{number}",
            )  # fmt: skip

    def client(self, attempt: Try) -> OpenPanel:
        return OpenPanel(
            url=attempt.url(self.base), client_id=READ.id, client_secret=READ.secret, project_id="demo",
            timeout=attempt.timeout, deadline=attempt.deadline, sleep=attempt.clock.sleep, transport=attempt.transport,
            budget=SharedBudget(self.base, folder=attempt.folder / "b", clock=attempt.clock, sleep=attempt.clock.sleep),
        )  # fmt: skip

    def run(self, attempt: Try) -> None:
        self.skew = attempt.skew
        with self.client(attempt) as client:
            try:
                sync_day(
                    client, self.target.stream, DAY, warehouse=attempt.warehouse, spool_dir=attempt.spool,
                    pauses=(0.0, 0.0),
                )  # fmt: skip
            finally:  # what threads still ask after a failure is counted as well
                attempt.network.settle()

    @property
    def faults(self) -> Any:
        return self.vendor.faults


class UserpilotStage(Stage):
    """A phase of an export, or a lookup; every attempt meets an environment of its own behind the same ports."""

    def _open(self, stack: ExitStack) -> str:
        self.vendor = UserpilotVendor()
        self.which, self.files = "before", ""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self.vendor.app(scope, receive, send)

        async def files(scope: Any, receive: Any, send: Any) -> None:
            await self.vendor.files(scope, receive, send)

        pair = type("Pair", (), {"app": staticmethod(app), "files": staticmethod(files), "files_url": ""})()
        api, self.files = stack.enter_context(serve_userpilot(pair))
        return api

    def content(self, which: str) -> None:
        self.which = which

    def attempt(self, folder: Path, **options: Any) -> Try:
        attempt = super().attempt(folder, **options)
        vendor = UserpilotVendor(clock=lambda: attempt.clock() + attempt.skew, file_span="day")
        vendor.files_url = self.files
        count = 6 if self.which == "before" else 11
        for number in range(count):
            day = FIRST + timedelta(days=number % 5)
            vendor.add_event(
                at=f"{day}T{number:02}:00:00Z", event_name=f"{self.which if number < 3 else 'same'} {number}"
            )
        for name in ("flows", "events_properties"):
            items = vendor.lookups.tables[name]
            items += [{**items[0], "id": 9_000 + number, "title": f"more {number}"} for number in range(120)]
            if self.which == "after":
                items.pop(0)
                items[0]["title"] = "Renamed"
        self.vendor = vendor
        return attempt

    def client(self, attempt: Try) -> Userpilot:
        return Userpilot(
            url=attempt.url(self.base), api_key=USERPILOT_KEY, timeout=attempt.timeout, deadline=attempt.deadline,
            sleep=attempt.clock.sleep, transport=attempt.transport, files_transport=attempt.transport,
        )  # fmt: skip

    def run(self, attempt: Try) -> None:
        with self.client(attempt) as client:
            if self.target.stream is not EXPORTED:
                sync_lookup(client, self.target.stream, warehouse=attempt.warehouse, spool_dir=attempt.spool)
                return
            exports = Exports(client, attempt.spool, clock=attempt.clock.moment, sleep=attempt.clock.sleep)
            request = Request.checked(FIRST, LAST, today=NOW.date())
            for job in exports.wait(request, patience=PATIENCE):
                if attempt.spoil:
                    for file in sorted(exports.folder.glob(f"{job.job_id}.chunks/chunk-*"))[: attempt.spoils]:
                        file.write_bytes(attempt.spoil(file.read_bytes()))
                exports.land(job, warehouse=attempt.warehouse, allow_undated=attempt.allow_undated)

    @property
    def faults(self) -> Any:
        return self.vendor.faults


def land_day(url: str, folder: Path, day: date) -> None:
    """What a run of one day does, in a process of its own."""
    with OpenPanel(
        url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo",
        budget=SharedBudget(url, folder=folder / "b"),
    ) as client:  # fmt: skip
        sync_day(
            client, EVENTS, day, warehouse=Warehouse(folder / "w.duckdb", lock_wait=30), spool_dir=folder / "s",
            pauses=(0.0, 0.0), allow_drop=True,
        )  # fmt: skip


_CHARTS = tuple(Chart(name=name, series=(Series(event=name),)) for name in ("screen_view", "purchase"))
_FUNNELS = (Funnel(name="buy", steps=("screen_view", "purchase")),)
_STREAMS = {stream.name: stream for stream in streams(Questions(charts=_CHARTS, funnels=_FUNNELS))}
# Small pages, so that the fault falls into the middle of a walk.
_PAGED = dataclasses.replace(_STREAMS["events"], query=dataclasses.replace(_STREAMS["events"].query, limit=7))
_LOOKUPS = {stream.name: stream for stream in LOOKUPS}
_EXPORTS = "/api/v1/analytics/exports"

TARGETS = (
    Target(name="openpanel events", stream=_PAGED, path="/export/events", page=2),
    Target(name="openpanel insights_metrics", stream=_STREAMS["insights_metrics"], path="/insights/*"),
    Target(name="openpanel insights_pages", stream=_STREAMS["insights_pages"], path="/insights/*"),
    Target(
        name="openpanel insights_breakdowns", stream=_STREAMS["insights_breakdowns"], path="/insights/*", questions=18
    ),
    Target(name="openpanel insights_live", stream=_STREAMS["insights_live"], path="/insights/*", appends=True),
    Target(name="openpanel charts", stream=_STREAMS["charts"], path="/export/charts", questions=2),
    Target(name="openpanel funnels", stream=_STREAMS["funnels"], path="/insights/*"),
    Target(name="openpanel sessions", stream=_STREAMS["sessions"], path="/insights/*/sessions"),
    Target(name="openpanel profiles", stream=_STREAMS["profiles"], path="/insights/*/profiles"),
    Target(name="userpilot trigger", stream=EXPORTED, path=_EXPORTS),
    Target(name="userpilot list", stream=EXPORTED, path=f"{_EXPORTS}/jobs"),
    Target(name="userpilot show", stream=EXPORTED, path=f"{_EXPORTS}/jobs/*"),
    Target(name="userpilot download", stream=EXPORTED, path="/exports/*"),
    Target(name="userpilot land", stream=EXPORTED, path=""),
    Target(name="userpilot lookup, bare", stream=_LOOKUPS["flows"], path="*/lookups/flows"),
    Target(
        name="userpilot lookup, paged", stream=_LOOKUPS["events_properties"], path="*/lookups/events_properties", page=2
    ),
)


@contextmanager
def staged(target: Target, folder: Path) -> Iterator[Stage]:
    """A stage for as long as the block lasts."""
    with ExitStack() as stack:
        kind: Callable[..., Stage] = OpenPanelStage if target.stream.vendor == "openpanel" else UserpilotStage
        yield kind(target, folder, stack)
