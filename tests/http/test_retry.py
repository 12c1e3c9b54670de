"""One table decides what is sent again, when, and what is told instead."""

import time
from email.utils import formatdate

import pytest

from connector.errors import ContractError, RejectedError, TransientError
from connector.http.budget import SharedBudget, Unlimited
from connector.http.client import Call, Http
from connector.http.retry import Again, Give, Outcome, Return, Tries, decide, hint_of, refusal_wait
from tests.http.hosts import host, whole

BROKEN = TransientError("x", where="w", next_step="n")
UNSENT = TransientError("x", where="w", next_step="n", unsent=True)
REFUSED = RejectedError("x", where="w", next_step="n")
GOOD = whole(b'{"ok": true}')


@pytest.mark.parametrize(
    ("outcome", "tries", "kind"),
    [
        (Outcome(), Tries(1), Return),
        (Outcome(BROKEN), Tries(5), Again),
        (Outcome(BROKEN), Tries(5, failures=4), Give),
        (Outcome(BROKEN), Tries(1), Give),
        (Outcome(BROKEN, 200), Tries(5), Again),  # a good status over a broken body
        *[(Outcome(BROKEN, status), Tries(5), Again) for status in (408, 421, 425, 500, 501, 507, 520, 530, 599, 999)],
        (Outcome(BROKEN, 500), Tries(5, failures=2), Give),
        (Outcome(BROKEN, 503), Tries(5, failures=2), Again),
        *[(Outcome(REFUSED, status), Tries(5), Give) for status in (301, 400, 401, 403, 404, 407, 409, 422, 431)],
        # What may be sent once is sent again only while nothing was taken.
        (Outcome(BROKEN), Tries(5, at_most_once=True), Give),
        (Outcome(UNSENT), Tries(5, at_most_once=True), Again),
        (Outcome(BROKEN, 503), Tries(5, at_most_once=True), Give),
        (Outcome(BROKEN, 520), Tries(5, at_most_once=True), Give),
        (Outcome(BROKEN, 200), Tries(5, at_most_once=True), Give),
        (Outcome(UNSENT, 429, 1.0), Tries(5, at_most_once=True), Again),
        # Refusals have a count and a patience of their own.
        (Outcome(BROKEN, 429, 1.0), Tries(5, failures=4), Again),
        (Outcome(BROKEN, 429, 1.0), Tries(1), Give),
        (Outcome(BROKEN, 429, 1.0), Tries(5, refusals=29), Give),
        (Outcome(BROKEN, 429, 10.0), Tries(5, refused_for=290.0), Again),
        (Outcome(BROKEN, 429, 10.0), Tries(5, refused_for=291.0), Give),
    ],
)
def test_every_outcome_has_one_decision(outcome, tries, kind):
    assert type(decide(outcome, tries)) is kind


@pytest.mark.parametrize(
    ("outcome", "tries", "after"),
    [
        (Outcome(BROKEN), Tries(9), (0.1, 1.0)),
        (Outcome(BROKEN), Tries(9, failures=3), (0.1, 8.0)),
        (Outcome(BROKEN), Tries(99, failures=50), (0.1, 20.0)),
        (Outcome(BROKEN, 503, 7.0), Tries(9), (7.0, 7.0)),
        (Outcome(BROKEN, 503, 3600.0), Tries(9), (120.0, 120.0)),
        (Outcome(BROKEN, 429, 7.0), Tries(9), (7.0, 7.0)),
    ],
)
def test_pauses_grow_and_hints_extend_them(outcome, tries, after):
    again = decide(outcome, tries)
    assert isinstance(again, Again)
    assert again.after == after


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, 3600.0),
        ({"retry-after": formatdate(1_000_000_000.0 - 60, usegmt=True)}, None),
        ({"retry-after": formatdate(1_000_000_000.0 + 60, usegmt=True)}, 60.0),
        ({"retry-after": "1000000060"}, 60.0),
        ({"retry-after": "0", "x-ratelimit-reset": "4"}, 4.0),
        ({"retry-after": "-1", "x-ratelimit-reset": "1000000004"}, 4.0),
        ({"x-ratelimit-reset": "0"}, None),
    ],
)
def test_only_a_time_that_is_still_to_come_is_a_hint(headers, hint):
    assert hint_of(headers, now=1e9, refused=True) == hint


def test_a_window_that_ends_is_no_reason_to_wait_after_an_answer():
    assert hint_of({"x-ratelimit-reset": "4"}, now=1e9, refused=False) is None


def test_a_useless_hint_is_no_hint_and_a_wrong_one_is_not_believed_for_ever():
    grown = [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert [refusal_wait(None, refusals) for refusals in range(6)] == grown
    assert [refusal_wait(0.2, refusals) for refusals in range(6)] == grown
    assert [refusal_wait(1.0, refusals) for refusals in range(8)] == [1.0, 1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert [refusal_wait(30.0, refusals) for refusals in (0, 20)] == [30.0, 30.0]


def ask(url, tmp_path, shared=False, slept=None):
    clock = [time.time()]

    def sleep(seconds):
        clock[0] += seconds

    budget = SharedBudget("k", folder=tmp_path, clock=lambda: clock[0], sleep=sleep) if shared else Unlimited()
    with Http(url, headers={}, sleep=sleep, budget=budget) as http:
        started = clock[0]
        try:
            return http.get("/x", where="test")
        finally:
            if slept is not None:
                slept.append(clock[0] - started)


@pytest.mark.parametrize("status", [500, 501, 507, 511, 520, 524, 530, 599])
def test_every_status_of_a_server_in_trouble_passes(status, tmp_path):
    with host(whole(b"trouble", status), GOOD) as server:
        assert ask(server.url, tmp_path) == b'{"ok": true}'
        assert len(server.asked) == 2


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("hint", ["0", "-5", "Wed, 21 Oct 2015 07:28:00 GMT", "now"])
def test_a_refusal_with_a_useless_hint_is_waited_for(hint, shared, tmp_path):
    """Thirty requests went out in a second, and the vendor listened again after four."""
    slept = []
    with host(*[whole(b"{}", 429, retry_after=hint)] * 3, GOOD) as server:
        assert ask(server.url, tmp_path, shared, slept)
        assert len(server.asked) == 4
    assert 6.9 <= slept[0] <= 9.0


WHOLE = b'{"data": [{"a": {"b": 1}}, {"a": [1, 2]}], "n": 1}'


@pytest.mark.parametrize("cut", [*[at for at in range(len(WHOLE)) if WHOLE[at - 1 : at] in (b"}", b"]")], 0, 9, 20])
@pytest.mark.parametrize("length", [True, False])
def test_an_answer_cut_anywhere_is_asked_for_again(cut, length, tmp_path):
    """A body without a length ends where its connection ends, even behind a bracket that closes nothing."""
    body = WHOLE[:cut]
    with host(whole(body) if length else (200, {}, body), whole(WHOLE)) as server:
        assert ask(server.url, tmp_path) == WHOLE
        assert len(server.asked) == 2


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": "\\ud83d"}', b" [1]\n", b"[" * 9999 + b"]" * 9999])
def test_what_can_be_read_is_taken_though_it_is_no_strict_json(body, tmp_path):
    with host(whole(body)) as server:
        assert ask(server.url, tmp_path) == body
        assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b'{"a": {"b": 1}', b"[1, 2]]", b'"soon"', b"{'a': 1}", b"{} {}"])
def test_an_answer_that_is_never_whole_json_is_told_after_five_requests(body, tmp_path):
    with host(whole(body)) as server:
        with pytest.raises(ContractError, match=r"not a whole JSON document \(sent 5 times\)"):
            ask(server.url, tmp_path)
        assert len(server.asked) == 5


@pytest.mark.parametrize("status", [401, 500, 503, 524])
def test_a_message_says_how_often_it_was_sent_and_promises_nothing(status, tmp_path):
    times = {401: 1, 500: 3}.get(status, 5)
    with host(whole(b"no", status)) as server:
        with pytest.raises((TransientError, RejectedError)) as caught:
            ask(server.url, tmp_path)
        assert len(server.asked) == times
    assert (f"(sent {times} times)" in str(caught.value)) is (times > 1)
    assert "by itself" not in str(caught.value)


@pytest.mark.parametrize("status", [500, 502, 520, 200])
def test_what_may_be_sent_once_is_not_sent_again_after_any_answer(status):
    with host(whole(b"no", status)) as server, Http(server.url, headers={}) as http:
        call = Call(method="POST", path="/track", body={}, where="test", at_most_once=True, json_expected=True)
        with pytest.raises((TransientError, ContractError)) as caught:
            http.send(call)
        assert not getattr(caught.value, "unsent", False)
        assert len(server.asked) == 1
