"""Reads a busy day that still grows: in slices of time, each small enough to stand still while it is read.

A whole day of many pages never stands still between two flushes of the server. A slice that ended in the past gains a
row only if one arrives late, and is read again within a second. Slices do not overlap, so no row comes twice; a row
that arrives later than its slice was read is found by the next refresh.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from connector.errors import IncompleteError
from connector.openpanel.event_page import DayRequest
from connector.stream import Page

# A slice of up to this many pages is read with all its pages requested at once.
SLICE_PAGES = 8
# Readings of one slice; after that it is halved.
ATTEMPTS = 5
SHORTEST = timedelta(seconds=1)

Count = Callable[[DayRequest], int]
Read = Callable[[DayRequest, str | None], Iterator[Page]]


def read_in_slices(request: DayRequest, newest: datetime, count: Count, read: Read) -> Iterator[Page]:
    """Yield the pages of a day up to its newest row; the last page announces the rows of all slices.

    Args:
        newest: the instant of the newest row; rows after it are left to the next refresh.
        count: the vendor's count of rows of a slice.
        read: the pages of a slice, proven complete.

    Raises:
        IncompleteError: a second of the day did not stand still in five readings.
    """
    start = datetime.combine(request.day, time(), UTC)
    number = announced = 0
    # Half-open, in whole milliseconds: the precision of the vendor's times.
    pending = [request.between(start, newest + timedelta(milliseconds=1))]
    while pending:
        part = pending.pop()
        pages = _settled(part, count, read)
        if pages is None:
            pending += reversed(part.halves())
            continue
        announced += sum(page.rows for page in pages)
        for page in pages:
            number += 1
            yield replace(page, number=number, of=number + len(pending), announced=announced)


def _settled(part: DayRequest, count: Count, read: Read) -> list[Page] | None:
    """The pages of a slice that stood still; None if it must be halved."""
    can_be_halved = part.length >= 2 * SHORTEST
    if count(part) > SLICE_PAGES * part.limit and can_be_halved:
        return None
    settled: str | None = None
    for attempt in range(ATTEMPTS):
        try:
            return list(read(part, settled))
        except IncompleteError as error:
            settled = error.fingerprint
            if attempt == ATTEMPTS - 1 and not can_be_halved:
                raise
    return None
