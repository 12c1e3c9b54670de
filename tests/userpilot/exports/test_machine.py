"""The state machine: what the vendor said x how old it is -> what is done next. No clock, no sleep, no network."""

import ast
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

import connector
from connector import RejectedError
from connector.catalogue.userpilot import DEFAULT_EVENT_TYPES
from connector.userpilot.exports.job import (
    Conflict,
    Created,
    Do,
    Fetched,
    Job,
    LinkRefused,
    Listed,
    Seen,
    Shown,
    State,
    Unclear,
    halves,
)
from connector.userpilot.exports.machine import after_report, next_action, with_intent
from connector.userpilot.exports.request import Options, Request

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
REQUEST = Request(first=date(2026, 3, 2), last=date(2026, 3, 6))


def ago(**span):
    return NOW - timedelta(**span)


def seen(status="in_progress", job_id="j", started=NOW, links=(), **more):
    return Seen(
        job_id=job_id, status=status, started=started, links={name: f"https://f/{name}" for name in links}, **more
    )


def job(state=State.IDLE, **more):
    return Job(request=REQUEST, state=state, **more)


POLLING = {"state": State.POLLING, "job_id": "j", "started": ago(minutes=10), "chunk_at": NOW}
READY = {**POLLING, "state": State.READY, "files": ("a", "b"), "agreed": 2, "links_until": NOW + timedelta(days=1)}
SENT = with_intent(job(), NOW, {"old"})
NEW = seen(job_id="new", started=NOW + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("before", "report", "state", "do"),
    [
        # IDLE
        (job(), None, State.IDLE, Do.LIST),
        (job(), Listed(()), State.IDLE, Do.SUBMIT),
        (job(), Listed((seen("completed"), seen("failed"))), State.IDLE, Do.SUBMIT),
        (job(), Listed((seen(),), {"j": REQUEST.id}), State.POLLING, Do.LOOK),
        (job(), Listed((seen(),), {"j": "another request of ours"}), State.FOREIGN, Do.WAIT),
        (job(), Listed((seen(),)), State.FOREIGN, Do.WAIT),
        (job(), Listed((seen("a word nobody wrote down"),)), State.FOREIGN, Do.WAIT),
        (job(), Listed((seen(type="import"),)), State.IDLE, Do.SUBMIT),
        (job(), Listed((seen("canceled", ended=ago(minutes=1)),)), State.IDLE, Do.SUBMIT),
        (job(listed_at=ago(minutes=1)), None, State.IDLE, Do.LIST),
        # TRIGGERING
        (SENT, Created("j"), State.POLLING, Do.LOOK),
        (SENT, Conflict(), State.IDLE, Do.LIST),
        (after_report(SENT, Conflict(), NOW), Listed((seen(),), {"j": REQUEST.id}), State.POLLING, Do.LOOK),
        (after_report(SENT, Conflict(), NOW), Listed((seen(),)), State.FOREIGN, Do.WAIT),
        (after_report(SENT, Conflict(), NOW), Listed(()), State.FOREIGN, Do.WAIT),
        (SENT, Unclear(), State.TRIGGERING, Do.WAIT),
        (SENT, None, State.TRIGGERING, Do.LIST),
        (SENT, Listed((NEW,)), State.CANDIDATE, Do.WAIT),
        (SENT, Listed((seen(job_id="new", status="completed"),)), State.IDLE, Do.SUBMIT),
        (SENT, Listed((seen(job_id="old", status="completed"),)), State.TRIGGERING, Do.WAIT),
        (SENT, Listed((seen(job_id="new", started=ago(hours=1), status="completed"),)), State.TRIGGERING, Do.WAIT),
        (SENT, Listed((NEW, seen(job_id="two"))), State.FOREIGN, Do.WAIT),
        (with_intent(job(lost=2), NOW), Listed((NEW,)), State.FATAL, Do.STOP),
        (job(State.TRIGGERING, intent_at=NOW, searches=2, posts=1), Listed(()), State.IDLE, Do.SUBMIT),
        (job(State.TRIGGERING, intent_at=NOW, searches=2, posts=2), Listed(()), State.IDLE, Do.WAIT),
        # CANDIDATE and FOREIGN
        (job(State.CANDIDATE, holder="new", asked_at=ago(seconds=31)), None, State.CANDIDATE, Do.LIST),
        (job(State.CANDIDATE, holder="new"), Listed((NEW,)), State.CANDIDATE, Do.WAIT),
        (job(State.CANDIDATE, holder="new"), Listed((seen("completed", "new"),)), State.IDLE, Do.SUBMIT),
        (job(State.FOREIGN, asked_at=ago(seconds=10)), None, State.FOREIGN, Do.WAIT),
        (job(State.FOREIGN, asked_at=ago(seconds=31)), None, State.FOREIGN, Do.LIST),
        (job(State.FOREIGN, holder="j"), Listed((seen(),)), State.FOREIGN, Do.WAIT),
        (job(State.FOREIGN, holder="j"), Listed((seen("failed"),)), State.IDLE, Do.SUBMIT),
        (job(State.FOREIGN, holder="j"), Listed(()), State.IDLE, Do.SUBMIT),
        # POLLING
        (job(**POLLING), None, State.POLLING, Do.LOOK),
        (job(**POLLING), Shown(seen()), State.POLLING, Do.WAIT),
        (job(**POLLING), Shown(seen("pending_refresh")), State.POLLING, Do.WAIT),
        (job(**POLLING, asked_at=ago(seconds=59), looks=30), None, State.POLLING, Do.WAIT),
        (job(**POLLING, asked_at=ago(seconds=61), looks=30), None, State.POLLING, Do.LOOK),
        (job(**POLLING), Shown(seen("completed", links=("a",))), State.READY, Do.LOOK),
        (job(**POLLING), Shown(seen("completed", links=("a",), linkless=True)), State.READY, Do.WAIT),
        (job(**POLLING), Shown(seen("completed")), State.READY, Do.WAIT),
        (job(**POLLING), Shown(seen("failed", links=("a",))), State.IDLE, Do.WAIT),
        (job(**POLLING, attempts=2), Shown(seen("failed")), State.FATAL, Do.STOP),
        (job(attempts=1, not_before=ago(seconds=1)), None, State.IDLE, Do.LIST),
        (job(attempts=2), None, State.IDLE, Do.HALVE),
        (job(attempts=2, halved=True), None, State.IDLE, Do.LIST),
        (job(**{**POLLING, "started": ago(minutes=4)}), Shown(None), State.POLLING, Do.WAIT),
        (job(**POLLING), Shown(None), State.IDLE, Do.LIST),
        (job(**{**POLLING, "started": ago(days=3)}), None, State.IDLE, Do.LIST),
        # READY: is that all of its files?
        (job(**{**READY, "agreed": 1}), Shown(seen("completed", links=("a", "b"))), State.READY, Do.DOWNLOAD),
        (job(**{**READY, "agreed": 1}), Shown(seen("completed", links=("a", "b", "c"))), State.READY, Do.WAIT),
        (job(**{**READY, "agreed": 1}), Shown(seen("completed", links="ab", linkless=True)), State.READY, Do.WAIT),
        (job(**{**READY, "agreed": 1, "chunks": 3, "asked_at": NOW}), None, State.READY, Do.WAIT),
        (job(**{**READY, "agreed": 0, "asked_at": ago(seconds=6)}), None, State.READY, Do.LOOK),
        (job(**{**READY, "agreed": 1, "ended_looks": 12}), Shown(seen("completed", links=("c",))), State.IDLE, Do.LIST),
        (job(**{**READY, "agreed": 3, "files": ()}), Shown(seen("completed")), State.READY, Do.WAIT),
        (job(**{**READY, "agreed": 4, "files": ()}), Shown(seen("completed")), State.FETCHED, Do.LAND),
        (job(**{**READY, "agreed": 4, "files": ()}), Shown(seen("completed", links=("a",))), State.READY, Do.WAIT),
        # READY: downloading
        (job(**READY), Fetched("a"), State.READY, Do.DOWNLOAD),
        (job(**READY, fetched=("a",)), Fetched("b"), State.FETCHED, Do.LAND),
        (job(**{**READY, "links_until": NOW + timedelta(minutes=14)}), None, State.READY, Do.LOOK),
        (job(**{**READY, "links_until": None}), None, State.READY, Do.DOWNLOAD),
        (job(**READY), LinkRefused(), State.READY, Do.LOOK),
        (job(**READY, refused=1), LinkRefused(), State.IDLE, Do.LIST),
        (job(**READY), LinkRefused(gone=True), State.IDLE, Do.LIST),
        (job(**READY), Shown(seen("completed", links=("b", "a"))), State.READY, Do.DOWNLOAD),
        (job(**READY), Shown(seen("completed", links=("a", "c"))), State.IDLE, Do.LIST),
        (job(**READY), Shown(None), State.IDLE, Do.LIST),
        (job(**{**READY, "started": ago(days=3)}), None, State.IDLE, Do.LIST),
        # the bytes are ours; age does not matter any more
        (job(**{**READY, "started": ago(days=9), "state": State.FETCHED}), None, State.FETCHED, Do.LAND),
        (job(State.LANDED), None, State.LANDED, Do.STOP),
        (job(State.FATAL), None, State.FATAL, Do.STOP),
        (job(State.HALVED), None, State.HALVED, Do.STOP),
    ],
)  # fmt: skip
def test_the_table(before, report, state, do):
    after, action = next_action(before if report is None else after_report(before, report, NOW), NOW)
    assert (after.state, action) == (state, do)


def test_a_refusal_for_want_of_a_slot_is_no_attempt():
    assert after_report(SENT, Conflict(), NOW).attempts == 0


def test_a_failed_job_waits_longer_each_time_and_keeps_nothing():
    first = after_report(job(**POLLING, files=("a",), fetched=("a",)), Shown(seen("failed")), NOW)
    second = after_report(job(**POLLING, attempts=1), Shown(seen("failed")), NOW)
    assert [first.not_before - NOW, second.not_before - NOW] == [timedelta(minutes=1), timedelta(minutes=5)]
    assert (first.files, first.fetched, first.job_id) == ((), (), "")


def test_half_of_a_request_is_halved_no_further():
    first, second = halves(job(attempts=2))
    assert [*first.request.days, *second.request.days] == REQUEST.days
    assert {next_action(half, NOW)[1] for half in (first, second)} == {Do.LIST}


def test_how_long_a_stranger_holds_the_slot_is_remembered():
    held = after_report(job(), Listed((seen(),)), ago(hours=2))
    held = after_report(held, Listed((seen(),)), NOW)
    assert "7200 s" in held.sentence(NOW)


def test_progress_is_said_in_one_line():
    running = after_report(job(**{**POLLING, "job_id": "1a2bcdef", "started": ago(seconds=340)}),
                    Shown(seen(job_id="1a2bcdef", started=ago(seconds=340), chunks=5, chunks_done=3)), NOW)  # fmt: skip
    assert running.sentence(NOW) == "job 1a2b…: in progress 340 s, 3 of 5 chunks"
    assert "no new chunk" in running.sentence(NOW + timedelta(minutes=31))


@pytest.mark.parametrize(
    "given",
    [
        {"event_types": ["track"]},
        {"event_type": ["trak"]},
        {"event_type": [""]},
        {"user_id": 5},
        {"segment_id": 5},
        {"format": "parquet"},
        {"exclusions": "true"},
    ],
)
def test_options_the_vendor_would_ignore_or_refuse_are_refused_here(given):
    with pytest.raises(RejectedError):
        Options.of(given)


@pytest.mark.parametrize("days", [(date(2026, 3, 6), date(2026, 3, 2)), (date(2026, 3, 6), date(2026, 3, 11))])
def test_days_that_make_no_sense_are_refused(days):
    with pytest.raises(RejectedError):
        Request.checked(*days, today=NOW.date())


def test_only_what_was_asked_for_is_sent_and_a_day_more_on_each_side():
    assert REQUEST.body() == {"from": "2026-03-01", "to": "2026-03-08", "format": "json",
                              "event_type": list(DEFAULT_EVENT_TYPES)}  # fmt: skip
    full = Options.of({"event_type": ["track"], "user_id": ["u"], "company_id": ["c"], "segment_id": "101",
                       "exclusions": True, "format": "csv", "emails": ["a@b.c"]})  # fmt: skip
    body = Request(first=date(2026, 3, 2), last=date(2026, 3, 2), options=full).body()
    assert body == {"from": "2026-03-01", "to": "2026-03-04", "format": "csv", "event_type": ["track"],
                    "user_id": ["u"], "company_id": ["c"], "emails": ["a@b.c"], "segment_id": "101",
                    "exclusions": True}  # fmt: skip


def test_requests_for_the_same_rows_have_the_same_fingerprint():
    assert Options.of({"format": "csv", "emails": ["a@b.c"]}).fingerprint == Options().fingerprint
    assert Options.of({"user_id": ["b", "a"]}).fingerprint == Options.of({"user_id": ["a", "b"]}).fingerprint
    assert Options.of({"user_id": ["a"]}).fingerprint != Options().fingerprint


@pytest.mark.parametrize("state", State)
def test_an_export_stops_exactly_in_the_states_that_are_terminal(state):
    _, do = next_action(job(state, job_id="j", started=NOW), NOW)
    assert (do == Do.STOP) == state.is_terminal


def test_which_states_are_terminal_is_said_once():
    """A state spelled as a text, or in a list of one's own, misses the next one that is added."""
    package = Path(connector.__file__).parent
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(".state"):
                inside = [part for right in node.comparators for part in ast.walk(right)]
                texts = {part.value for part in inside if isinstance(part, ast.Constant)} & set(State)
                named = {part.attr.lower() for part in inside if isinstance(part, ast.Attribute)} & set(State)
                assert not texts, (file.name, ast.unparse(node))
                assert len([name for name in named if State(name).is_terminal]) < 2, (file.name, ast.unparse(node))
