"""Sends messages to ``POST /track``: changes of one profile one at a time, each looked up afterwards.

An upsert that is not stored is sent again. A counter is never sent twice on a guess: what is not seen stored in the end
is told as unknown. What is sent is decided in ``plan.py``, whose turn it is in ``turns.py``.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from connector.errors import RejectedError, SettingsError, TransientError
from connector.openpanel.track.journal import Journal, Outcome, Step
from connector.openpanel.track.plan import COUNTERS, Message, Outbox
from connector.openpanel.track.profiles import (
    Profile,
    Profiles,
    UnreadableError,
    differing,
    is_compared,
    step_of,
    stored_number,
)
from connector.openpanel.track.turns import Changes, Pace, Turns
from connector.redaction import excerpt
from connector.system.files import RETRY_SECONDS
from connector.system.prefetch import ahead

if TYPE_CHECKING:  # outboxes are defined where nothing is sent: loading them needs no HTTP client
    from connector.http.client import Http

# The server reads a profile, changes it and writes it back through a buffer that is flushed every 10 seconds. A second
# change within that time would start from the old profile.
SETTLE = 15.0
# Track has no limiter; this is ours.
A_SECOND = 100.0
# Messages between two moments at which other runs may take their turn.
BATCH = 100
# How often more a profile is asked for that is not found, or an upsert is sent that is not stored.
PATIENCE = 2
# Settle times after which a counter that is not stored is given up.
LOOKS = 4
# Longest sleep in one piece, so that a cancelled run wakes up soon.
SLICE = 0.5


class Track:
    """Sends messages, politely and each once.

    Args:
        http: with the credentials of a client that may write.
        profiles: where changes are looked up.
        project: what identifies the project on this machine, such as base URL and project id.
        at_once: requests in flight.
        a_second: most requests in one second.
        settle: seconds between two changes of one profile or group, unless the first is seen stored before. 0 for a
            server that stores at once: nothing waits and nothing is looked up.
        verify: look up every changed profile. It takes one to three requests of the reading budget for each change.
        tell: gets a sentence about every wait, and the reason if nothing can be looked up.

    Attributes:
        verified: rows that were seen stored.
        unreadable: why profiles cannot be looked up; empty if they can.
    """

    def __init__(
        self,
        http: "Http",
        *,
        profiles: Profiles,
        project: str,
        at_once: int = 8,
        a_second: float = A_SECOND,
        settle: float = SETTLE,
        verify: bool = True,
        sleep: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.http, self.at_once, self.a_second, self.settle, self.sleep = http, at_once, a_second, settle, sleep
        self.tell, self.pace = tell, Pace(project, settle, tell)
        self.verified, self.unreadable = 0, ""
        self._profiles, self._verify, self._telling = profiles, verify and settle > 0, threading.Lock()

    @property
    def verifies(self) -> bool:
        return self._verify and not self.unreadable

    def send(
        self,
        outbox: Outbox,
        messages: Sequence[Message],
        journal: Journal,
        *,
        tell: Callable[[Outcome], None] | None = None,
    ) -> None:
        """Send everything; each outcome is in the journal before the next batch begins.

        Raises:
            RejectedError: the credentials are refused; nothing more is sent.
            BusyError: another run kept the project to itself for ten minutes.
        """
        _Sending(self, outbox, messages, journal, tell).run()

    def fates(self, steps: Mapping[Step, Mapping[str, str]]) -> dict[str, Outcome | None]:
        """What became of counters whose answer a killed run did not live to read.

        Returns:
            By key: the outcome, or None if the counter stands where it stood, so that it can be sent again. What cannot
            be told is left out.
        """
        found: dict[str, Outcome | None] = {}
        if not steps or not self.verifies:
            return found
        with self.pace.held() as changes:
            ready = max(changes.ready_at(f"profile {step.profile}") for step in steps)
        # Once more the same time: a request of the killed run may have waited on its way.
        self.wait(max(ready, time.time()) + self.settle, f"{len(steps)} counters of a killed run are stored")
        for step, profile in zip(steps, self.read([step.profile for step in steps]), strict=True):
            if isinstance(profile, UnreadableError):
                self.stop_looking(profile)
            stored = stored_number(profile, step.property) if isinstance(profile, dict) else None
            if stored == step.after:
                found |= {key: Outcome(key, digest, "sent") for key, digest in steps[step].items()}
            elif stored == step.before:
                found |= dict.fromkeys(steps[step])
        return found

    def read(self, profile_ids: Iterable[str]) -> Iterator[Profile | UnreadableError | None]:
        """Profiles as they are stored, in the order asked for."""
        yield from ahead((partial(self.look, one) for one in profile_ids), at_once=self.at_once)

    def look(self, profile_id: str) -> Profile | UnreadableError | None:
        """A profile as it is stored, None if there is none, or why it cannot be read."""
        try:
            return self._profiles.read(profile_id)
        except UnreadableError as error:
            return error

    def stop_looking(self, error: UnreadableError) -> None:
        """From now on nothing is looked up; told once, whichever thread comes first."""
        with self._telling:
            if not self.unreadable:
                self.unreadable = str(error)
                self.tell(f"what is sent is not verified, as profiles cannot be read: {error}")

    def wait(self, until: float, what: str) -> None:
        """Sleep until a time, in short pieces."""
        if (left := until - time.time()) > 1.0:
            self.tell(f"waiting up to {left:.0f} s until {what}")
        while (left := until - time.time()) > 0:
            self.sleep(min(left, SLICE))


@dataclass(eq=False)
class _Unseen:
    """A change that the server took, or may have taken, and that has not been seen stored yet."""

    message: Message
    step: Step | None
    state: str
    words: str
    at: float
    look_at: float


class _Sending:
    """One outbox on its way."""

    def __init__(
        self,
        track: Track,
        outbox: Outbox,
        messages: Sequence[Message],
        journal: Journal,
        tell: Callable[[Outcome], None] | None,
    ) -> None:
        self._track, self._outbox, self._journal, self._tell = track, outbox, journal, tell
        self._turns, self._tries = Turns(messages), Counter[int]()
        self._unseen: list[_Unseen] = []
        self._stored: set[str] = set()
        self._away, self._lag = "", 0.0

    def run(self) -> None:
        while self._turns or self._unseen:
            now, next_at = time.time(), self._turns.next_at
            due = [one for one in self._unseen if one.look_at <= now][:BATCH]
            if due:
                self._look(due)
            elif next_at is not None and next_at <= now:
                with self._track.pace.held() as changes:
                    self._batch(changes)
                if self._turns:
                    self._track.sleep(RETRY_SECONDS)  # another run may have its turn
            else:
                times = [one.look_at for one in self._unseen] + ([] if next_at is None else [next_at])
                self._track.wait(min(times), f"changes of {self._outbox.name} are stored")
            if self._track.unreadable and self._unseen:
                self._stop_looking()

    def _batch(self, changes: Changes) -> None:
        for about in self._stored:
            changes.stored(about)
        self._stored.clear()
        batch = self._turns.take(BATCH, time.time(), changes.ready_at)
        changes.begin([message.about for message in batch if message.about])
        calls = (partial(self._one, message) for message in self._paced(batch))
        for message, state, words, step in ahead(calls, at_once=self._track.at_once):
            if message.about:
                (changes.stored if state in ("again", "rejected", "unsent") else changes.changed)(message.about)
            self._answered(message, state, words, step)

    def _paced(self, messages: Iterable[Message]) -> Iterator[Message]:
        began = time.monotonic()
        for number, message in enumerate(messages):
            early = number / self._track.a_second - (time.monotonic() - began)
            if early > 0:
                self._track.sleep(early)
            yield message

    def _one(self, message: Message) -> tuple[Message, str, str, Step | None]:
        """One message, what became of it, the vendor's words, and what it does to a counter."""
        outbox, journal, step = self._outbox, self._journal, None
        if self._away:  # out of reach for one row after all its attempts: thousands more would try for hours
            return message, "unsent", f"not tried, as an earlier row failed: {self._away}", None
        if outbox.kind in COUNTERS and self._track.verifies:
            profile = self._track.look(message.profile)
            if profile is None:
                return message, "again", "", None
            if isinstance(profile, UnreadableError):
                self._track.stop_looking(profile)
            elif (step := step_of(message, profile)) is None:
                name = message.body["payload"]["property"]
                words = f"{name} is no whole number in OpenPanel, and the server would cut it; set it with identify"
                return message, "rejected", words, None
        if not outbox.upserts:
            journal.intend(message.keys, message.hashes, step)
        state, words = self._posted(message)
        return message, state, words, step

    def _posted(self, message: Message) -> tuple[str, str]:
        from connector.http.client import Call

        outbox, journal = self._outbox, self._journal
        try:
            answer = self._track.http.send(
                Call(
                    method="POST",
                    path="/track",
                    body=message.body,
                    where=f"track {outbox.name}[{message.keys[0]}]",
                    at_most_once=not outbox.upserts,
                )
            )
        except SettingsError:  # the proxy refuses us: nothing arrived
            journal.take_back(message.keys)
            raise
        except RejectedError as refused:
            if refused.status in (401, 403, 407):
                journal.take_back(message.keys)
                raise
            if refused.status == 404 and outbox.kind in COUNTERS:
                journal.take_back(message.keys)
                return "again", ""
            return "rejected", refused.what
        except TransientError as failed:
            # An upsert, and what certainly did not arrive, is sent again by the next run.
            if failed.unsent:
                self._away = failed.what
                journal.take_back(message.keys)
                return "unsent", failed.what
            return "failed" if outbox.upserts else "unknown", failed.what
        if bot := _taken_for(answer):
            return "rejected", f"taken for the bot {bot}, and not stored"
        return "sent", ""

    def _answered(self, message: Message, state: str, words: str, step: Step | None) -> None:
        now = time.time()
        compared = self._track.verifies and (self._outbox.kind in ("identify", "assign_group") or step is not None)
        if state == "again":  # a profile that was made moments ago is not found yet
            self._once_more(message, "404: the profile does not exist", now + self._track.settle)
        elif state in ("sent", "unknown") and compared:
            if step:  # a later outcome counts; if this run is killed before, this one does
                self._note(message, state, words)
            look_at = now + (self._lag if is_compared(message) else self._track.settle)
            self._unseen.append(_Unseen(message, step, state, words, now, look_at))
        else:
            self._say(message, "failed" if state == "unsent" else state, words)
            certain = state in ("rejected", "unsent")
            self._turns.done(message, now if certain else now + self._track.settle)

    def _once_more(self, message: Message, words: str, at: float) -> None:
        self._tries[id(message)] += 1
        if self._tries[id(message)] <= PATIENCE:
            self._turns.again(message, at)
        else:
            self._say(message, "rejected", words)
            self._turns.done(message, time.time())

    def _look(self, due: Sequence[_Unseen]) -> None:
        for one, profile in zip(due, self._track.read([each.message.profile for each in due]), strict=True):
            if isinstance(profile, UnreadableError):
                self._track.stop_looking(profile)
                return
            missing, now, settle = differing(one.message, profile, one.step), time.time(), self._track.settle
            if not missing:
                self._unseen.remove(one)
                self._stored.add(one.message.about)
                self._track.verified += len(one.message.keys)
                self._say(one.message, "sent", "")
                self._turns.done(one.message, now)
            elif now - one.at < settle:
                self._lag = max(self._lag, min(2 * (now - one.at) + settle / 8, settle))
                one.look_at = one.at + self._lag
            elif one.step is None:
                self._unseen.remove(one)
                words = (
                    f"sent {PATIENCE + 1} times, and not stored as sent: {', '.join(missing)}; the server rewrites it"
                )
                self._once_more(one.message, f"{words}, or something else changes it", now)
            elif now - one.at < LOOKS * settle:
                one.look_at = now + settle
            else:
                self._unseen.remove(one)
                stored = stored_number(profile, one.step.property) if profile else None
                words = f"{one.step.property} was {one.step.before}, must be {one.step.after} and is {stored}"
                self._say(one.message, "unknown", f"{words} {now - one.at:.0f} s later: something else changes it")
                self._turns.done(one.message, now)

    def _stop_looking(self) -> None:
        for one in self._unseen:
            self._say(one.message, one.state, one.words)
            self._turns.done(one.message, one.at + self._track.settle)
        self._unseen.clear()

    def _note(self, message: Message, state: str, words: str) -> list[Outcome]:
        outcomes = [Outcome(*row, state, excerpt(words)) for row in zip(message.keys, message.hashes, strict=True)]
        for outcome in outcomes:
            self._journal.done(outcome)
        return outcomes

    def _say(self, message: Message, state: str, words: str) -> None:
        for outcome in self._note(message, state, words):
            if self._tell:
                self._tell(outcome)


def _taken_for(answer: bytes) -> str:
    """The bot that the vendor saw in us, if it did: a 202 like any other, and nothing is stored."""
    if b'"bot"' not in answer:
        return ""
    try:
        match json.loads(answer):
            case {"bot": bot} if bot not in (None, False):
                return (
                    excerpt(str(bot.get("name") or "") if isinstance(bot, dict) else str(bot), 60) or "without a name"
                )
    except (ValueError, RecursionError):
        pass
    return ""
