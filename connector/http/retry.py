"""Decides what follows a request: take its answer, send it again after a pause, or raise its error.

The JSON client, the file downloader and the webhook all ask here, so there is one table of statuses. Everything is
pure: no clock, no sleeping, no network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

from connector.errors import ConnectorError, TransientError
from connector.http.budget import PATIENCE

# Attempts per request. A partition is tried three times by Dagster, so one request is sent at most 15 times a run.
ATTEMPTS = 5
# A 500 may be the server's word for a parameter it cannot read; three identical ones are an answer.
ATTEMPTS_ON_500 = 3
# Refusals by the rate limit are not failures, yet a vendor that refuses for minutes must not hold a run for ever.
REFUSALS = 30
# Below 500, the statuses that may be another one a moment later: timeout, wrong connection, too early, rate limit.
PASSING_BELOW_500 = {408, 421, 425, 429}
# Seconds. The pause between two attempts grows to the first, a hint of the vendor may extend it to the second.
LONGEST_PAUSE, LONGEST_HINT = 20.0, 120.0
# Seconds. The pause after a refusal without a useful hint doubles up to this: one window of the vendors we know.
LONGEST_REFUSAL = 10.0
# A hint that was followed so often and refused again is not believed any more; the pause grows beside it.
HINTS_BELIEVED = 3
# Hints are whole seconds; one below this says nothing, or lies in the past.
LEAST_HINT = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended.

    Attributes:
        error: what to raise if it is not sent again; None for a good answer.
        status: of the answer; None if no whole answer came.
        wait: seconds that the vendor asks us to wait, 0 if it says nothing useful.
    """

    error: ConnectorError | None = None
    status: int | None = None
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Tries:
    """What a request may cost, and what it has cost so far.

    Attributes:
        most: times it may fail.
        at_most_once: send it again only while it is certain that the vendor took nothing.
        failures, refusals: how often it failed, and how often the rate limit refused it.
        refused_for: seconds that all refusals together asked us to wait.
    """

    most: int
    at_most_once: bool = False
    failures: int = 0
    refusals: int = 0
    refused_for: float = 0.0

    @property
    def said(self) -> str:
        """How often it has been sent with this time, for messages; nothing for the first time."""
        times = self.failures + self.refusals + 1
        return f" (sent {times} times)" if times > 1 else ""


@dataclass(frozen=True, slots=True)
class Return:
    """The answer is good."""


@dataclass(frozen=True, slots=True)
class Again:
    """Send the request again after ``after`` seconds: any time between the two, drawn by lot."""

    after: tuple[float, float]
    tries: Tries


@dataclass(frozen=True, slots=True)
class Give:
    """Raise this error."""

    error: ConnectorError


def passes(status: int | None) -> bool:
    """Whether the same request may be answered well a moment later."""
    return status is None or 200 <= status < 300 or status >= 500 or status in PASSING_BELOW_500


def decide(outcome: Outcome, tries: Tries) -> Return | Again | Give:
    """What to do next; the only place where a retry is decided."""
    error = outcome.error
    if error is None:
        return Return()
    if outcome.status == 429:
        return _refused(error, outcome.wait, tries)
    failed = replace(tries, failures=tries.failures + 1)
    most = min(tries.most, ATTEMPTS_ON_500) if outcome.status == 500 else tries.most
    may_repeat = not tries.at_most_once or (isinstance(error, TransientError) and error.unsent)
    if failed.failures >= most or not may_repeat or not passes(outcome.status):
        return Give(error)
    least = min(outcome.wait, LONGEST_HINT)
    return Again((max(0.1, least), max(min(0.5 * 2**failed.failures, LONGEST_PAUSE), least)), failed)


def _refused(error: ConnectorError, wait: float, tries: Tries) -> Again | Give:
    refused = replace(tries, refusals=tries.refusals + 1, refused_for=tries.refused_for + wait)
    if refused.refused_for > PATIENCE:
        return Give(_impatient(error, refused.refused_for))
    if refused.refusals >= REFUSALS or tries.most == 1:
        return Give(error)
    return Again((wait, wait), refused)


def refusal_wait(hint: float | None, refusals: int) -> float:
    """Seconds to wait after a refusal by the rate limit.

    Args:
        hint: seconds that the answer names; None if it names none.
        refusals: how often this request was refused before.
    """
    if hint is None or hint < LEAST_HINT:
        return float(min(2.0**refusals, LONGEST_REFUSAL))
    return float(max(hint, min(2.0 ** (refusals - HINTS_BELIEVED), LONGEST_REFUSAL)))


def hint_of(headers: Mapping[str, str], *, now: float, refused: bool) -> float | None:
    """Seconds that an answer asks us to wait, at most an hour; None if it names no time that is still to come.

    Args:
        headers: ``retry-after`` in seconds or as a date; after a refusal also ``x-ratelimit-reset``, in seconds or as
            a moment.
        now: seconds since the epoch.
    """
    hint = _seconds(headers.get("retry-after"), now)
    if hint is None and refused:
        hint = _seconds(headers.get("x-ratelimit-reset"), now)
    return hint


def _seconds(text: str | None, now: float) -> float | None:
    try:
        seconds = float(text or "")
        if seconds > 1e6:  # some servers tell the moment instead of the seconds left
            seconds -= now
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text or "").timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return min(seconds, 3600.0) if seconds > 0 else None


def _impatient(error: ConnectorError, wait: float) -> TransientError:
    return TransientError(
        f"{error.what}; it would have us wait {wait:.0f} s in all, and we wait at most {PATIENCE:.0f} s",
        where=error.where,
        next_step="rerun after that time; if it repeats, ask the vendor what its rate limit is.",
        unsent=True,
    )
