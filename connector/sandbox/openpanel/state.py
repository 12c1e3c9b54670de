"""Settings, contents and clock of one simulated OpenPanel: everything its routes read and change.

It answers no request: `router` does, and `vendor` puts both together.
"""

import heapq
import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from connector.sandbox.faults import Faults
from connector.sandbox.messages import RefusalError, Request
from connector.sandbox.openpanel.answers import DocumentedWording, ServerWording, server_error
from connector.sandbox.openpanel.request_budget import Budget
from connector.sandbox.openpanel.sessions import SessionCache, Sessions
from connector.sandbox.openpanel.store import Client, Organisation, Project


@dataclass(kw_only=True, eq=False, repr=False)
class State:
    """One server without its routes.

    Args:
        dialect: ``server``: what the published server does; ``pages``: what its documentation promises.
        rate_limit: requests and seconds of the fixed window; None: no limit and no rate headers.
        clock: seconds since 1970.
        max_limit: 50 makes a server from before 2025-04-16.
        server_timezone: the timezone of the days in ``start`` and ``end``; the event store's, UTC as shipped.
        page_one_lookback: servers from before 2026-03-03 cut page 1 by the look-back window even with both dates.
        prefix: path in front of every route; self-hosted servers have ``/api``.
        visible_after: seconds until a tracked event can be read (about 7 on the real server), and until the buffer of
            profiles is flushed (up to 10 there): changes of one profile meanwhile overwrite each other, and the last
            one wins. With 0, everything can be read at once.
        seed: for the ids of tracked events.
        insights: ``whole``: up to 1000 rows, no paging; ``paged``: servers from before 2026-01-09, whose rows carry
            bounces and durations, whose pages hold 10 rows (50 at most), and which do not check the project. None:
            what the dialect has (the pages document paging).
        unmerged: the event store has not merged yet: lists of sessions and profiles hold an older version of a row
            beside the newest.
        list_filters: the list of profiles reads ``filters``; servers from before about 2026-05-18 ignore them.
        funnel: which of the two funnel routes exists: ``insights``, ``export`` (documented once, never there) or
            ``none``. None: what the dialect has.

    Attributes:
        requests: every request received, with the status of its answer.
        refusals: how many requests were answered 429.
        faults: misbehaviour on demand.
        before_page: called once, just before page N of ``/export/events`` is read.
        before_count: called once, between the list and the count query of page N.
        event_store_down: True makes every query a 500 and the health check a 503.
    """

    dialect: Literal["server", "pages"] = "server"
    rate_limit: tuple[int, float] | None = (100, 10.0)
    clock: Callable[[], float] = time.time
    max_limit: int = 1000
    server_timezone: str = "UTC"
    page_one_lookback: bool = False
    prefix: str = ""
    visible_after: float = 0.0
    seed: int = 0
    insights: Literal["whole", "paged"] | None = None
    unmerged: bool = False
    list_filters: bool = True
    funnel: Literal["insights", "export", "none"] | None = None

    def __post_init__(self) -> None:
        self.documented = self.dialect == "pages"
        self.prefix = self.prefix.rstrip("/")
        self.insights = self.insights or ("paged" if self.documented else "whole")
        self.funnel = self.funnel or ("export" if self.documented else "insights")
        self.wording = DocumentedWording() if self.documented else ServerWording()
        self.event_store_down = False
        self.organisations: dict[str, Organisation] = {}
        self.projects: dict[str, Project] = {}
        self.clients: dict[str, Client] = {}
        self.before_page: dict[int, Callable[[], object]] = {}
        self.before_count: dict[int, Callable[[], object]] = {}
        self.requests: list[Request] = []
        self.refusals = 0
        self.faults = Faults()
        self.budget = Budget(self.rate_limit, self.clock)
        self.lock = threading.RLock()
        self._session_cache = SessionCache()
        self._random = random.Random(self.seed)
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._sequence = itertools.count()

    def now(self) -> int:
        """The clock in milliseconds."""
        return int(self.clock() * 1000)

    def new_id(self) -> str:
        """A random UUID; the same seed gives the same ids."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def later(self, at: int, action: Callable[[], object]) -> None:
        """Run an action when the clock reaches a time in milliseconds."""
        heapq.heappush(self._due, (at, next(self._sequence), action))

    def tick(self) -> None:
        """Run what is due: make tracked events readable, end idle sessions. Every request does this too."""
        with self.lock:
            while self._due and self._due[0][0] <= self.now():
                heapq.heappop(self._due)[2]()

    def sessions_of(self, project: Project) -> Sessions:
        """The sessions of a project as its events are now."""
        return self._session_cache.of(project)

    def check_event_store(self) -> None:
        """Do nothing while the event store is up.

        Raises:
            RefusalError: 500, the event store is down.
        """
        if self.event_store_down:
            raise RefusalError(server_error())
