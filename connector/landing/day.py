"""Lands one spooled day: replace it, append to it, or add what is newer."""

from connector.landing.receipts import Landed, Reading
from connector.landing.transaction import Transaction
from connector.spool import Spool
from connector.stream import Receipt, Stream
from connector.warehouse.connection import Warehouse


def land(
    warehouse: Warehouse,
    stream: Stream,
    spool: Spool,
    *,
    allow_drop: bool = False,
    reading: Reading | None = None,
) -> Receipt:
    """Replace the spool's day.

    Args:
        warehouse: opened for the transaction only.
        stream: says which table, columns and key.
        spool: complete files; they stay where they are.
        allow_drop: land a day that shrank to nothing or to less than half.
        reading: what fetching cost, for the receipt.

    Raises:
        SuddenDropError: the day shrank and ``allow_drop`` is off.
        ContractError: a value does not fit its column, or the files do not hold the rows the manifest promises.
        BusyError: somebody else kept the warehouse locked.
        In every case the rows landed before are still in place.
    """
    (day,) = spool.manifest.days
    where = stream.partition(day)
    spool.verify(where)
    transaction = Transaction(warehouse, stream, where)
    with transaction as work:
        receipt = work.replace_day(spool, day, allow_drop=allow_drop, reading=reading or Reading())
    return transaction.timed(receipt)


def land_sample(warehouse: Warehouse, stream: Stream, spool: Spool, *, reading: Reading | None = None) -> Receipt:
    """Add the rows of a spool beside those of the same day: a sample cannot be taken again, so none is replaced."""
    (day,) = spool.manifest.days
    spool.verify(stream.partition(day))
    transaction = Transaction(warehouse, stream, stream.partition(day))
    with transaction as work:
        receipt = work.append(spool, day, reading=reading or Reading())
    return transaction.timed(receipt)


def land_newer(
    warehouse: Warehouse, stream: Stream, spool: Spool, *, onto: Landed, reading: Reading | None = None
) -> Receipt:
    """Add the rows of a spool that the day does not have yet, if landed and new rows are all the vendor announced.

    Raises:
        IncompleteError: they do not add up, or another run landed the day meanwhile: read the whole day instead.
    """
    (day,) = spool.manifest.days
    where = stream.partition(day)
    spool.verify(where)
    transaction = Transaction(warehouse, stream, where)
    with transaction as work:
        receipt = work.add_newer(spool, day, onto=onto, reading=reading or Reading())
    return transaction.timed(receipt)
