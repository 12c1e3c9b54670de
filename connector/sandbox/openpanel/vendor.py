"""The simulated OpenPanel itself: its settings, its contents, and what a test or a demo may do to it.

Everything is answered from memory under one lock, so a test may add rows while the server runs in a thread. How a
request is answered stands behind the `door`.
"""

# ruff: noqa: A002 - ids and types are called so in the vendor's own answers

import heapq
import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import partial
from typing import Any, Literal

import msgspec

from connector.sandbox.faults import Faults
from connector.sandbox.openpanel import answers, auth
from connector.sandbox.openpanel.request_budget import Budget
from connector.sandbox.openpanel.router import Router
from connector.sandbox.openpanel.sample import sample
from connector.sandbox.openpanel.sessions import SessionCache
from connector.sandbox.openpanel.store import (
    Client,
    ClientType,
    EventRecord,
    Events,
    Group,
    Organisation,
    Profile,
    Project,
    newest_first,
    newest_first_by_text,
)
from connector.sandbox.wire import Answer, Application, Request

FLUSH_MS = 7_000
SESSION_END_LATE_MS = 32 * 60_000


class OpenPanel:
    """One simulated server, with a project ``demo`` and three clients (`READ`, `ROOT`, `WRITE`) of it.

    Attributes:
        requests: every request seen, with what it was answered.
        refusals: how many requests were answered 429.
        faults: misbehaviour on demand.
        before_page: called once, just before page N of ``/export/events`` is read.
        before_count: called once, between the list and the count query of page N.
        event_store_down: True makes every query a 500 and the health check a 503.
    """

    def __init__(
        self,
        *,
        dialect: Literal["server", "pages"] = "server",
        rate_limit: tuple[int, float] | None = (100, 10.0),
        clock: Callable[[], float] = time.time,
        max_limit: int = 1000,
        server_timezone: str = "UTC",
        page_one_lookback: bool = False,
        prefix: str = "",
        visible_after: float = 0.0,
        seed: int = 0,
        insights: Literal["whole", "paged"] | None = None,
        funnel: Literal["insights", "export", "none"] | None = None,
    ) -> None:
        """Make an empty server.

        Args:
            dialect: ``server``: what the published server does; ``pages``: what its documentation promises.
            rate_limit: requests and seconds of the fixed window; None: no limit and no rate headers.
            clock: seconds since 1970.
            max_limit: 50 makes a server from before 2025-04-16.
            server_timezone: whose days ``start`` and ``end`` mean: the event store's, UTC as shipped.
            page_one_lookback: servers from before 2026-03-03 cut page 1 by the look-back window even with both dates.
            prefix: path in front of every route; self-hosted servers have ``/api``.
            visible_after: seconds until a tracked event can be read (about 7 on the real server).
            seed: for the ids of tracked events.
            insights: ``whole``: up to 1000 rows, no paging; ``paged``: servers from before 2026-01-09, whose rows carry
                bounces and durations, whose pages hold 10 rows (50 at most), and which check no project. None: what
                the dialect has (the pages document paging).
            funnel: which of the two funnel routes there is: ``insights``, ``export`` (documented once, never there) or
                ``none``. None: what the dialect has.
        """
        self.dialect = dialect
        self.clock = clock
        self.max_limit = max_limit
        self.server_timezone = server_timezone
        self.page_one_lookback = page_one_lookback
        self.prefix = prefix.rstrip("/")
        self.visible_after = visible_after
        self.event_store_down = False
        self.insights = insights or ("whole" if dialect == "server" else "paged")
        self.funnel = funnel or ("insights" if dialect == "server" else "export")
        self.visits = SessionCache()
        self.say = answers.Server() if dialect == "server" else answers.Pages()
        self.organisations: dict[str, Organisation] = {}
        self.projects: dict[str, Project] = {}
        self.clients: dict[str, Client] = {}
        self.before_page: dict[int, Callable[[], object]] = {}
        self.before_count: dict[int, Callable[[], object]] = {}
        self.requests: list[Request] = []
        self.refusals = 0
        self.faults = Faults()
        self.app = Application(self)
        self.budget = Budget(rate_limit, clock)
        self._random = random.Random(seed)
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._sequence = itertools.count()
        self._lock = threading.RLock()
        self._router = Router(self)
        self.add_project("demo", organisation="demo-org")
        for client in (auth.READ, auth.ROOT, auth.WRITE):
            self.clients[client.id] = client

    @classmethod
    def with_sample(cls, days: Iterable[date | str], *, sample_seed: int = 1, **settings: Any) -> "OpenPanel":
        """A server whose project ``demo`` holds the sample of some days."""
        vendor = cls(**settings)
        for day in days:
            chosen = date.fromisoformat(day) if isinstance(day, str) else day
            vendor.load_sample(chosen, chosen, seed=sample_seed)
        return vendor

    # ---------- what a test or a demo may do

    def add(self, id: str, *, at: str, name: str = "screen_view", project: str = "demo", **fields: Any) -> str:
        """Store one event row, readable at once, and give the id it has in answers.

        A name that is no UUID gets one of its own (`event_id`); the ``pages`` dialect keeps it as it is. The same
        id may be added twice: the event store has no unique key.
        """
        with self._lock:
            target = self.projects[project]
            event = target.event({**fields, "id": id, "at": at, "name": name})
            target.events.add(event)
            return event.id

    def load(self, rows: Iterable[Mapping[str, Any]], project: str = "demo") -> int:
        """Store many rows (``at`` or ``created_at``, names in either case); the number stored."""
        with self._lock:
            return self.projects[project].store(rows)

    def remove(self, id: str, project: str = "demo") -> int:
        """Drop every row with this id; the number dropped."""
        with self._lock:
            target = self.projects[project]
            wanted = target.event({"id": id, "at": 0}).id
            return target.events.remove(lambda event: event.id == wanted)

    def load_sample(self, first: date, last: date, *, seed: int = 1, project: str = "demo") -> int:
        """Store the sample of the days ``first`` to ``last``, its people and companies; the number of events stored.

        What lies in the clock's future arrives when its time comes, the end of a session half an hour late, so a
        demonstration that includes today keeps growing.
        """
        found = sample(first, last, seed)
        with self._lock:
            target = self.projects[project]
            for group in found.groups:
                self.add_group(**group, project=project)
            for profile in found.profiles:
                known = target.profiles.get(profile["id"])
                profile["last_seen_at"] = max(profile["last_seen_at"], known.last_seen_at if known else 0)
                self.add_profile(**profile, project=project)
            for record in found.records:
                self.add_record(**record, project=project)
            now, stored = self.now(), 0
            for event in map(target.event, found.events):
                due = event.at + (SESSION_END_LATE_MS if event.name == "session_end" else FLUSH_MS)
                if due <= now:
                    target.events.add(event)
                    stored += 1
                else:
                    self.later(due, partial(target.events.add, event))
            return stored

    def count(self, day: date | str, project: str = "demo") -> int:
        """The raw rows of a UTC day: the truth a test compares with."""
        with self._lock:
            return len(self.projects[project].day(day))

    def rows(self, day: date | str, project: str = "demo") -> list[dict[str, Any]]:
        """The stored rows of a UTC day, newest first, in snake_case."""
        with self._lock:
            found = [msgspec.structs.asdict(event) for event in self.projects[project].day(day)]
        for row in found:
            del row["at"]
        return found

    def sessions(self, project: str = "demo") -> list[dict[str, Any]]:
        """The sessions behind the reports, in the order in which they began."""
        with self._lock:
            return [session.as_dict() for session in self.visits.of(self.projects[project]).all]

    def add_project(self, id: str, *, organisation: str = "demo-org", timezone: str | None = None) -> Project:
        """Make a project; its organisation is made with it, if it is new."""
        owner = self.organisations.setdefault(organisation, Organisation(organisation))
        owner.timezone = timezone or owner.timezone
        by_uuid = self.dialect == "server"
        order: Callable[[Any], Any] = newest_first if by_uuid else newest_first_by_text
        project = self.projects[id] = Project(id, owner, Events(order), as_uuids=by_uuid)
        return project

    def add_client(
        self,
        id: str,
        secret: str | None,
        type: ClientType,
        *,
        project: str | None = "demo",
        organisation: str | None = None,
        ignore_cors_and_secret: bool = False,
    ) -> Client:
        """Make a client of a project, or of a whole organisation (``project`` None)."""
        owner = organisation or (self.projects[project].organisation.id if project else "demo-org")
        client = self.clients[id] = Client(
            id=id,
            secret=secret,
            type=type,
            project=project,
            organisation=owner,
            ignore_cors_and_secret=ignore_cors_and_secret,
        )
        return client

    def add_profile(self, id: str, *, project: str = "demo", **fields: Any) -> Profile:
        """Make a person known, with the fields of `Profile`."""
        profile = self.projects[project].profiles[id] = Profile(id=id, **fields)
        return profile

    def add_group(self, id: str, *, project: str = "demo", **fields: Any) -> Group:
        """Make a group known, with the fields of `Group`."""
        group = self.projects[project].groups[id] = Group(id=id, **fields)
        return group

    def add_record(self, name: str, *, project: str = "demo", **fields: Any) -> EventRecord:
        """Note something about an event name; rows of that name then carry ``meta``."""
        record = EventRecord(id=self.new_id(), name=name, **fields)
        self.projects[project].records[name] = record
        return record

    def tick(self) -> None:
        """Do what is due by the clock: make tracked events readable, end idle sessions. Every request does it too."""
        with self._lock:
            while self._due and self._due[0][0] <= self.now():
                heapq.heappop(self._due)[2]()

    # ---------- what the routes need

    def now(self) -> int:
        """The clock in milliseconds."""
        return int(self.clock() * 1000)

    def new_id(self) -> str:
        """A random UUID, the same ones for the same seed."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def later(self, at: int, deed: Callable[[], object]) -> None:
        """Do something when the clock says so."""
        heapq.heappush(self._due, (at, next(self._sequence), deed))

    def answer(self, request: Request) -> Answer:
        """Answer one request and remember it."""
        with self._lock:
            request.at = self.clock()
            self.requests.append(request)
            self.tick()
            answer = self._router.answer(request)
            request.status = answer.status
            return answer
