"""The simulated Userpilot itself: its settings, its contents, and what a test or a demo may do to it.

Everything is answered from memory under one lock, so a test may add events while the servers run in threads. One
instance is one environment (one app token); two instances are two environments.
"""

import contextlib
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import msgspec

from connector.sandbox.faults import Faults
from connector.sandbox.server import serve
from connector.sandbox.userpilot.behaviour import WORLDS, World
from connector.sandbox.userpilot.export_files import reach
from connector.sandbox.userpilot.export_request import ExportRequest, matching
from connector.sandbox.userpilot.file_host import FileHost
from connector.sandbox.userpilot.jobs import Job, Jobs
from connector.sandbox.userpilot.lookups import Lookups
from connector.sandbox.userpilot.router import Router
from connector.sandbox.userpilot.sample import members, sample
from connector.sandbox.userpilot.store import DAY_US, Event, Events, day_start, made, written
from connector.sandbox.wire import Answer, Application, Request

USERPILOT_KEY = "sandbox-userpilot-key"
USERPILOT_KEY_WITHOUT_PLAN = "sandbox-userpilot-key-without-plan"
APP_TOKEN = "NX-51f4acf7"  # noqa: S105 - names an environment, opens nothing
DAY = 86_400.0


@dataclass(frozen=True)
class Drop:
    """How the next request for a job goes wrong: with or without a job, in silence or with a proxy's ``status``."""

    created: bool
    status: int | None


class Userpilot:
    """One simulated environment: the API (`app`) and the host of its files (`files`).

    Attributes:
        requests: every request to the API, with what it was answered.
        file_requests: the same for the host of the files.
        faults: misbehaviour on demand, by path, on both hosts; a fault without a path hits the next request.
        jobs: the export jobs.
        lookups: the lists, and what can go wrong while they are paged.
        keys: API keys and what their plan has: ``full`` or ``none``.
        segments: user ids by segment id.
        excluded_users, excluded_companies: what ``exclusions`` leaves out.
    """

    def __init__(
        self,
        *,
        world: str | World = "documented",
        clock: Callable[[], float] = time.time,
        key: str = USERPILOT_KEY,
        polls_to_complete: int = 2,
        seconds_to_complete: float | None = None,
        url_life: float = 2 * DAY,
        job_life: float = 3 * DAY,
        rate_limit: tuple[int, float] | None = None,
        prefix: str = "",
        seed: int = 0,
        **manners: Any,
    ) -> None:
        """Make an environment without events.

        Args:
            world: ``documented``, ``odd`` or a `World`.
            clock: seconds since 1970.
            key: the API key that has everything.
            polls_to_complete: the look at a job (list or detail) that finds it done; 0: done at once.
            seconds_to_complete: instead: done by the clock.
            url_life: seconds a file's URL is good for.
            job_life: seconds a job is remembered.
            rate_limit: requests and seconds of a fixed window; None: no limit.
            prefix: path in front of every route of the API.
            seed: for the ids of jobs.
            manners: single fields of `World` that differ from the chosen one.
        """
        self.world: World = replace(WORLDS[world] if isinstance(world, str) else world, **manners)
        self.clock = clock
        self.prefix = prefix.rstrip("/")
        self.rate_limit = rate_limit
        self.app_token = APP_TOKEN
        self.keys = {key: "full", USERPILOT_KEY_WITHOUT_PLAN: "none"}
        self.segments: dict[str, set[str]] = {"101": set(), "102": set(), "103": set()}
        self.excluded_users: set[str] = set()
        self.excluded_companies: set[str] = set()
        self.requests: list[Request] = []
        self.faults = Faults(usual_path="*")
        self.lock = threading.RLock()
        self.host = FileHost(self, clock, url_life)
        self.jobs = Jobs(self.world, self.host, random.Random(seed), clock, job_life, APP_TOKEN)
        self.lookups = Lookups(self.world)
        self.app = Application(self)
        self.files = Application(self.host)
        self._events = Events()
        self._polls, self._seconds = polls_to_complete, seconds_to_complete
        self._drops: deque[Drop] = deque()
        self._failing = 0
        self._router = Router(self)

    @property
    def file_requests(self) -> list[Request]:
        """Every request to the host of the files."""
        return self.host.requests

    @property
    def files_url(self) -> str:
        """How the files' URLs begin; `serve_userpilot` sets it."""
        return self.host.base

    @files_url.setter
    def files_url(self, base: str) -> None:
        self.host.base = base.rstrip("/")

    # ---------- events

    def add_event(
        self,
        *,
        at: str | datetime | None = None,
        event_type: str = "track",
        event_name: str = "",
        user_id: str = "u-0001",
        company_id: str = "",
        metadata: Any = msgspec.UNSET,
        inserted_at: str | None = None,
        arrives: str | datetime | None = None,
        **columns: Any,
    ) -> None:
        """Store one event.

        Args:
            at: when it happened; files write it as this world does.
            inserted_at: the same, written into files exactly as given here.
            metadata: an object is written as this world does, anything else as it is; an empty object if not given.
            arrives: when it can first be exported (None: at once).
            columns: any other column, known or not.
        """
        event = made(
            at=at,
            inserted_at=inserted_at,
            arrives=arrives,
            event_type=event_type,
            event_name=event_name,
            user_id=user_id,
            company_id=company_id,
            metadata={} if metadata is msgspec.UNSET else metadata,
            **columns,
        )
        with self.lock:
            self._events.add([event])

    def load(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Store many events, each the arguments of `add_event`; the number stored."""
        given = list(rows)
        for row in given:
            self.add_event(**row)
        return len(given)

    def load_sample(self, first: date, last: date, *, seed: int = 1) -> int:
        """Store the sample of the days ``first`` to ``last``, and who is in which segment; the number stored.

        What lies in the clock's future arrives when its time comes.
        """
        with self.lock:
            self.segments |= members(seed)
            return self._events.add(sample(first, last, seed))

    def events(self, day: date | str, *, types: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The events of a UTC day that have arrived, as files write them, in order of time.

        Args:
            types: only these (None: all, ``session_start`` too, which an export has only if it asks for it).
        """
        with self.lock:
            return [written(event, self.world, self.app_token) for event in self._day(day, types)]

    def count(self, day: date | str, *, types: Iterable[str] | None = None, distinct: bool = False) -> int:
        """How many events a UTC day has by now: the truth a test compares with.

        Args:
            types: as for `events`.
            distinct: count events that are equal in every column once.
        """
        if distinct:
            return len({json.dumps(row, sort_keys=True) for row in self.events(day, types=types)})
        with self.lock:
            return len(self._day(day, types))

    def delete_events(self, **columns: Any) -> int:
        """Forget every event with these columns, as a request for erasure does; the number forgotten."""
        with self.lock:
            return self._events.remove(columns)

    # ---------- jobs and what goes wrong with them

    def foreign_job(
        self,
        start: float | None = None,
        seconds: float = 60.0,
        *,
        listed: bool = True,
        first: date | str = "2024-05-02",
        last: date | str = "2024-09-30",
        ends: str = "completed",
        type: str = "export",  # noqa: A002 - the vendor's own word
        **filters: Any,
    ) -> Job:
        """Somebody else's export, which holds the slot from ``start`` (None: now) for some seconds of the clock.

        Args:
            listed: False: the slot is taken, and neither list nor detail knows by whom.
            first, last: the days it exports; its files are real.
            type: another type of job is listed as well and holds no slot.
            filters: fields of `ExportRequest`.
        """
        days = [date.fromisoformat(day) if isinstance(day, str) else day for day in (first, last)]
        asked = ExportRequest(first=days[0], last=days[1], format=self.world.formats[0], **filters)
        with self.lock:
            started = self.clock() if start is None else start
            return self.start(
                asked, started=started, seconds=seconds, listed=listed, foreign=True, ends=ends, type=type
            )

    def drop_next_post(self, *, created: bool = True, status: int | None = None) -> None:
        """The next valid request for a job gets no answer, or a proxy's HTML; the job is there or not."""
        self._drops.append(Drop(created, status))

    def fail_next_job(self, times: int = 1) -> None:
        """The next job ends as ``failed``, with a part of its files."""
        self._failing += times

    def lose_job(self, job_id: str) -> None:
        """Forget a job at once."""
        with self.lock:
            self.jobs.lose(job_id)

    def finish_job(self, job_id: str) -> None:
        """Let a job be over now."""
        with self.lock:
            job = self.jobs.find(job_id)
            if job is not None:
                job.ended = self.clock()

    def expire_urls(self) -> None:
        """Make every URL given out so far one of the past; only a world with fresh URLs gives others."""
        with self.lock:
            self.host.expire()

    def remove_files(self) -> None:
        """Empty the host of the files: good URLs, 404."""
        with self.lock:
            self.host.objects.clear()

    # ---------- what the routes need

    def start(self, asked: ExportRequest, **how: Any) -> Job:
        """Make a job of what there is by now."""
        started = how.setdefault("started", self.clock())
        first, end = reach(asked.first, asked.last, self.world)
        found = self._events.between(first, end, int(started * 1_000_000))
        excluded = (self.excluded_users, self.excluded_companies)
        how.setdefault("seconds", self._seconds)
        if not how.get("foreign") and self._failing:
            self._failing -= 1
            how["ends"] = "failed"
        return self.jobs.start(asked, matching(found, asked, self.segments, excluded), needs=self._polls, **how)

    def next_drop(self) -> Drop | None:
        """How this request for a job goes wrong, once."""
        return self._drops.popleft() if self._drops else None

    def answer(self, request: Request) -> Answer:
        """Answer one request to the API and remember it."""
        with self.lock:
            request.at = self.clock()
            self.requests.append(request)
            answer = self._router.answer(request)
            request.status = answer.status
            return answer

    def _day(self, day: date | str, types: Iterable[str] | None) -> list[Event]:
        start, wanted = day_start(day), None if types is None else set(types)
        found = self._events.between(start, start + DAY_US, int(self.clock() * 1_000_000))
        return [event for event in found if wanted is None or event.row["event_type"] in wanted]


@contextlib.contextmanager
def serve_userpilot(vendor: Userpilot, port: int = 0, host: str = "127.0.0.1") -> Iterator[tuple[str, str]]:
    """Answer on two loopback ports until the block ends; gives the base URLs of the API and of the files.

    Port 0 takes free ones, any other the files' is the next one.
    """
    with serve(vendor.files, port + 1 if port else 0, host) as files, serve(vendor.app, port, host) as api:
        vendor.files_url = files
        yield api, files
