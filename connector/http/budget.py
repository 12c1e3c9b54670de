"""The vendor's request budget, shared by every process that uses the same client id.

The vendors count requests in fixed windows: so many until the window ends, then a fresh allowance. Spreading requests
out only loses time. The fastest way is to spend the window at once and to sleep until it ends. One request, the
*opener*, goes first in every window: its answer tells when the window ends, to one round trip. All processes share what
it learns, in a small file, which they lock for microseconds, or in PostgreSQL. So a backfill of forty runs is refused
as rarely as one.

This module does not retry and knows no vendor.
"""

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from connector.errors import TransientError
from connector.state.place import of_machine

log = logging.getLogger(__name__)

# Seconds after which another opener may go: the first one may have died with its process.
OPENER_LEASE = 15.0
# Seconds between the end of a window and our next request, as the vendor's clock may be behind ours.
MARGIN = 0.02
# Seconds. No vendor's window is longer; a later end means that this machine's clock was set back.
LONGEST_WINDOW = 3600.0
# Most seconds to wait for the end of a refusal. Windows take 10 s, or 60 s where others share the client id. A header
# that says more must not hold a run in silence.
PATIENCE = 300.0
# Seconds. Shorter waits are not told of.
WORTH_TELLING = 2.0
# Longest sleep in one piece, so that a cancelled run wakes up soon.
SLICE = 0.5


class _State(msgspec.Struct):
    """One window: how many requests it allows, how many we and others used, and when it ends."""

    ends_at: float = 0.0
    limit: int = 0
    issued: int = 0
    foreign: int = 0
    opening_until: float = 0.0

    def left(self) -> int:
        return self.limit - self.issued - self.foreign


@dataclass(frozen=True, slots=True)
class Ticket:
    """Permission for one request, to be handed back with what the answer said about the window."""

    window: float
    opener: bool
    issued: int = 0


class Budget(Protocol):
    """What the transport needs: a ticket before a request, the answer's headers after it.

    Attributes:
        holds: whether :meth:`take` itself waits until a refusal is over; if not, the caller has to wait.
    """

    @property
    def holds(self) -> bool: ...

    def take(self, where: str = "") -> Ticket: ...

    def learn(self, ticket: Ticket, headers: Mapping[str, str], *, refused_for: float | None = None) -> None: ...

    def give_back(self, ticket: Ticket) -> None: ...


class Unlimited:
    """For a service that counts nothing."""

    holds = False

    def take(self, where: str = "") -> Ticket:
        return Ticket(0.0, False)

    def learn(self, ticket: Ticket, headers: Mapping[str, str], *, refused_for: float | None = None) -> None:
        """Nothing to remember."""

    def give_back(self, ticket: Ticket) -> None:
        """Nothing to return."""


class SharedBudget:
    """A fixed-window allowance in a place that all processes share, keyed by what the vendor keys it by.

    Args:
        key: what identifies the bucket, such as origin and client id; only its hash becomes a name.
        folder: where the files lie; see :func:`connector.state.place.of_machine`.
        clock, sleep: seconds since the epoch, and waiting; replaced in tests.

    Raises:
        SettingsError: the place cannot be used.
    """

    holds = True

    def __init__(
        self,
        key: str,
        *,
        folder: Path | None = None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cell = of_machine(folder).cell(f"budget-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json")
        self._clock, self._sleep = clock or self._cell.now, sleep

    def take(self, where: str = "") -> Ticket:
        """Wait until a request is allowed. Sleeps in short slices; returns at once while the window has requests left.

        Args:
            where: for whom, in messages.

        Raises:
            TransientError: the window ends later than we are ready to wait.
        """
        told = False
        while True:
            with self._locked() as state:
                now = self._clock()
                if now >= state.ends_at:
                    if now >= state.opening_until:
                        state.opening_until = now + OPENER_LEASE
                        return Ticket(0.0, True)
                    wait = 0.005
                elif state.left() > 0:
                    state.issued += 1
                    return Ticket(state.ends_at, False, state.issued)
                else:
                    wait = state.ends_at - now
                    if wait > PATIENCE + MARGIN:
                        raise _too_long(state.limit, wait, where)
            if wait >= WORTH_TELLING and not told:
                log.info("waiting %.0f s for the rate limit", wait)
                told = True
            self._sleep(min(max(wait, 0.001), SLICE))

    def learn(self, ticket: Ticket, headers: Mapping[str, str], *, refused_for: float | None = None) -> None:
        """Remember what an answer said.

        Args:
            ticket: the permission it was asked with.
            headers: the answer's headers; ``x-ratelimit-limit``, ``-remaining`` and ``-reset`` are read.
            refused_for: seconds until the vendor will listen again, when it refused this request.
        """
        now = self._clock()
        limit, remaining = _number(headers.get("x-ratelimit-limit")), _number(headers.get("x-ratelimit-remaining"))
        reset = _number(headers.get("x-ratelimit-reset"))
        if reset is not None and reset > 1e6:  # some servers tell the moment instead of the seconds left
            reset -= now
        used = None if limit is None or remaining is None else limit - remaining
        if refused_for is None and not ticket.opener and used is not None and used <= ticket.issued:
            return  # no other machine uses this client id: nothing to write down
        with self._locked() as state:
            if refused_for is not None:
                state.ends_at = max(
                    state.ends_at if ticket.window == state.ends_at else 0.0, now + refused_for + MARGIN
                )
                state.issued, state.foreign, state.opening_until = state.limit, 0, 0.0
            elif limit is None or remaining is None or reset is None:
                if ticket.opener:  # the server counts nothing: open the gate for a while, then look again
                    state.ends_at, state.limit, state.issued, state.foreign = now + 10.0, 1_000_000, 1, 0
                    state.opening_until = 0.0
            elif ticket.opener:
                # The vendor's seconds are rounded up; counted from the answer's arrival they never end too early.
                state.ends_at = now + max(reset, 0.0) + MARGIN
                state.limit, state.issued, state.opening_until = int(limit), 1, 0.0
                state.foreign = max(0, int(limit - remaining) - 1)
            elif ticket.window == state.ends_at:
                # Used more than we issued: another machine shares this client id.
                state.foreign = max(state.foreign, int(limit - remaining) - state.issued)

    def give_back(self, ticket: Ticket) -> None:
        """Take back the ticket of a request that got no answer. After an opener the next one may go at once."""
        if ticket.opener:
            with self._locked() as state:
                state.opening_until = 0.0

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # __init__ failed
            self._cell.close()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[_State]:
        with self._cell.changing() as content:
            try:
                state = msgspec.json.decode(content.data, type=_State)
            except msgspec.DecodeError:  # first use, or torn by a crash: start a fresh window
                state = _State()
            if state.ends_at > self._clock() + LONGEST_WINDOW:  # the clock was set back
                state = _State()
            yield state
            content.data = msgspec.json.encode(state)


def _too_long(limit: int, wait: float, where: str) -> TransientError:
    return TransientError(
        f"the vendor allows {limit} requests, all are used, and by its headers it listens again in {wait:.0f} s; "
        f"we wait at most {PATIENCE:.0f} s",
        where=where or "request budget",
        next_step="rerun after that time; if the vendor's window is shorter, its x-ratelimit-reset is not in seconds: "
        "report this message.",
        unsent=True,
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e12 else None
