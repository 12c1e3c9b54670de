"""The simulated OpenPanel: its state with the routes above it, and the methods a test or a demo fills it with.

Everything is answered from memory under one lock, so a test may add rows while the server runs in a thread.
"""

# ruff: noqa: A002 - ids and types are called so in the vendor's own answers

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import partial
from typing import Any

import msgspec

from connector.sandbox.asgi import Application
from connector.sandbox.messages import Answer, Request
from connector.sandbox.openpanel.auth import READ, ROOT, WRITE
from connector.sandbox.openpanel.router import Router
from connector.sandbox.openpanel.sample import sample
from connector.sandbox.openpanel.state import State
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

FLUSH_MS = 7_000
SESSION_END_LATE_MS = 32 * 60_000


class OpenPanel(State):
    """One simulated server, with a project ``demo`` and three clients (`READ`, `ROOT`, `WRITE`) of it.

    `State` lists its settings and attributes.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.app = Application(self)
        self._router = Router(self)
        self.add_project("demo", organisation="demo-org")
        self.clients |= {client.id: client for client in (READ, ROOT, WRITE)}

    @classmethod
    def with_sample(cls, days: Iterable[date | str], *, sample_seed: int = 1, **settings: Any) -> "OpenPanel":
        """A server whose project ``demo`` holds the sample of some days."""
        vendor = cls(**settings)
        for day in days:
            chosen = date.fromisoformat(day) if isinstance(day, str) else day
            vendor.load_sample(chosen, chosen, seed=sample_seed)
        return vendor

    def add(self, id: str, *, at: str, name: str = "screen_view", project: str = "demo", **fields: Any) -> str:
        """Store one event row, readable at once; returns the id it has in answers.

        An id that is not a UUID is replaced by one (`event_id`); the ``pages`` dialect keeps it. The same id may be
        added twice, because the event store has no unique key.
        """
        with self.lock:
            target = self.projects[project]
            event = target.event({**fields, "id": id, "at": at, "name": name})
            target.events.add(event)
            return event.id

    def load(self, rows: Iterable[Mapping[str, Any]], project: str = "demo") -> int:
        """Store many rows (``at`` or ``created_at``, names in camelCase or snake_case); returns their number."""
        with self.lock:
            return self.projects[project].store(rows)

    def remove(self, id: str, project: str = "demo") -> int:
        """Delete every row with this id; returns their number."""
        with self.lock:
            target = self.projects[project]
            wanted = target.event({"id": id, "at": 0}).id
            return target.events.remove(lambda event: event.id == wanted)

    def load_sample(self, first: date, last: date, *, seed: int = 1, project: str = "demo") -> int:
        """Store the sample of the days ``first`` to ``last``, people and companies included; returns the events stored.

        Events in the future of the clock are stored when the clock reaches them, and the end of a session half an hour
        later, so a demonstration that includes today keeps growing.
        """
        found = sample(first, last, seed)
        with self.lock:
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
        """The number of stored rows of a UTC day: what a test compares an export with."""
        with self.lock:
            return len(self.projects[project].day(day))

    def rows(self, day: date | str, project: str = "demo") -> list[dict[str, Any]]:
        """The stored rows of a UTC day, newest first, in snake_case."""
        with self.lock:
            found = [msgspec.structs.asdict(event) for event in self.projects[project].day(day)]
        for row in found:
            del row["at"]
        return found

    def sessions(self, project: str = "demo") -> list[dict[str, Any]]:
        """The sessions behind the reports, in the order of their beginnings."""
        with self.lock:
            return [session.as_dict() for session in self.sessions_of(self.projects[project]).all]

    def add_project(self, id: str, *, organisation: str = "demo-org", timezone: str | None = None) -> Project:
        """Create a project, and its organisation if that is new."""
        owner = self.organisations.setdefault(organisation, Organisation(organisation))
        owner.timezone = timezone or owner.timezone
        by_uuid = not self.documented
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
        """Create a client of a project, or of a whole organisation (``project`` None)."""
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
        """Create a profile with the fields of `Profile`."""
        profile = self.projects[project].profiles[id] = Profile(id=id, **fields)
        return profile

    def add_group(self, id: str, *, project: str = "demo", **fields: Any) -> Group:
        """Create a group with the fields of `Group`."""
        group = self.projects[project].groups[id] = Group(id=id, **fields)
        return group

    def add_record(self, name: str, *, project: str = "demo", **fields: Any) -> EventRecord:
        """Create a note about an event name; rows of that name then have ``meta``."""
        record = EventRecord(id=self.new_id(), name=name, **fields)
        self.projects[project].records[name] = record
        return record

    def answer(self, request: Request) -> Answer:
        """Answer one request and remember it."""
        with self.lock:
            request.at = self.clock()
            self.requests.append(request)
            self.tick()
            answer = self._router.answer(request)
            request.status = answer.status
            return answer
