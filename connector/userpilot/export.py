"""An export job as data and two pure functions: what the vendor said changes the job, job and time say what to do.

Time is an argument; nothing here asks, waits or writes. ``CONTRACT.md`` 5 is the table these functions implement.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

import msgspec

from connector.errors import RejectedError
from connector.userpilot.streams import DEFAULT_EVENT_TYPES, EVENT_TYPES

Format = Literal["json", "csv"]

# The status of a job is forgotten three days after it was made.
JOB_LIVES = timedelta(days=3)
# A job that was just made may not be known everywhere yet.
SETTLES = timedelta(minutes=5)
# Links are asked for anew this long before they end.
LINKS_MARGIN = timedelta(minutes=15)
# Two clocks apart, and the time a request travels.
SKEW = timedelta(minutes=2)
# A listing older than this says nothing about the slot now.
LISTING_LIVES = timedelta(seconds=10)
POLL_FIRST, POLL_MOST = timedelta(seconds=5), timedelta(seconds=60)
SLOT_POLL = timedelta(seconds=30)
# How often an unanswered POST is looked for before it counts as never arrived, and the pause between two looks.
SEARCHES, SEARCH_PAUSE = 3, timedelta(seconds=4)
BACK_OFF = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
ATTEMPTS = 3
REFUSED_LINKS = 2
# Exports of one request whose files could not be had; each costs the vendor a whole export, so they are few.
LOSSES = 3
# Looks at a completed job, one after the other, that must name the same files before they count as all of them; an
# empty list is more likely one that is still to be filled. So many looks in all until the job counts as lost.
AGREED, AGREED_ON_NOTHING, MOST_LOOKS = 2, 5, 12
STALLED = timedelta(minutes=30)


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an export holds besides its days. The vendor ignores keys it does not know, so only these exist.

    Attributes:
        event_type: kinds of events; the vendor's six if empty (session_start is not among them).
        user_id, company_id: only events of these; everybody's if empty.
        segment_id: only events of this segment; a text although it looks like a number.
        exclusions: leave out the users and companies that are excluded in the web app.
        format: json lines or csv; csv has no "no value" apart from an empty one.
        emails: who is sent a message with download links. Whoever has a link has the data.
    """

    event_type: tuple[str, ...] = ()
    user_id: tuple[str, ...] = ()
    company_id: tuple[str, ...] = ()
    segment_id: str = ""
    exclusions: bool = False
    format: Format = "json"
    emails: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Options":
        """Options from a run's configuration or a command line, checked.

        Raises:
            RejectedError: an unknown key, an unknown event type, a value of another type.
        """
        known = set(cls.__struct_fields__)
        if unknown := sorted(set(given) - known):
            raise _wrong(f"{', '.join(unknown)} is not an option", f"use {', '.join(sorted(known))}.")
        try:
            options = msgspec.convert({key: _listed(key, value) for key, value in given.items()}, cls)
        except msgspec.ValidationError as fault:
            raise _wrong(str(fault), "see the table of options in the README.") from None
        if odd := sorted(set(options.event_type) - set(EVENT_TYPES)):
            raise _wrong(f"event_type {', '.join(odd)} does not exist", f"use {', '.join(EVENT_TYPES)}.")
        for key in ("event_type", "user_id", "company_id", "emails"):
            if any(not text.strip() for text in getattr(options, key)):
                raise _wrong(f"{key} holds an empty text", "leave the option out to export everything.")
        return options

    @property
    def types(self) -> frozenset[str]:
        """Kinds of events that may be in the files."""
        return frozenset(self.event_type or DEFAULT_EVENT_TYPES)

    @property
    def fingerprint(self) -> str:
        """Equal for requests that hold the same rows; who is written to and how rows are packed do not count."""
        rows = {
            "event_type": sorted(self.types),
            "user_id": sorted(self.user_id),
            "company_id": sorted(self.company_id),
            "segment_id": self.segment_id,
            "exclusions": self.exclusions,
        }
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One export to ask for: the UTC days to be landed, both included, and the options."""

    first: date
    last: date
    options: Options = Options()

    @classmethod
    def checked(cls, first: date, last: date, options: Options | None = None, *, today: date) -> "Request":
        """A request whose days make sense.

        Raises:
            RejectedError: the days are in the wrong order, or in the future.
        """
        if last < first:
            raise _wrong(f"the last day {last} is before the first {first}", "swap the two days.")
        if last > today:
            raise _wrong(f"the last day {last} is in the future", f"ask for days up to {today}.")
        return cls(first=first, last=last, options=options or Options())

    @property
    def id(self) -> str:
        """Equal for equal requests."""
        return f"{self.first:%Y%m%d}-{self.last:%Y%m%d}-{self.options.fingerprint[:8]}-{self.options.format}"

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=offset) for offset in range((self.last - self.first).days + 1)]

    @property
    def where(self) -> str:
        return f"userpilot.events[{self.first}..{self.last}]"

    def body(self) -> dict[str, Any]:
        """What is POSTed: known keys only, and none that holds its default.

        A day before and two after: `to` may be excluded, and both may follow a zone up to 14 hours away from UTC.
        The types of events are always named: which ones come unasked depends on the generation of the server.
        """
        options = self.options
        asked: dict[str, Any] = {
            "from": (self.first - timedelta(days=1)).isoformat(),
            "to": (self.last + timedelta(days=2)).isoformat(),
            "format": options.format,
            "event_type": list(options.event_type or DEFAULT_EVENT_TYPES),
        }
        for key in ("user_id", "company_id", "emails"):
            if values := getattr(options, key):
                asked[key] = list(values)
        if options.segment_id:
            asked["segment_id"] = options.segment_id
        if options.exclusions:
            asked["exclusions"] = True
        return asked

    def halves(self) -> tuple["Request", "Request"]:
        """Two requests of half the days each."""
        middle = self.first + (self.last - self.first) // 2
        return msgspec.structs.replace(self, last=middle), msgspec.structs.replace(
            self, first=middle + timedelta(days=1)
        )


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


def submitting(job: Job, now: datetime, known: Collection[str] = ()) -> Job:
    """The intent, to be written down before the POST."""
    return _of(
        job,
        state=State.TRIGGERING,
        intent_at=now,
        known=tuple(sorted({*job.known, *known})),
        searches=0,
        posts=job.posts + 1,
        not_before=None,
    )


def heard(job: Job, said: Said, now: datetime) -> Job:
    """The job after the vendor said something."""
    match said:
        case Created(job_id=job_id):
            return _polling(
                job, job_id, now, now
            )  # not by the vendor's clock: days apart, the job would look forgotten
        case Conflict():
            # Says nothing about who it is; the list does. Never an attempt.
            return _of(job, state=State.IDLE, listed_at=None, posts=0, intent_at=None, conflict=True)
        case Unclear(problem=problem):
            return _of(job, problem=problem, not_before=now + SEARCH_PAUSE)
        case Listed():
            return _after_list(job, said, now)
        case Shown(seen=None):
            return _after_404(job, now)
        case Shown(seen=Seen() as seen):
            return _after_look(job, seen, now)
        case Fetched(filename=name):
            fetched = tuple(sorted({*job.fetched, name}))
            state = State.FETCHED if set(fetched) >= set(job.files) else State.READY
            return _of(job, fetched=fetched, state=state, refused=0, fresh=False)
        case LinkRefused(gone=gone, problem=problem):
            if gone or job.refused + 1 >= REFUSED_LINKS:
                return _lost(job, f"its files cannot be had{': ' + problem if problem else ''}", now)
            return _of(job, refused=job.refused + 1, links_until=now, fresh=False)
    raise AssertionError(said)


def next_action(job: Job, now: datetime) -> tuple[Job, Do]:
    """What to do with a job at a moment. Nothing is asked, waited for or written here."""
    if job.state.is_terminal:
        return job, Do.STOP
    if job.state == State.FETCHED:
        return job, Do.LAND
    if job.not_before is not None and now < job.not_before:
        return job, Do.WAIT
    match job.state:
        case State.IDLE if job.attempts >= ATTEMPTS:
            return _of(job, state=State.FATAL), Do.STOP
        case State.IDLE if job.attempts == ATTEMPTS - 1 and not job.halved and job.request.first < job.request.last:
            return job, Do.HALVE
        case State.IDLE if job.listed_at is None or now - job.listed_at > LISTING_LIVES:
            return job, Do.LIST
        case State.IDLE:
            return job, Do.SUBMIT
        case State.TRIGGERING:
            return job, Do.LIST
        case State.FOREIGN | State.CANDIDATE:
            return job, Do.WAIT if job.asked_at and now - job.asked_at < SLOT_POLL else Do.LIST
        case State.POLLING if job.started and now - job.started >= JOB_LIVES:
            return next_action(_lost(job, "the vendor has forgotten the job", now), now)
        case State.POLLING:
            return job, Do.WAIT if job.asked_at and now - job.asked_at < _poll(job.looks) else Do.LOOK
        case State.READY if job.has_all_files and set(job.fetched) >= set(job.files):
            return _of(job, state=State.FETCHED), Do.LAND
        case State.READY if job.started and now - job.started >= JOB_LIVES:
            return next_action(_lost(job, "the vendor has forgotten the job before all files were fetched", now), now)
        case State.READY if not job.has_all_files:
            # The first look at a completed job was on its way while it ended; another one tells whether that was all.
            # At once, unless there is a sign that more are to come.
            once_more = job.agreed and len(job.files) >= max(job.chunks, 1)
            return job, Do.LOOK if once_more or not job.asked_at or now - job.asked_at >= POLL_FIRST else Do.WAIT
        case State.READY if not job.fresh and job.links_until is not None and now >= job.links_until - LINKS_MARGIN:
            return job, Do.LOOK
    return job, Do.DOWNLOAD


def waits_until(job: Job, now: datetime) -> datetime:
    """When a job whose action is WAIT should be looked at again."""
    if job.not_before is not None and now < job.not_before:
        return job.not_before
    if job.state == State.READY:
        return (job.asked_at or now) + POLL_FIRST
    pause = SLOT_POLL if job.state in (State.FOREIGN, State.CANDIDATE) else _poll(job.looks)
    return (job.asked_at or now) + pause


def _poll(looks: int) -> timedelta:
    return min(POLL_FIRST * 1.5 ** min(looks, 20), POLL_MOST)


def _after_list(job: Job, said: Listed, now: datetime) -> Job:
    running = [seen for seen in said.jobs if seen.holds_the_slot]
    for seen in running:
        if said.ours.get(seen.job_id) == job.request.id and job.state in (State.IDLE, State.FOREIGN, State.CANDIDATE):
            return _polling(job, seen.job_id, seen.started or now, now)  # ours, from a process that died: adopted
    if job.state == State.TRIGGERING:
        since = (job.intent_at or now) - SKEW
        new = [
            seen
            for seen in said.jobs
            if seen.type == "export"
            and seen.job_id not in job.known
            and seen.job_id not in said.ours
            and (seen.started is None or seen.started >= since)
        ]
        if new and job.posts:
            # Probably ours, and of no use: each costs the vendor a whole export, so they are few as well.
            if job.lost + 1 >= LOSSES:
                why = f": {job.problem}" if job.problem else ""
                return _lost(job, f"requests were answered in no usable way{why}", now)
            job = _of(job, lost=job.lost + 1, known=tuple(sorted({*job.known, *(seen.job_id for seen in new)})))
        if len(new) == 1 and new[0].holds_the_slot:
            # Neither list nor detail says what a job exports, so its files are never landed; its end is waited for.
            return _held(job, State.CANDIDATE, new[0].job_id, now)
        if new or running:
            return _held(job, State.FOREIGN, running[0].job_id, now) if running else _free(job, now)
        if job.searches + 1 < SEARCHES:
            return _of(job, searches=job.searches + 1, not_before=now + SEARCH_PAUSE, asked_at=now)
        return _free(job, now)
    if running:
        state = State.CANDIDATE if job.state == State.CANDIDATE else State.FOREIGN
        return _held(job, state, running[0].job_id, now)
    if job.conflict:
        # 409 and nobody is listed: somebody the list does not show. Wait as for any other.
        return _held(job, State.FOREIGN, "", now)
    return _free(job, now)


def _after_look(job: Job, seen: Seen, now: datetime) -> Job:
    moved = seen.chunks_done > job.chunks_done or job.chunk_at is None
    told = _of(
        job,
        asked_at=now,
        looks=job.looks + 1,
        status=seen.status,
        started=job.started or seen.started,
        chunks=seen.chunks,
        chunks_done=seen.chunks_done,
        chunk_at=now if moved else job.chunk_at,
    )
    if seen.status == "failed":
        return _failed(told, now)
    if seen.status != "completed":
        # A word nobody wrote down is not an end.
        return told if job.state != State.READY else _lost(job, "a completed job runs again", now)
    names = tuple(sorted(seen.links))
    first, same = job.state != State.READY, names == job.files and not seen.linkless
    if not first and job.has_all_files and job.files and not same:
        return _lost(job, "the set of its files changed: two snapshots must not be mixed", now)
    looks = 1 if first else job.ended_looks + 1
    if looks > MOST_LOOKS and not same:
        return _lost(job, f"the list of its files was another one at each of {looks} looks", now)
    agreed = job.agreed + 1 if same and not first else int(first and not seen.linkless)
    return _of(
        told,
        state=State.READY,
        files=names,
        agreed=agreed,
        ended_looks=looks,
        links_until=seen.links_until,
        fresh=True,
    )


def _after_404(job: Job, now: datetime) -> Job:
    if job.started is not None and now - job.started < SETTLES:
        return _of(job, asked_at=now, looks=job.looks + 1, problem="the job is not known everywhere yet")
    return _lost(job, "the vendor does not know the job any more", now)


def _failed(job: Job, now: datetime) -> Job:
    """The vendor's failure: wait a while, ask again, at last for half the days; what it had made is thrown away."""
    attempts = job.attempts + 1
    problem = f"job {job.short} failed at the vendor ({attempts} of {ATTEMPTS} attempts)"
    if attempts >= ATTEMPTS:
        return _of(job, state=State.FATAL, attempts=attempts, problem=problem, fetched=())
    return _of(_anew(job, problem), attempts=attempts, not_before=now + BACK_OFF[attempts - 1])


def _lost(job: Job, problem: str, now: datetime) -> Job:
    """Another export is needed: at once the first time, after a while the second, and no third time."""
    lost = job.lost + 1
    if lost >= LOSSES:
        problem = f"{lost} exports were lost one after the other: {problem}"
        return _of(job, state=State.FATAL, lost=lost, problem=problem, fetched=())
    return _of(_anew(job, problem), lost=lost, not_before=now + BACK_OFF[1] if lost > 1 else None)


def _anew(job: Job, problem: str) -> Job:
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


def _free(job: Job, now: datetime) -> Job:
    return _of(
        job,
        state=State.IDLE,
        listed_at=now,
        asked_at=now,
        # Two POSTs that were never answered: the next one waits until whatever is broken had a chance. Only right
        # after a POST: a list seen while waiting must not make the wait begin again.
        not_before=now + BACK_OFF[0] if job.posts > 1 and job.state == State.TRIGGERING else None,
        searches=0,
    )


def _held(job: Job, state: State, holder: str, now: datetime) -> Job:
    since = job.held_since if job.held_since and job.holder == holder else now
    return _of(
        job, state=state, holder=holder, held_since=since, asked_at=now, posts=0, not_before=None, conflict=False
    )


def _polling(job: Job, job_id: str, started: datetime, now: datetime) -> Job:
    return Job(
        request=job.request,
        state=State.POLLING,
        attempts=job.attempts,
        lost=job.lost,
        halved=job.halved,
        intent_at=job.intent_at,
        known=job.known,
        job_id=job_id,
        started=started,
        chunk_at=now,
    )


def _of(job: Job, **changes: Any) -> Job:
    return msgspec.structs.replace(job, **changes)


def _listed(key: str, value: Any) -> Any:
    """A single text where a list is meant is that one; a number is no id, see the contract."""
    return (value,) if key in ("event_type", "user_id", "company_id", "emails") and isinstance(value, str) else value


def _wrong(problem: str, next_step: str) -> RejectedError:
    return RejectedError(f"this export cannot be asked for: {problem}", where="userpilot.events", next_step=next_step)


def utc(text: str | None) -> datetime | None:
    """A moment in any of the vendor's spellings; without a zone it is UTC. None if it cannot be read."""
    try:
        found = datetime.fromisoformat((text or "").strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
