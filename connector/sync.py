"""Lands one day: read, spool, land, write the receipt. Used by Dagster, the command line and notebooks alike.

A day that changed while it was read is read again here and nowhere else. ``http/`` retries requests; the scheduler
retries partitions.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from connector.errors import ConnectorError, IncompleteError
from connector.landing.day import land, land_newer, land_sample
from connector.landing.receipts import landed_day, record_failure
from connector.landing.snapshot import land_snapshot
from connector.meter import Meter
from connector.spool import Spool, spool_pages, spooling
from connector.stream import Page, Receipt, Stream, day_of
from connector.system.prefetch import ahead
from connector.warehouse.connection import Warehouse

# Seconds between readings. The vendor stores new rows about every ten seconds. A second reading usually ends before
# the next batch.
PAUSES = (2.0, 6.0)
# session_end rows are stamped 30 to 35 minutes into the past; newer pages are read back this far.
OVERLAP = timedelta(minutes=45)


class Reader(Protocol):
    """A client that can read whole days."""

    def read_day(
        self, stream: Stream, day: date, *, settled: str | None = None, meter: Meter | None = None
    ) -> Iterator[Page]: ...

    def read_newest(
        self, stream: Stream, day: date, *, since: datetime, meter: Meter | None = None
    ) -> Iterator[Page]: ...


def sync_day(
    client: Reader,
    stream: Stream,
    day: date,
    *,
    warehouse: Warehouse,
    spool_dir: Path,
    allow_drop: bool = False,
    incremental: bool = False,
    progress: Callable[[Page], None] | None = None,
    pauses: tuple[float, ...] = PAUSES,
) -> Receipt:
    """Land one day, proven whole.

    Args:
        client: reads from the vendor.
        day: a date, an ISO text or a datetime.
        incremental: for a day that still grows: read only rows newer than the landed ones, and the whole day if the
            two do not add up to the vendor's count.
        allow_drop: see :func:`connector.landing.day.land`.
        progress: called after every page.
        pauses: seconds before each further reading of a day that changed while it was read.

    Raises:
        IncompleteError: the day changed during every reading.
        ConnectorError: from the client, the spool or the landing. The rows landed before are still in place, and a
            receipt of status ``failed`` is written if the warehouse can be written.
    """
    run = _DayRun(client, stream, day_of(day), warehouse, Path(spool_dir), progress)
    warehouse.must_not_be_named(stream.schema)
    try:
        if stream.days == "none":
            return run.add_now()
        if incremental and (receipt := run.add_newest()):
            return receipt
        return run.replace(allow_drop, pauses)
    except ConnectorError as error:
        with suppress(ConnectorError):
            record_failure(warehouse, stream, [run.day], error, run.meter)
        raise


def sync_days(
    client: Reader,
    stream: Stream,
    days: Sequence[date],
    *,
    growing: Collection[date] = (),
    progress: Callable[[date], Callable[[Page], None]] | None = None,
    **options: Any,
) -> Iterator[Receipt | ConnectorError]:
    """A receipt or an error for every day, in order; of some streams a few days at a time, on one request budget.

    Args:
        growing: days that still grow, of which only newer rows are read; see ``incremental`` of :func:`sync_day`.
        progress: gives what is called after every page of a day.
        options: as for :func:`sync_day`.
    """

    def land(day: date) -> Receipt | ConnectorError:
        try:
            told = progress(day) if progress else None
            return sync_day(client, stream, day, incremental=day in growing, progress=told, **options)
        except ConnectorError as error:
            return error

    if stream.days_at_once > 1:
        return ahead((partial(land, day) for day in days), at_once=stream.days_at_once)
    return map(land, days)


@dataclass(frozen=True)
class _DayRun:
    """One day on its way from the vendor into its table."""

    client: Reader
    stream: Stream
    day: date
    warehouse: Warehouse
    spool_dir: Path
    progress: Callable[[Page], None] | None
    meter: Meter = field(default_factory=Meter)

    def add_now(self) -> Receipt:
        """Land what is true now: beside what was sampled before, or as the newest state of what has a history."""
        pages = self.client.read_day(self.stream, self.day, meter=self.meter)
        landing = land_snapshot if self.stream.history else land_sample
        return self._land(pages, lambda spool: landing(self.warehouse, self.stream, spool, meter=self.meter))

    def add_newest(self) -> Receipt | None:
        """Land only what is newer; None if the day must be read whole."""
        landed = landed_day(self.warehouse, self.stream, self.day)
        if landed is None:
            return None
        pages = self.client.read_newest(self.stream, self.day, since=landed.newest - OVERLAP, meter=self.meter)
        with suppress(IncompleteError):
            return self._land(
                pages, lambda spool: land_newer(self.warehouse, self.stream, spool, onto=landed, meter=self.meter)
            )
        return None

    def replace(self, allow_drop: bool, pauses: tuple[float, ...]) -> Receipt:
        settled: str | None = None
        for pause in (*pauses, None):
            try:
                pages = self.client.read_day(self.stream, self.day, settled=settled, meter=self.meter)
                return self._land(
                    pages,
                    lambda spool: land(self.warehouse, self.stream, spool, allow_drop=allow_drop, meter=self.meter),
                )
            except IncompleteError as error:
                if pause is None:
                    raise
                settled = error.fingerprint
            time.sleep(pause)
        raise AssertionError("the last reading either returns or raises")

    def _land(self, pages: Iterable[Page], landing: Callable[[Spool], Receipt]) -> Receipt:
        with spooling(self.spool_dir, self.stream, self.day) as folder:
            return landing(spool_pages(folder, self.stream, self.day, pages, progress=self.progress))
