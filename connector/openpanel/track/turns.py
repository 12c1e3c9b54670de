"""Which messages may go now: in their order for each profile, and one at a time until it is stored.

The server reads a profile, changes it and writes it back some seconds later, so a second change meanwhile would start
from the old profile. The time of each profile's last change lies where every process reads it under one lock per
project. Nothing here sends.
"""

import hashlib
import heapq
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import msgspec

from connector.errors import BusyError
from connector.openpanel.track.plan import Message
from connector.state.kinds import Held
from connector.state.place import of_machine

# Seconds that a run waits for others that send to the same project. They let go after every batch.
PATIENCE = 600.0
# Seconds after which a wait for the lock is told.
QUIET = 1.0


class Turns:
    """Messages that are still to be sent, at most one of a profile or group at a time."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._queues: dict[str, deque[Message]] = {}
        for number, message in enumerate(messages):
            self._queues.setdefault(message.about or f"#{number}", deque()).append(message)
        self._taken: dict[int, str] = {}
        self._heap = [(0.0, number, about) for number, about in enumerate(self._queues)]
        self._number = len(self._heap)

    def __bool__(self) -> bool:
        return bool(self._queues)

    @property
    def next_at(self) -> float | None:
        """When the next message may go; None while each of the rest waits for one that is under way."""
        return self._heap[0][0] if self._heap else None

    def take(self, most: int, now: float, ready_at: Callable[[str], float]) -> list[Message]:
        """Up to ``most`` messages that may go now; :meth:`done` or :meth:`again` has to follow for each."""
        taken: list[Message] = []
        while self._heap and len(taken) < most and self._heap[0][0] <= now:
            _, number, about = heapq.heappop(self._heap)
            message = self._queues[about][0]
            if message.about and (later := ready_at(about)) > now:
                heapq.heappush(self._heap, (later, number, about))
                continue
            self._taken[id(message)] = about
            taken.append(message)
        return taken

    def done(self, message: Message, at: float) -> None:
        """This one is over; the next of its profile may go at that time."""
        about = self._taken[id(message)]
        if len(self._queues[about]) == 1:
            del self._taken[id(message)], self._queues[about]
        else:
            self._queues[about].popleft()
            self._push(message, at)

    def again(self, message: Message, at: float) -> None:
        """This one goes once more at that time, before the others of its profile."""
        self._push(message, at)

    def _push(self, message: Message, at: float) -> None:
        self._number += 1
        heapq.heappush(self._heap, (at, self._number, self._taken.pop(id(message))))


class Changes:
    """When each profile was changed last, as one holder of the lock sees it and writes it down."""

    def __init__(self, held: Held, settle: float) -> None:
        self._held, self._settle, now = held, settle, time.time()
        try:
            found = msgspec.json.decode(held.read() or b"{}", type=dict[str, float | None])
        except msgspec.DecodeError:
            found = {}
        # What a killed holder left open happened before now. A time ahead of now is from a clock that was set back.
        times = {name: now if at is None else min(at - held.ahead, now) for name, at in found.items()}
        self._times: dict[str, float | None] = {name: at for name, at in times.items() if at + settle > now}

    def ready_at(self, about: str) -> float:
        """When the next change may be sent; 0 if none was sent lately."""
        at = self._times.get(_name(about), 0.0)
        return at + self._settle if at else 0.0

    def begin(self, abouts: Sequence[str]) -> None:
        """About to change these; written down before this returns."""
        self._times |= dict.fromkeys(map(_name, abouts))
        self.save()

    def changed(self, about: str) -> None:
        self._times[_name(about)] = time.time()

    def stored(self, about: str) -> None:
        """Nothing of it is under way any more."""
        self._times.pop(_name(about), None)

    def save(self) -> None:
        """Times are kept by the clock that all machines share, and read by this one's."""
        times = {name: at if at is None else at + self._held.ahead for name, at in self._times.items()}
        self._held.write(json.dumps(times).encode(), durable=False)


class Pace:
    """The lock of one project, and the times that are kept under it.

    Args:
        project: what identifies it, such as base URL and project id; only its hash becomes a name.
        settle: seconds after which a change is stored.
        tell: gets a sentence when there is a wait.
    """

    def __init__(self, project: str, settle: float, tell: Callable[[str], None]) -> None:
        digest = hashlib.sha256(project.encode()).hexdigest()[:24]
        self._state, self._name, self._settle, self._tell = of_machine(), f"track-{digest}.json", settle, tell

    @contextmanager
    def held(self) -> Iterator[Changes]:
        """The times of the last changes, to be read and written; other runs wait meanwhile.

        Raises:
            BusyError: another run kept the lock for ten minutes.
        """
        with ExitStack() as stack:
            changes = Changes(self._lock(stack), self._settle)
            try:
                yield changes
            finally:
                changes.save()

    def _lock(self, stack: ExitStack) -> Held:
        for patience in (QUIET, PATIENCE):
            try:
                return stack.enter_context(self._state.locked(self._name, patience=patience))
            except TimeoutError:
                self._tell("waiting for another run that sends to the same project")
        raise BusyError(
            f"another run has been sending to the same project for {PATIENCE:.0f} s",
            where="track",
            next_step="wait for it to end, then rerun.",
        )


def _name(about: str) -> str:
    """No id of a person is kept."""
    return hashlib.sha256(about.encode(errors="surrogatepass")).hexdigest()[:24]
