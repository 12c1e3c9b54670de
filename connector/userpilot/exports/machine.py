"""The state machine of an export job, as pure functions.

:func:`after_report` gives the job after an answer of the vendor or a download; :func:`next_action` gives the next step
for a job at a time. Nothing here sends, waits or writes. ``CONTRACT.md`` 5 is the table of its transitions.
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
    Report,
    Seen,
    Shown,
    State,
    Unclear,
    changed,
    restarted,
)

# The vendor forgets a job three days after it was created.
JOB_LIVES = timedelta(days=3)
# Not every server of the vendor may know a job that was just created.
SETTLES = timedelta(minutes=5)
# New links are requested this long before the old ones expire.
LINKS_MARGIN = timedelta(minutes=15)
# Difference between two clocks plus the duration of a request.
SKEW = timedelta(minutes=2)
# An older listing says nothing about the slot now.
LISTING_LIVES = timedelta(seconds=10)
POLL_FIRST, POLL_MOST = timedelta(seconds=5), timedelta(seconds=60)
SLOT_POLL = timedelta(seconds=30)
# How often the list is searched for the job of an unanswered POST before the POST counts as never arrived, and the
# pause between two searches.
SEARCHES, SEARCH_PAUSE = 3, timedelta(seconds=4)
BACK_OFF = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
ATTEMPTS = 3
REFUSED_LINKS = 2
# Exports of one request whose files could not be fetched. Each costs the vendor a whole export, so the limit is low.
LOSSES = 3


def with_intent(job: Job, now: datetime, known: Collection[str] = ()) -> Job:
    """The job with its intent to send the POST; write it down before the POST."""
    return changed(
        job,
        state=State.TRIGGERING,
        intent_at=now,
        known=tuple(sorted({*job.known, *known})),
        searches=0,
        posts=job.posts + 1,
        not_before=None,
    )


def after_report(job: Job, report: Report, now: datetime) -> Job:
    """The job after a report."""
    match report:
        case Created(job_id=job_id):
            # Its start by our clock: if the vendor's is days off, the job would look forgotten.
            return _polling(job, job_id, now, now)
        case Conflict():
            # The list tells which job holds the slot. Not an attempt.
            return changed(job, state=State.IDLE, listed_at=None, posts=0, intent_at=None, conflict=True)
        case Unclear(problem=problem):
            return changed(job, problem=problem, not_before=now + SEARCH_PAUSE)
        case Listed():
            return _after_list(job, report, now)
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
    raise AssertionError(report)


def next_action(job: Job, now: datetime) -> tuple[Job, Do]:
    """The next step for a job at a time, and the job with changes that come with time, such as an expired one."""
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
            # The job may have ended during the first look, so a second look confirms the list of files. It follows at
            # once, unless there are fewer files than chunks.
            once_more = job.agreed and len(job.files) >= max(job.chunks, 1)
            return job, Do.LOOK if once_more or not job.asked_at or now - job.asked_at >= POLL_FIRST else Do.WAIT
        case State.READY if not job.fresh and job.links_until is not None and now >= job.links_until - LINKS_MARGIN:
            return job, Do.LOOK
    return job, Do.DOWNLOAD


def waits_until(job: Job, now: datetime) -> datetime:
    """When to look again at a job whose next step is WAIT."""
    if job.not_before is not None and now < job.not_before:
        return job.not_before
    if job.state == State.READY:
        return (job.asked_at or now) + POLL_FIRST
    pause = SLOT_POLL if job.state in (State.FOREIGN, State.CANDIDATE) else _poll(job.looks)
    return (job.asked_at or now) + pause


def _poll(looks: int) -> timedelta:
    return min(POLL_FIRST * 1.5 ** min(looks, 20), POLL_MOST)


def _after_list(job: Job, listed: Listed, now: datetime) -> Job:
    running = [seen for seen in listed.jobs if seen.holds_the_slot]
    for seen in running:
        if listed.ours.get(seen.job_id) == job.request.id and job.state in (State.IDLE, State.FOREIGN, State.CANDIDATE):
            return _polling(job, seen.job_id, seen.started or now, now)  # adopted: a dead process of ours requested it
    if job.state == State.TRIGGERING:
        since = (job.intent_at or now) - SKEW
        new = [
            seen
            for seen in listed.jobs
            if seen.type == "export"
            and seen.job_id not in job.known
            and seen.job_id not in listed.ours
            and (seen.started is None or seen.started >= since)
        ]
        if new and job.posts:
            # Probably ours, but without proof of no use. It counts as lost, because it costs the vendor an export.
            if job.lost + 1 >= LOSSES:
                why = f": {job.problem}" if job.problem else ""
                return _lost(job, f"requests were answered in no usable way{why}", now)
            job = changed(job, lost=job.lost + 1, known=tuple(sorted({*job.known, *(seen.job_id for seen in new)})))
        if len(new) == 1 and new[0].holds_the_slot:
            # No answer says what a job exports, so its files are never landed. We wait until it ends.
            return _slot_held(job, State.CANDIDATE, new[0].job_id, now)
        if new or running:
            return _slot_held(job, State.FOREIGN, running[0].job_id, now) if running else _slot_free(job, now)
        if job.searches + 1 < SEARCHES:
            return changed(job, searches=job.searches + 1, not_before=now + SEARCH_PAUSE, asked_at=now)
        return _slot_free(job, now)
    if running:
        state = State.CANDIDATE if job.state == State.CANDIDATE else State.FOREIGN
        return _slot_held(job, state, running[0].job_id, now)
    if job.conflict:
        # 409, and no running job is listed: the list does not show the one that holds the slot. Wait as for any other.
        return _slot_held(job, State.FOREIGN, "", now)
    return _slot_free(job, now)


def _after_look(job: Job, seen: Seen, now: datetime) -> Job:
    progressed = seen.chunks_done > job.chunks_done or job.chunk_at is None
    looked = changed(
        job,
        asked_at=now,
        looks=job.looks + 1,
        status=seen.status,
        started=job.started or seen.started,
        chunks=seen.chunks,
        chunks_done=seen.chunks_done,
        chunk_at=now if progressed else job.chunk_at,
    )
    if seen.status == "failed":
        return _failed(looked, now)
    if seen.status != "completed":
        # An undocumented status does not mean that the job ended.
        return looked if job.state != State.READY else _lost(job, "a completed job runs again", now)
    names = tuple(sorted(seen.links))
    first, same = job.state != State.READY, names == job.files and not seen.linkless
    if not first and job.has_all_files and job.files and not same:
        return _lost(job, "the set of its files changed: two snapshots must not be mixed", now)
    looks = 1 if first else job.ended_looks + 1
    if looks > MOST_LOOKS and not same:
        return _lost(job, f"the list of its files was another one at each of {looks} looks", now)
    agreed = job.agreed + 1 if same and not first else int(first and not seen.linkless)
    return changed(
        looked,
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
    """The job after a failure at the vendor: it is requested again after a pause, the last time for half the days."""
    attempts = job.attempts + 1
    problem = f"job {job.short} failed at the vendor ({attempts} of {ATTEMPTS} attempts)"
    if attempts >= ATTEMPTS:
        return changed(job, state=State.FATAL, attempts=attempts, problem=problem, fetched=())
    return changed(restarted(job, problem), attempts=attempts, not_before=now + BACK_OFF[attempts - 1])


def _lost(job: Job, problem: str, now: datetime) -> Job:
    """The job after its export or files were lost: requested again at once, then after a pause, then not again."""
    lost = job.lost + 1
    if lost >= LOSSES:
        problem = f"{lost} exports were lost one after the other: {problem}"
        return changed(job, state=State.FATAL, lost=lost, problem=problem, fetched=())
    return changed(restarted(job, problem), lost=lost, not_before=now + BACK_OFF[1] if lost > 1 else None)


def _slot_free(job: Job, now: datetime) -> Job:
    return changed(
        job,
        state=State.IDLE,
        listed_at=now,
        asked_at=now,
        # After two unanswered POSTs the next one waits, so that the vendor can recover. Only right after a POST: a
        # list that is read during the wait must not start the wait again.
        not_before=now + BACK_OFF[0] if job.posts > 1 and job.state == State.TRIGGERING else None,
        searches=0,
    )


def _slot_held(job: Job, state: State, holder: str, now: datetime) -> Job:
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
