"""Lands what a vendor lists now beside what it listed before: a row that vanishes stays, marked as no longer current.

Events of last year still refer to a flow that was deleted yesterday, so nothing is ever removed here. A row holds the
newest values; older ones are not kept. Nothing here knows a vendor, a request or a schedule.
"""

import dataclasses
from datetime import date

from connector.landing.receipts import Reading
from connector.landing.transaction import Transaction, Work
from connector.spool import Spool
from connector.stream import SEEN, Receipt, Stream
from connector.warehouse.connection import Warehouse
from connector.warehouse.sql import literal


def land_snapshot(warehouse: Warehouse, stream: Stream, spool: Spool, *, reading: Reading | None = None) -> Receipt:
    """Bring a table up to what a spool lists; rows are told apart by the stream's primary key.

    Returns:
        A receipt whose ``landed`` counts current rows and ``replaced`` those that were known before.

    Raises:
        ContractError: a value does not fit its column.
        BusyError: somebody else kept the warehouse locked.
        In every case the table is as it was.
    """
    (day,) = spool.manifest.days
    spool.verify(stream.table)
    transaction = Transaction(warehouse, stream, stream.table)
    with transaction as work:
        receipt = _Snapshot(work._db, stream, stream.table).bring_up(spool, day, reading or Reading())
    return transaction.timed(receipt)


class _Snapshot(Work):
    """The statements of one snapshot."""

    def bring_up(self, spool: Spool, day: date, reading: Reading) -> Receipt:
        listed = self._stream
        self._stream = dataclasses.replace(listed, columns=(*listed.columns, *SEEN))
        self._prepare(spool.manifest.hashed_with)
        self._stream = listed
        key, now = ", ".join(listed.primary_key), literal(self._now)
        self._db.execute(f"create temp table listed as select * exclude (_first_seen, _last_seen, _current) "
                         f"from {self._table} limit 0")  # fmt: skip
        received = self._insert(spool.files, day, into="listed") if spool.files else 0
        self._db.execute(
            f"create temp table fresh as select listed.*, coalesce(known._first_seen, {now}) as _first_seen, "
            f"{now} as _last_seen, true as _current from (select * from listed "
            f"qualify row_number() over (partition by {key} order by rowid) = 1) as listed "
            f"left join (select {key}, _first_seen from {self._table}) as known using ({key})"
        )
        (landed,) = self._row("select count(*) from fresh")
        self._db.execute(f"update {self._table} set _current = false where _current")
        (replaced,) = self._row(f"delete from {self._table} where ({key}) in (select ({key}) from fresh)")
        self._db.execute(f"insert into {self._table} by name select * from fresh")
        receipt = self._write_receipt(
            spool, day, reading, received=received, landed=landed, duplicates=received - landed, replaced=replaced
        )
        self._db.execute("drop table listed")
        self._db.execute("drop table fresh")
        return receipt
