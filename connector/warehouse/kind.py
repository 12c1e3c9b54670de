"""What every kind of warehouse can do for :class:`Warehouse`; each kind is one module beside this one.

Nothing outside this folder knows kinds. Where they differ, callers ask for what they need, such as
``partition_by_day``, and a kind that needs nothing does nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb

from connector.errors import ConnectorError, RejectedError, SettingsError
from connector.warehouse.faults import translated

Connection = duckdb.DuckDBPyConnection
# A moment (naive ones are UTC), or the number of a snapshot.
At = datetime | int

# How long an older version of a row stays readable: longer than anybody reads, and a day to look back.
KEEP = timedelta(hours=24)
# Loading needs one thread, and memory for a day of 100,000 rows. DuckDB spills larger days to disk.
MEMORY_MB = 144
WRITE_SETTINGS = {"threads": "1", "memory_limit": f"{MEMORY_MB}MB"}


@dataclass(frozen=True)
class Writing:
    """A connection that holds the warehouse's lock.

    Attributes:
        must_hold: asked before every commit; raises TransientError if the lock was lost meanwhile.
    """

    connection: Connection
    must_hold: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Remark:
    """What one kind says of itself to `connector doctor`: ``ok``, ``warn`` or ``fail``, a sentence, and what to do."""

    level: Literal["ok", "warn", "fail"]
    said: str
    todo: str = ""


@dataclass(frozen=True)
class Done:
    """One step of maintenance, and how many of it."""

    what: str
    count: int


class Kind(ABC):
    """One kind of warehouse at one place.

    Attributes:
        url: the place, absolute and without secrets.
        catalog: DuckDB's name for the database; it stands in front of schemas in prepared dbt manifests.
        has_other_writers: programs that do not take our lock may write at the same time.
        needs_maintenance: old versions of rows stay until :meth:`maintain` removes them.
        environment: variables by which a child process, such as dbt, opens the same warehouse. May hold secrets.
        place: a folder whose disk the rows are on; None if that is no disk of this machine.
    """

    url: str
    catalog: str
    has_other_writers = False
    needs_maintenance = False
    environment: Mapping[str, str]
    place: Path | None = None

    @property
    def name(self) -> str:
        """The place as messages show it, without secrets."""
        return self.url

    @property
    def uri(self) -> str:
        """The place as a URI, without secrets."""
        return self.url

    @abstractmethod
    def exists(self) -> bool:
        """Whether the warehouse was ever written to."""

    @abstractmethod
    def write(self, *, lock_wait: float, where: str) -> AbstractContextManager[Writing]:
        """A connection in UTC that may write, alone; closed, and rolled back, when the block ends."""

    @abstractmethod
    def read(self, *, lock_wait: float, where: str, at: At | None = None) -> AbstractContextManager[Connection]:
        """A connection in UTC that only reads, now or as of an older snapshot; closed when the block ends."""

    @abstractmethod
    def remarks(self) -> Iterator[Remark]:
        """Findings for `connector doctor`."""

    def translated(self, fault: duckdb.Error, where: str) -> ConnectorError:
        """An error of DuckDB while rows were written, as one of ours."""
        return translated(fault, where)

    @contextmanager
    def building(self, *, lock_wait: float, where: str) -> Iterator[Mapping[str, str]]:
        """Hold what dbt needs to be held while it builds; yields variables for its process."""
        yield self.environment

    def lent_to(self, root: Connection, *, lock_wait: float) -> AbstractContextManager[None]:
        """Attach the warehouse to a DuckDB of dbt's, and hold what must be held while it builds.

        Raises:
            SettingsError: dbt opens a warehouse of this kind by itself.
        """
        raise SettingsError(
            "WAREHOUSE",
            f"is {self.url}, which dbt opens by itself",
            next_step="take the plugin out of profiles.yml, or choose the target that is for lakes.",
        )

    def partition_by_day(self, connection: Connection, table: str) -> None:  # noqa: B027  most kinds need nothing
        """Store a new table's days apart, where that makes replacing one cheap."""

    def sweep(self) -> None:  # noqa: B027
        """Remove what processes left that died while they made the warehouse."""

    def settle(self, *, lock_wait: float, now: datetime | None = None) -> datetime | None:
        """After people were forgotten: remove their rows from storage.

        Returns:
            When the last of them can be removed by maintenance; None if nothing is left.
        """
        with self.write(lock_wait=lock_wait, where="warehouse") as writing:
            writing.connection.execute("checkpoint")
        return None

    def maintain(self, *, keep: timedelta, lock_wait: float, now: datetime | None = None) -> list[Done]:
        """Remove old versions of rows that have been unreadable for ``keep``, and what dead writers left."""
        return []

    def migrate(self, *, moved: bool, lock_wait: float) -> str:
        """Bring the warehouse's format up to date; what was done, in a sentence.

        Raises:
            RejectedError: there is nothing to migrate in a warehouse of this kind.
        """
        raise RejectedError(
            f"{self.url} has no catalogue of its own",
            where="warehouse",
            next_step="nothing is to be done: DuckDB keeps the format of its files by itself.",
        )

    def close(self) -> None:  # noqa: B027
        """Close what is kept open between two uses."""


def moment(at: datetime) -> datetime:
    """In UTC; a moment without a timezone is UTC already."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
