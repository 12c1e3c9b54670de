"""Get, spool, land, report: the one way a day travels, whoever asks for it (Dagster, the command line, a notebook).

Walking a moved day again happens here and nowhere else; a request is asked again in ``http.py``, a partition by
whoever scheduled it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol

from connector.errors import ConnectorError, IncompleteError
from connector.http.client import Meter
from connector.landing.day import land, land_newer, land_sample
from connector.landing.receipts import Reading, landed_day, record_failure
from connector.spool import spool_pages, spooling
from connector.stream import Page, Receipt, Stream, day_of
from connector.warehouse.connection import Warehouse

# The vendor stores new rows every ten seconds or so: a walk disturbed by one batch usually fits before the next.
PAUSES = (2.0, 6.0)
# session_end rows are stamped 30 to 35 minutes into the past; newer pages are read back this far.
OVERLAP = timedelta(minutes=45)


class Cost:
    """What one sync's requests cost, counted from the moment this object is made.

    Args:
        meter: one that counted requests before; a fresh one if left out.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self.meter, self._started = meter or Meter(), time.monotonic()

    def so_far(self) -> Reading:
        meter = self.meter
        return Reading(requests=meter.requests, refused=meter.refused, bytes=meter.bytes, started=self._started)


class Reader(Protocol):
    """A client whose days can be read whole."""

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
    """Land one UTC day, proven whole.

    Args:
        client: asks the vendor.
        day: also as a text, or a moment of it.
        incremental: for a day that still grows: read only what is newer than the landed rows, and the whole day if
            that does not add up.
        allow_drop: see :func:`connector.landing.land`.
        progress: called after every page.
        pauses: seconds before each further walk of a day that moved while it was read.

    Raises:
        IncompleteError: the day moved during every walk.
        ConnectorError: as the rooms below raise it. The rows landed before are then still in place, and a receipt of
            status ``failed`` is written where the warehouse allows.
    """
    day, spool_dir = day_of(day), Path(spool_dir)
    warehouse.must_not_be_named(stream.schema)
    cost = Cost()
    try:
        if stream.days == "none":
            return _append(client, stream, day, warehouse, spool_dir, cost)
        if incremental and (receipt := _add_newest(client, stream, day, warehouse, spool_dir, cost, progress)):
            return receipt
        return _replace(client, stream, day, warehouse, spool_dir, cost, progress, allow_drop, pauses)
    except ConnectorError as error:
        with suppress(ConnectorError):
            record_failure(warehouse, stream, day, error, cost.so_far())
        raise


def _replace(
    client: Reader,
    stream: Stream,
    day: date,
    warehouse: Warehouse,
    spool_dir: Path,
    cost: Cost,
    progress: Callable[[Page], None] | None,
    allow_drop: bool,
    pauses: tuple[float, ...],
) -> Receipt:
    settled: str | None = None
    for pause in (*pauses, None):
        with spooling(spool_dir, stream, day) as folder:
            try:
                pages = client.read_day(stream, day, settled=settled, meter=cost.meter)
                spool = spool_pages(folder, stream, day, pages, progress=progress)
            except IncompleteError as error:
                if pause is None:
                    raise
                settled = getattr(error, "fingerprint", None)
            else:
                return land(warehouse, stream, spool, allow_drop=allow_drop, reading=cost.so_far())
        time.sleep(pause)
    raise AssertionError("the last walk either returns or raises")


def _append(client: Reader, stream: Stream, day: date, warehouse: Warehouse, spool_dir: Path, cost: Cost) -> Receipt:
    with spooling(spool_dir, stream, day) as folder:
        spool = spool_pages(folder, stream, day, client.read_day(stream, day, meter=cost.meter))
        return land_sample(warehouse, stream, spool, reading=cost.so_far())


def _add_newest(
    client: Reader,
    stream: Stream,
    day: date,
    warehouse: Warehouse,
    spool_dir: Path,
    cost: Cost,
    progress: Callable[[Page], None] | None,
) -> Receipt | None:
    landed = landed_day(warehouse, stream, day)
    if landed is None:
        return None
    with spooling(spool_dir, stream, day) as folder, suppress(IncompleteError):
        pages = client.read_newest(stream, day, since=landed.newest - OVERLAP, meter=cost.meter)
        spool = spool_pages(folder, stream, day, pages, progress=progress)
        return land_newer(warehouse, stream, spool, onto=landed, reading=cost.so_far())
    return None
