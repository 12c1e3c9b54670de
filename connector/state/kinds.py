"""What a kind of shared state can do: locks, and bytes, by name. Nothing here knows what the bytes mean."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

# A PostgreSQL database in which machines meet. Without it, shared state lies in files, and each machine has its own.
VARIABLE = "CONNECTOR_SHARED_STATE"


class Held(Protocol):
    """A name whose lock is held. Once the lock is lost every method fails, so nothing is written without it.

    Attributes:
        ahead: seconds by which the clock that all processes share is ahead of this machine's.
    """

    @property
    def ahead(self) -> float: ...

    def read(self) -> bytes | None:
        """What is kept; None if nothing is."""

    def write(self, content: bytes, *, durable: bool = True) -> None:
        """Replace what is kept: wholly, or not at all if the process is killed.

        Args:
            durable: whether it must also survive the death of the machine.
        """

    def append(self, content: bytes, *, durable: bool = True) -> None:
        """Add to what is kept. A kill may leave a part of it."""


@dataclass
class Content:
    """What a cell holds; empty before its first use."""

    data: bytes


class Cell(Protocol):
    """A few bytes that many processes read and change in one go, again and again."""

    def changing(self) -> AbstractContextManager[Content]:
        """The content, locked while the block runs; what the block leaves in it is kept unless it fails."""

    def now(self) -> float:
        """Seconds since the epoch, by the clock that all processes share."""

    def close(self) -> None: ...


class State(Protocol):
    """Locks and bytes by name.

    Attributes:
        where: where they are kept, for messages.
    """

    @property
    def where(self) -> str: ...

    def locked(self, name: str, *, patience: float = 0.0) -> AbstractContextManager[Held]:
        """Hold the lock of a name against all others. It is free once its holder is dead, however that died.

        Args:
            patience: seconds to wait if it is held.

        Raises:
            TimeoutError: it was held all the time.
            TransientError: PostgreSQL cannot be reached.
            OSError: the file cannot be made.
        """

    def read(self, name: str) -> bytes | None:
        """What is kept under a name, without its lock; None if nothing is."""

    def names(self, ending: str) -> Sequence[str]:
        """All names with this ending under which something is kept, sorted."""

    def cell(self, name: str) -> Cell: ...
