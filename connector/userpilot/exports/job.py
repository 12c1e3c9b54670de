"""An export job and everything that can be heard about it. Data only; the decisions are in `machine.py`."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from connector.userpilot.exports.request import Request

# Looks at a completed job, one after the other, that must name the same files before they count as all of them; an
# empty list is more likely one that is still to be filled. So many looks in all until the job counts as lost.
AGREED, AGREED_ON_NOTHING, MOST_LOOKS = 2, 5, 12
STALLED = timedelta(minutes=30)


class State(StrEnum):
    """Where an export stands; see :func:`next_action`."""

    IDLE = "idle"  # nothing was asked for, or the job is gone
    TRIGGERING = "triggering"  # the intent is written down; whether there is a job is not known
    CANDIDATE = "candidate"  # a job that may be the one whose answer was lost
    FOREIGN = "foreign"  # somebody else's export holds the slot
    POLLING = "polling"
    READY = "ready"  # completed; files are being fetched
    FETCHED = "fetched"  # all bytes are ours; what the vendor forgets no longer matters
    LANDED = "landed"
    HALVED = "halved"  # failed twice; two jobs of half the days took its place
    FATAL = "fatal"

    @property
    def is_terminal(self) -> bool:
        """Nothing will happen to this export any more."""
        return self in (State.LANDED, State.HALVED, State.FATAL)

    @property
    def awaits_vendor(self) -> bool:
        """The vendor has not completed the export yet, or it has not been asked for."""
        return not self.is_terminal and self not in (State.READY, State.FETCHED)


class Do(StrEnum):
    """What to do next, and only this."""

    LIST = "list"
    SUBMIT = "submit"
    LOOK = "look"
    WAIT = "wait"
    DOWNLOAD = "download"
    LAND = "land"
    HALVE = "halve"
    STOP = "stop"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what became of it; nothing secret is in it, so it may lie in a ledger.

    Attributes:
        attempts: jobs that the vendor let fail. Refusals for want of a slot are not attempts.
        lost: jobs that were forgotten, or whose files or whose id could not be had.
        intent_at: when the POST was about to be sent; known: the jobs listed just before.
        searches: how often an unanswered POST has been looked for; posts: how often it was sent since.
        job_id, started: of the job we wait for; by our clock, where we saw it start.
        asked_at: when we looked last; looks: how often since it started.
        listed_at: when the slot was last seen free. conflict: the last POST was refused because it is taken.
        halved: this is half of a request that failed twice.
        holder: the job that holds the slot; held_since: since when we see it.
        not_before: nothing happens until then.
        status: the vendor's own word. chunks, chunks_done, chunk_at: progress, and when it last moved.
        files: names of the job's files, once completed. links_until: when their links end.
        agreed: looks since that named the same ones. ended_looks: all looks since it completed.
        fetched: names of the files whose bytes are ours. refused: how often links were refused since the last file.
        fresh: the links are the newest there are; the vendor may give out the same ones until they end.
        problem: why it stands where it stands.
    """

    request: Request
    state: State = State.IDLE
    attempts: int = 0
    lost: int = 0
    intent_at: datetime | None = None
    known: tuple[str, ...] = ()
    searches: int = 0
    posts: int = 0
    job_id: str = ""
    started: datetime | None = None
    asked_at: datetime | None = None
    looks: int = 0
    listed_at: datetime | None = None
    conflict: bool = False
    halved: bool = False
    holder: str = ""
    held_since: datetime | None = None
    not_before: datetime | None = None
    status: str = ""
    chunks: int = 0
    chunks_done: int = 0
    chunk_at: datetime | None = None
    files: tuple[str, ...] = ()
    agreed: int = 0
    ended_looks: int = 0
    links_until: datetime | None = None
    fetched: tuple[str, ...] = ()
    refused: int = 0
    fresh: bool = False
    problem: str = ""

    @property
    def short(self) -> str:
        return f"{self.job_id[:4]}…" if self.job_id else "none"

    @property
    def has_all_files(self) -> bool:
        """Whether ``files`` is the whole list; right after its end a job may name some of them, or none."""
        return self.agreed >= (AGREED if self.files else AGREED_ON_NOTHING)

    def stalled(self, now: datetime) -> bool:
        """No chunk was finished for half an hour: worth a warning, no reason to stop."""
        return self.state == State.POLLING and self.chunk_at is not None and now - self.chunk_at > STALLED

    def sentence(self, now: datetime) -> str:
        """Progress for a person: ``job 1a2b…: in progress 340 s, 3 of 5 chunks``."""
        match self.state:
            case State.POLLING:
                age = int((now - self.started).total_seconds()) if self.started else 0
                chunks = f", {self.chunks_done} of {self.chunks} chunks" if self.chunks else ""
                slow = ", no new chunk for 30 minutes" if self.stalled(now) else ""
                return f"job {self.short}: {(self.status or 'requested').replace('_', ' ')} {age} s{chunks}{slow}"
            case State.FOREIGN | State.CANDIDATE:
                held = int((now - self.held_since).total_seconds()) if self.held_since else 0
                who = f"job {self.holder[:4]}…" if self.holder else "an export that is not listed"
                return f"the export slot is held by {who}, {held} s so far; {self.request.where} waits for it"
            case State.READY:
                return f"job {self.short}: completed, {len(self.fetched)} of {len(self.files)} files fetched"
        wait = f", again after {self.not_before:%H:%M:%S} UTC" if self.not_before and now < self.not_before else ""
        return f"{self.request.where}: {self.state}{wait}{': ' + self.problem if self.problem else ''}"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the vendor shows it. ``links`` are passwords: they stay in this object and are never written down.

    Attributes:
        linkless: it names a file and gives no link to it yet.
    """

    job_id: str
    status: str
    type: str = "export"
    started: datetime | None = None
    ended: datetime | None = None
    chunks: int = 0
    chunks_done: int = 0
    links: dict[str, str] = {}
    linkless: bool = False
    links_until: datetime | None = None

    def __repr__(self) -> str:
        return f"Seen(job_id={self.job_id!r}, status={self.status!r}, files={len(self.links)})"

    @property
    def holds_the_slot(self) -> bool:
        # A word nobody wrote down is not an end; the time of its end is one.
        return self.type == "export" and self.status not in ("completed", "failed") and self.ended is None


class Listed(msgspec.Struct, frozen=True):
    """The list of jobs; ``ours`` are the ids this ledger knows, with the id of the request they were made for."""

    jobs: tuple[Seen, ...]
    ours: dict[str, str] = {}


class Created(msgspec.Struct, frozen=True):
    """The POST was answered with a job."""

    job_id: str
    started: datetime | None = None


class Conflict(msgspec.Struct, frozen=True):
    """The slot is taken."""


class Unclear(msgspec.Struct, frozen=True):
    """The POST may or may not have made a job."""

    problem: str = ""


class Shown(msgspec.Struct, frozen=True):
    """The detail of a job; None: the vendor knows no such job."""

    seen: Seen | None


class Fetched(msgspec.Struct, frozen=True):
    """A file's bytes are ours, proven whole."""

    filename: str


class LinkRefused(msgspec.Struct, frozen=True):
    """The host of the files did not accept a link; ``gone`` if there is nothing behind it."""

    gone: bool = False
    problem: str = ""


Said = Listed | Created | Conflict | Unclear | Shown | Fetched | LinkRefused


def anew(job: Job, problem: str) -> Job:
    """Back to the start: another job is another snapshot, nothing of the old one may stay."""
    return Job(
        request=job.request,
        attempts=job.attempts,
        lost=job.lost,
        halved=job.halved,
        problem=problem,
        known=job.known,
    )


def halves(job: Job) -> tuple[Job, Job]:
    """A job that failed twice as two of half the days; each has one attempt left."""
    first, second = job.request.halves()
    return (
        Job(request=first, attempts=job.attempts, lost=job.lost, halved=True, known=job.known),
        Job(request=second, attempts=job.attempts, lost=job.lost, halved=True, known=job.known),
    )


def changed(job: Job, **changes: Any) -> Job:
    return msgspec.structs.replace(job, **changes)


def utc(text: str | None) -> datetime | None:
    """A moment in any of the vendor's spellings; without a zone it is UTC. None if it cannot be read."""
    try:
        found = datetime.fromisoformat((text or "").strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
