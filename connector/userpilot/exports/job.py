"""An export job, and every report about it: what the vendor answered, or what a download gave. Data only.

The decisions are in ``machine.py``.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from connector.userpilot.exports.request import Request

# Consecutive looks at a completed job that must name the same files before the list counts as complete. An empty list
# needs more, because it is probably still being filled. The third number: looks until the job counts as lost.
AGREED, AGREED_ON_NOTHING, MOST_LOOKS = 2, 5, 12
STALLED = timedelta(minutes=30)


class State(StrEnum):
    """Where an export stands; see :func:`next_action`."""

    IDLE = "idle"  # nothing was requested, or the job is gone
    TRIGGERING = "triggering"  # the intent is written down; whether a job exists is not known
    CANDIDATE = "candidate"  # a job that may be ours holds the slot: the answer to our request was lost
    FOREIGN = "foreign"  # an export that is not ours holds the slot
    POLLING = "polling"
    READY = "ready"  # completed; files are being fetched
    FETCHED = "fetched"  # all files are on our disk; the vendor may forget the job
    LANDED = "landed"
    HALVED = "halved"  # failed twice and was replaced by two jobs of half the days
    FATAL = "fatal"

    @property
    def is_terminal(self) -> bool:
        """Whether this export has ended."""
        return self in (State.LANDED, State.HALVED, State.FATAL)

    @property
    def awaits_vendor(self) -> bool:
        """Whether the export was not requested yet, or the vendor has not completed it."""
        return not self.is_terminal and self not in (State.READY, State.FETCHED)


class Do(StrEnum):
    """The next step."""

    LIST = "list"
    SUBMIT = "submit"
    LOOK = "look"
    WAIT = "wait"
    DOWNLOAD = "download"
    LAND = "land"
    HALVE = "halve"
    STOP = "stop"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its state. It holds no secret, so it may be written to the ledger.

    Attributes:
        attempts: jobs that failed at the vendor. A refusal because the slot is in use is not an attempt.
        lost: jobs that the vendor forgot, or whose id or files could not be fetched.
        intent_at: time just before the POST. known: the ids of jobs listed before it.
        searches: how often the list was searched for the job of an unanswered POST. posts: POSTs in this round.
        job_id, started: the job we wait for, and when it started; by our clock if we saw it start.
        asked_at: time of the last look. looks: looks since the job started.
        listed_at: when the slot was last seen free. conflict: the last POST was refused because the slot is in use.
        halved: this is half of a request that failed twice.
        holder: id of the job that holds the slot. held_since: when we first saw it there.
        not_before: nothing is done before this time.
        status: the vendor's own word. chunks, chunks_done, chunk_at: progress, and the time of its last change.
        files: names of a completed job's files. links_until: when their links expire.
        agreed: consecutive looks that named the same files. ended_looks: all looks since the job completed.
        fetched: names of the files on our disk. refused: how often links were refused since the last file.
        fresh: the links are the newest there are; the vendor may return the same ones until they expire.
        problem: the reason for the present state.
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
        """Whether ``files`` is the complete list. Right after its end a job may name only some of them, or none."""
        return self.agreed >= (AGREED if self.files else AGREED_ON_NOTHING)

    def stalled(self, now: datetime) -> bool:
        """Whether no chunk was finished for half an hour. A reason for a warning, not for an error."""
        return self.state == State.POLLING and self.chunk_at is not None and now - self.chunk_at > STALLED

    def sentence(self, now: datetime) -> str:
        """The progress in one sentence: ``job 1a2b…: in progress 340 s, 3 of 5 chunks``."""
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
    """A job as the vendor shows it. Its ``links`` work like passwords: they are never written down.

    Attributes:
        linkless: the job names a file that has no link yet.
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
        # An undocumented status does not mean that the job ended; an end time does.
        return self.type == "export" and self.status not in ("completed", "failed") and self.ended is None


class Listed(msgspec.Struct, frozen=True):
    """The list of jobs. ``ours``: job id -> request id of the jobs in our ledger."""

    jobs: tuple[Seen, ...]
    ours: dict[str, str] = {}


class Created(msgspec.Struct, frozen=True):
    """The POST was answered with a job."""

    job_id: str
    started: datetime | None = None


class Conflict(msgspec.Struct, frozen=True):
    """The POST was refused because the slot is in use."""


class Unclear(msgspec.Struct, frozen=True):
    """The POST was not answered clearly: it may have created a job."""

    problem: str = ""


class Shown(msgspec.Struct, frozen=True):
    """One job; None if the vendor does not know it."""

    seen: Seen | None


class Fetched(msgspec.Struct, frozen=True):
    """A file was downloaded and proven whole."""

    filename: str


class LinkRefused(msgspec.Struct, frozen=True):
    """The file host refused a link; ``gone`` if the file does not exist any more."""

    gone: bool = False
    problem: str = ""


Report = Listed | Created | Conflict | Unclear | Shown | Fetched | LinkRefused


def restarted(job: Job, problem: str) -> Job:
    """The job back at the start. Another export is another snapshot, so no file of the old one may be kept."""
    return Job(
        request=job.request,
        attempts=job.attempts,
        lost=job.lost,
        halved=job.halved,
        problem=problem,
        known=job.known,
    )


def halves(job: Job) -> tuple[Job, Job]:
    """Two jobs of half the days each in place of a job that failed twice; each has one attempt left."""
    first, second = job.request.halves()
    return (
        Job(request=first, attempts=job.attempts, lost=job.lost, halved=True, known=job.known),
        Job(request=second, attempts=job.attempts, lost=job.lost, halved=True, known=job.known),
    )


def changed(job: Job, **changes: Any) -> Job:
    return msgspec.structs.replace(job, **changes)


def utc(text: str | None) -> datetime | None:
    """A time in any of the vendor's formats, UTC if it has no zone; None if it cannot be read."""
    try:
        found = datetime.fromisoformat((text or "").strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
