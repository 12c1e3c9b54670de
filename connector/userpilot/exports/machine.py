"""An export job as data and two pure functions: what the vendor said changes the job, job and time say what to do.

Time is an argument; nothing here asks, waits or writes. ``CONTRACT.md`` 5 is the table these functions implement.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from connector.userpilot.exports.job import (
    MOST_LOOKS,
    Conflict,
    Created,
    Do,
    Fetched,
    Job,
    LinkRefused,
    Listed,
    Said,
    Seen,
    Shown,
    State,
    Unclear,
    anew,
    changed,
)

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


def submitting(job: Job, now: datetime, known: Collection[str] = ()) -> Job:
    """The intent, to be written down before the POST."""
    return changed(
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
            return changed(job, state=State.IDLE, listed_at=None, posts=0, intent_at=None, conflict=True)
        case Unclear(problem=problem):
            return changed(job, problem=problem, not_before=now + SEARCH_PAUSE)
        case Listed():
            return _after_list(job, said, now)
        case Shown(seen=None):
            return _after_404(job, now)
        case Shown(seen=Seen() as seen):
            return _after_look(job, seen, now)
        case Fetched(filename=name):
            fetched = tuple(sorted({*job.fetched, name}))
            state = State.FETCHED if set(fetched) >= set(job.files) else State.READY
            return changed(job, fetched=fetched, state=state, refused=0, fresh=False)
        case LinkRefused(gone=gone, problem=problem):
            if gone or job.refused + 1 >= REFUSED_LINKS:
                return _lost(job, f"its files cannot be had{': ' + problem if problem else ''}", now)
            return changed(job, refused=job.refused + 1, links_until=now, fresh=False)
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
            return changed(job, state=State.FATAL), Do.STOP
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
            return changed(job, state=State.FETCHED), Do.LAND
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
            job = changed(job, lost=job.lost + 1, known=tuple(sorted({*job.known, *(seen.job_id for seen in new)})))
        if len(new) == 1 and new[0].holds_the_slot:
            # Neither list nor detail says what a job exports, so its files are never landed; its end is waited for.
            return _held(job, State.CANDIDATE, new[0].job_id, now)
        if new or running:
            return _held(job, State.FOREIGN, running[0].job_id, now) if running else _free(job, now)
        if job.searches + 1 < SEARCHES:
            return changed(job, searches=job.searches + 1, not_before=now + SEARCH_PAUSE, asked_at=now)
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
    told = changed(
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
    return changed(
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
        return changed(job, asked_at=now, looks=job.looks + 1, problem="the job is not known everywhere yet")
    return _lost(job, "the vendor does not know the job any more", now)


def _failed(job: Job, now: datetime) -> Job:
    """The vendor's failure: wait a while, ask again, at last for half the days; what it had made is thrown away."""
    attempts = job.attempts + 1
    problem = f"job {job.short} failed at the vendor ({attempts} of {ATTEMPTS} attempts)"
    if attempts >= ATTEMPTS:
        return changed(job, state=State.FATAL, attempts=attempts, problem=problem, fetched=())
    return changed(anew(job, problem), attempts=attempts, not_before=now + BACK_OFF[attempts - 1])


def _lost(job: Job, problem: str, now: datetime) -> Job:
    """Another export is needed: at once the first time, after a while the second, and no third time."""
    lost = job.lost + 1
    if lost >= LOSSES:
        problem = f"{lost} exports were lost one after the other: {problem}"
        return changed(job, state=State.FATAL, lost=lost, problem=problem, fetched=())
    return changed(anew(job, problem), lost=lost, not_before=now + BACK_OFF[1] if lost > 1 else None)


def _free(job: Job, now: datetime) -> Job:
    return changed(
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
    return changed(
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
