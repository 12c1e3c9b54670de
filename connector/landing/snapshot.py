"""Lands what a vendor lists now beside what it listed before: a row that vanishes stays, marked as no longer current.

Events of last year still refer to a flow that was deleted yesterday, so nothing is ever removed here. A row holds the
newest values; older ones are not kept. Where the vendor cut the list, rows that are missing stay as they were, because
nothing is known of them.
"""

from datetime import date

from connector.landing.day import Counts, land_spool
from connector.landing.table import insert_files
from connector.landing.transaction import Work
from connector.meter import Meter
from connector.privacy.forget import leave_out
from connector.spool import Spool
from connector.stream import Receipt, Stream
from connector.warehouse.connection import Warehouse
from connector.warehouse.sql import literal


def land_snapshot(warehouse: Warehouse, stream: Stream, spool: Spool, *, meter: Meter | None = None) -> Receipt:
    """Bring a table up to what a spool lists; rows are told apart by the stream's primary key.

    Returns:
        A receipt whose ``landed`` counts current rows and ``replaced`` those that were known before.

    Raises:
        ContractError: a value does not fit its column.
        BusyError: another process kept the warehouse locked.
        In every case the table is as it was.
    """
    return land_spool(warehouse, stream, spool, _bring_up, meter=meter)


def _bring_up(work: Work, spool: Spool, day: date) -> Counts:
    key, now = ", ".join(work.stream.primary_key), literal(work.now)
    work.db.execute(
        f"create temp table listed as select * exclude (_first_seen, _last_seen, _current) from {work.table} limit 0"
    )
    received = insert_files(work, spool.files, day, into="listed") if spool.files else 0
    forgotten = leave_out(work.db, work.stream, "true", table="listed")
    work.db.execute(
        f"create temp table fresh as select listed.*, coalesce(known._first_seen, {now}) as _first_seen, "
        f"{now} as _last_seen, true as _current from (select * from listed "
        f"qualify row_number() over (partition by {key} order by rowid) = 1) as listed "
        f"left join (select {key}, _first_seen from {work.table}) as known using ({key})"
    )
    (landed,) = work.row("select count(*) from fresh")
    if not (work.stream.may_be_cut and spool.manifest.warnings):
        work.db.execute(f"update {work.table} set _current = false where _current")
    (replaced,) = work.row(f"delete from {work.table} where ({key}) in (select ({key}) from fresh)")
    work.db.execute(f"insert into {work.table} by name select * from fresh")
    work.db.execute("drop table listed")
    work.db.execute("drop table fresh")
    duplicates = received - forgotten - landed
    return Counts(received=received, landed=landed, duplicates=duplicates, replaced=replaced, forgotten=forgotten)
