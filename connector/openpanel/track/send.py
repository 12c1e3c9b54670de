"""Sends rows of the warehouse to ``POST /track``, each exactly once or reported as unknown.

Profiles, groups and memberships are upserts: sending one twice changes nothing, so they are retried. Events and
counters are not. Their intent is written to the journal before the request, and without a clear answer they are never
sent again automatically. A request that never reached the vendor, or that the rate limit refused, is sent again. Sent
rows are remembered by content, so a second run sends only changes. ``journal.py`` writes the tables.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector.errors import ConnectorError, RejectedError, SettingsError, TransientError
from connector.openpanel.track.journal import Journal, Outcome, journal, read_journal, remember, remembered
from connector.privacy.forget import is_forgotten
from connector.redaction import excerpt
from connector.system.prefetch import ahead
from connector.warehouse.connection import Warehouse

if TYPE_CHECKING:  # outboxes are defined where nothing is sent: loading them needs no HTTP client
    from connector.http.client import Http
from connector.openpanel.track.plan import Message, Outbox, plan

# Seconds. The server reads a profile, changes it and writes it back through a buffer that is flushed every 10 seconds.
# A second change within that time would start from the old profile.
SETTLE = 15.0
# Requests in one second. Track has no rate limit; this one is ours.
A_SECOND = 100.0


class Track:
    """Sends messages at a limited rate, each once.

    Args:
        http: has the credentials of a client that may write.
        at_once: requests at the same time.
        a_second: most requests in one second.
        settle: seconds between two changes of one profile's counters.
    """

    def __init__(
        self,
        http: "Http",
        *,
        at_once: int = 8,
        a_second: float = A_SECOND,
        settle: float = SETTLE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http, self._at_once, self._a_second, self._settle, self._sleep = http, at_once, a_second, settle, sleep
        self._unreachable = ""  # why the vendor could not be reached, once that happened

    def send(
        self,
        outbox: Outbox,
        messages: Sequence[Message],
        journal: Journal,
        *,
        tell: Callable[[Outcome], None] | None = None,
    ) -> None:
        """Send all messages; each outcome is in the journal before the next round begins.

        Args:
            tell: called with every outcome.

        Raises:
            RejectedError: the credentials are refused; nothing more is sent.
        """
        rounds = _rounds(messages) if outbox.kind in ("increment", "decrement") else [list(messages)]
        retries, self._unreachable = 2, ""
        while rounds:
            started = time.monotonic()
            again = [message for message in self._round(outbox, rounds.pop(0), journal, tell) if message is not None]
            if again and retries:
                retries -= 1  # a profile that was created a moment ago may not be found yet
                rounds.append(again)
            elif again:
                for message in again:
                    self._report(message, "rejected", "404: the profile does not exist", journal, tell)
            if rounds:
                self._sleep(max(0.0, self._settle - (time.monotonic() - started)))

    def _round(
        self, outbox: Outbox, messages: Sequence[Message], journal: Journal, tell: Callable[[Outcome], None] | None
    ) -> Iterator[Message | None]:
        calls = (partial(self._one, outbox, message, journal) for message in self._paced(messages))
        for message, state, words in ahead(calls, at_once=self._at_once):
            if state == "again":
                yield message
            else:
                self._report(message, state, words, journal, tell)
                yield None

    def _paced(self, messages: Iterable[Message]) -> Iterator[Message]:
        began = time.monotonic()
        for number, message in enumerate(messages):
            early = number / self._a_second - (time.monotonic() - began)
            if early > 0:
                self._sleep(early)
            yield message

    def _one(self, outbox: Outbox, message: Message, journal: Journal) -> tuple[Message, str, str]:
        where = f"track {outbox.name}[{message.keys[0]}]"
        if self._unreachable:  # one row failed after all its attempts: thousands more would try for hours
            return message, "failed", f"not tried, as an earlier row failed: {self._unreachable}"
        if not outbox.upserts:
            journal.intend(message.keys, message.hashes)
        from connector.http.client import Call

        once = not outbox.upserts
        try:
            answer = self._http.send(
                Call(method="POST", path="/track", body=message.body, where=where, at_most_once=once)
            )
        except SettingsError:  # the proxy refuses us: nothing arrived
            journal.take_back(message.keys)
            raise
        except RejectedError as refused:
            if refused.status in (401, 403, 407):
                journal.take_back(message.keys)
                raise
            if refused.status == 404 and outbox.kind in ("increment", "decrement"):
                journal.take_back(message.keys)
                return message, "again", ""
            return message, "rejected", refused.what
        except TransientError as failed:
            # The next run sends upserts again, and messages that certainly did not arrive.
            if failed.unsent:
                self._unreachable = failed.what
                journal.take_back(message.keys)
            return message, "failed" if outbox.upserts or failed.unsent else "unknown", failed.what
        if bot := _detected_bot(answer):
            return message, "rejected", f"taken for the bot {bot}, and not stored"
        return message, "sent", ""

    @staticmethod
    def _report(
        message: Message, state: str, words: str, journal: Journal, tell: Callable[[Outcome], None] | None
    ) -> None:
        for key, digest in zip(message.keys, message.hashes, strict=True):
            outcome = Outcome(key, digest, state, excerpt(words))
            journal.done(outcome)
            if tell:
                tell(outcome)


@dataclass(frozen=True)
class Delivery:
    """The result of a run: rows by outcome. ``forgotten``: rows of forgotten people, which are not sent."""

    sent: int
    unchanged: int
    rejected: int
    failed: int
    unknown: int
    forgotten: int = 0


def deliver(
    outbox: Outbox,
    track: Track,
    *,
    warehouse: Warehouse,
    folder: Path,
    dry_run: Callable[[Message], None] | None = None,
    tell: Callable[[Outcome], None] | None = None,
) -> Delivery:
    """Send the rows that changed since the last run.

    Args:
        warehouse: has the rows, and records what was sent in ``connector.sent`` and ``connector.rejected``.
        folder: for the journal, which survives a kill.
        dry_run: called with every message; nothing is sent or recorded.
        tell: called with every outcome.

    Raises:
        BusyError: another run is sending this outbox.
        RejectedError: the credentials are refused; rows sent until then are recorded.
        SettingsError: the outbox's query fails.
    """
    with journal(folder, outbox.name) as (book, path):
        if not dry_run:
            _record_outcomes(warehouse, outbox, path, ())  # of a run that was killed
        gone, rows = is_forgotten(warehouse), list(_rows(warehouse, outbox))
        left = [row for row in rows if not gone(str(row.get("profile_id") or ""))]
        chosen = plan(outbox, left, remembered(warehouse, outbox.name))
        if dry_run:
            for message in chosen.messages:
                dry_run(message)
            return Delivery(0, chosen.unchanged, len(chosen.refused), 0, 0, len(rows) - len(left))
        try:
            track.send(outbox, chosen.messages, book, tell=tell)
        finally:
            outcomes = _record_outcomes(warehouse, outbox, path, chosen.refused)
        count = Counter(outcome.status for outcome in outcomes)
        return Delivery(
            count["sent"],
            chosen.unchanged,
            count["rejected"],
            count["failed"],
            count["unknown"],
            len(rows) - len(left),
        )


def _record_outcomes(warehouse: Warehouse, outbox: Outbox, path: Path, refused: Sequence[Outcome]) -> Sequence[Outcome]:
    """Move the outcomes of a journal, and refused rows, to the tables."""
    outcomes = [*refused, *read_journal(path)]
    if outcomes:
        remember(warehouse, outbox.name, outcomes)
        os.truncate(path, 0)
    return outcomes


def _rows(warehouse: Warehouse, outbox: Outbox) -> Iterator[dict[str, Any]]:
    try:
        with warehouse.read() as connection:
            cursor = connection.execute(outbox.query)
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
    except ConnectorError:
        raise
    except Exception as fault:  # noqa: BLE001  the user's query may raise any error of DuckDB
        raise SettingsError(
            f"outbox {outbox.name}.query", f"fails: {excerpt(str(fault), 200)}", next_step="try it in the warehouse."
        ) from None
    return (dict(zip(names, row, strict=True)) for row in rows)


def _detected_bot(answer: bytes) -> str:
    """The bot that the vendor took us for; empty if it did not. Such an answer is a 202, but nothing is stored."""
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


def _rounds(messages: Sequence[Message]) -> list[list[Message]]:
    """Messages in rounds, with each profile at most once in a round."""
    rounds: list[list[Message]] = []
    next_round: dict[str, int] = {}
    for message in messages:
        number = next_round.get(message.profile, 0)
        next_round[message.profile] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(message)
    return rounds


def describe(message: Message) -> str:
    """One line of a dry run."""
    return f"{', '.join(message.keys)}: {json.dumps(message.body, ensure_ascii=False)}"
