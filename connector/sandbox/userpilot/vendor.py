"""The simulated Userpilot: state, API and file host in one, and the methods a test or a demo fills it with.

Everything is answered from memory under one lock, so a test may add events while the servers run in threads. One
instance is one environment (one app token); two instances are two environments.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import msgspec

from connector.sandbox.asgi import Application
from connector.sandbox.messages import Answer, Request
from connector.sandbox.server import serve
from connector.sandbox.userpilot.behaviour import WORLDS, World
from connector.sandbox.userpilot.export_request import ExportRequest
from connector.sandbox.userpilot.file_host import FileHost
from connector.sandbox.userpilot.jobs import Job, Jobs
from connector.sandbox.userpilot.lookups import Lookups
from connector.sandbox.userpilot.router import Router
from connector.sandbox.userpilot.sample import members, sample
from connector.sandbox.userpilot.state import Drop, State
from connector.sandbox.userpilot.store import DAY_US, Event, day_start, made, written

USERPILOT_KEY = "sandbox-userpilot-key"
USERPILOT_KEY_WITHOUT_PLAN = "sandbox-userpilot-key-without-plan"
DAY = 86_400.0


class Userpilot(State):
    """One simulated environment: the API (`app`) and the host of its files (`files`).

    Attributes (`State` lists more):
        file_requests: every request to the file host, with the status of its answer.
        jobs: the export jobs.
        lookups: the lists, and what can go wrong while they are paged.
        keys: API keys and the plan of each: ``full`` or ``none``.
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
        **changes: Any,
    ) -> None:
        """Make an environment without events.

        Args:
            world: ``documented``, ``odd`` or a `World`.
            clock: seconds since 1970.
            key: the API key whose plan has every feature.
            polls_to_complete: a job is done when list or detail show it for this time; 0: done at once.
            seconds_to_complete: if given, a job is done after this time instead.
            url_life: seconds until a file's URL expires.
            job_life: seconds until a job is forgotten.
            rate_limit: requests and seconds of a fixed window; None: no limit.
            prefix: path in front of every route of the API.
            seed: for the ids of jobs.
            changes: single fields of `World` to change.
        """
        super().__init__(
            world=replace(WORLDS[world] if isinstance(world, str) else world, **changes),
            clock=clock,
            keys={key: "full", USERPILOT_KEY_WITHOUT_PLAN: "none"},
            polls_to_complete=polls_to_complete,
            seconds_to_complete=seconds_to_complete,
            url_life=url_life,
            job_life=job_life,
            rate_limit=rate_limit,
            prefix=prefix.rstrip("/"),
            seed=seed,
        )
        self.host = FileHost(self)
        self.jobs = Jobs(self, self.host)
        self.lookups = Lookups(self.world)
        self.app = Application(self)
        self.files = Application(self.host)
        self._router = Router(self, self.jobs, self.lookups)

    @property
    def file_requests(self) -> list[Request]:
        """Every request to the file host."""
        return self.host.requests

    @property
    def files_url(self) -> str:
        """Scheme and host of the files' URLs; `serve_userpilot` sets it."""
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
            at: when it happened; the files spell it as this world does.
            inserted_at: the same time; the files spell it exactly as given here.
            metadata: an object is written as this world writes it, any other value as it is. Default: an empty object.
            arrives: when it can be exported for the first time (None: at once).
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
            self.stored.add([event])

    def load(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Store many events, each given as the arguments of `add_event`; returns their number."""
        given = list(rows)
        for row in given:
            self.add_event(**row)
        return len(given)

    def load_sample(self, first: date, last: date, *, seed: int = 1) -> int:
        """Store the sample of the days ``first`` to ``last`` and the segments' users; returns the number of events.

        Events in the future of the clock can be exported when the clock reaches their time.
        """
        with self.lock:
            self.segments |= members(seed)
            return self.stored.add(sample(first, last, seed))

    def events(self, day: date | str, *, types: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The events of a UTC day that have arrived, in order of time, as they are written into files.

        Args:
            types: only these. None: all of them, including ``session_start``, which an export must ask for.
        """
        with self.lock:
            return [written(event, self.world, self.app_token) for event in self._day(day, types)]

    def count(self, day: date | str, *, types: Iterable[str] | None = None, distinct: bool = False) -> int:
        """How many events of a UTC day have arrived: what a test compares an export with.

        Args:
            types: as for `events`.
            distinct: count events that are equal in every column once.
        """
        if distinct:
            return len({json.dumps(row, sort_keys=True) for row in self.events(day, types=types)})
        with self.lock:
            return len(self._day(day, types))

    def delete_events(self, **columns: Any) -> int:
        """Delete every event with these columns, as a request for erasure does; returns their number."""
        with self.lock:
            return self.stored.remove(columns)

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
        """An export started by another client; it holds the slot for some seconds from ``start`` (None: now).

        Args:
            listed: False: the slot is taken, but neither list nor detail shows the job.
            first, last: the days it exports; its files are real.
            type: a job of another type is listed too and does not hold the slot.
            filters: other fields of `ExportRequest`.
        """
        days = [date.fromisoformat(day) if isinstance(day, str) else day for day in (first, last)]
        asked = ExportRequest(first=days[0], last=days[1], format=self.world.formats[0], **filters)
        with self.lock:
            started = self.clock() if start is None else start
            return self.jobs.start(
                asked, started=started, seconds=seconds, listed=listed, foreign=True, ends=ends, type=type
            )

    def drop_next_post(self, *, created: bool = True, status: int | None = None) -> None:
        """Lose the answer to the next valid request for a job: silence, or a proxy's HTML with ``status``."""
        self.drops.append(Drop(created, status))

    def fail_next_job(self, times: int = 1) -> None:
        """Let the next jobs end as ``failed``, with only a part of their files."""
        self.failing += times

    def lose_job(self, job_id: str) -> None:
        """Forget a job at once."""
        with self.lock:
            self.jobs.lose(job_id)

    def finish_job(self, job_id: str) -> None:
        """End a job now."""
        with self.lock:
            job = self.jobs.find(job_id)
            if job is not None:
                job.ended = self.clock()

    def expire_urls(self) -> None:
        """Expire every URL given out so far. Only a world with fresh URLs gives new ones for an old job."""
        with self.lock:
            self.host.expire()

    def remove_files(self) -> None:
        """Delete all exported files; their URLs then answer 404."""
        with self.lock:
            self.host.objects.clear()

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
        found = self.stored.between(start, start + DAY_US, int(self.clock() * 1_000_000))
        return [event for event in found if wanted is None or event.row["event_type"] in wanted]


@contextlib.contextmanager
def serve_userpilot(vendor: Userpilot, port: int = 0, host: str = "127.0.0.1") -> Iterator[tuple[str, str]]:
    """Answer on two loopback ports until the block ends; gives the base URLs of the API and of the file host.

    Port 0 takes two free ports. With any other port, the file host takes the next one.
    """
    with serve(vendor.files, port + 1 if port else 0, host) as files, serve(vendor.app, port, host) as api:
        vendor.files_url = files
        yield api, files
