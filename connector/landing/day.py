"""Lands one spooled day, in one transaction: replace it, append to it, or add what is newer.

Landing the same spool twice leaves the same rows. An empty spool empties its day and gets a receipt like any other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial

import msgspec

from connector.catalogue.own import LANDINGS
from connector.errors import ContractError, IncompleteError, SuddenDropError
from connector.landing.receipts import Landed, costs, landed_before
from connector.landing.table import drop_twins, insert_files, prepare, sample
from connector.landing.transaction import Transaction, Work
from connector.meter import Meter
from connector.privacy.forget import leave_out
from connector.records.fit import refitted
from connector.spool import Spool, spool_pages
from connector.stream import Page, Receipt, Stream
from connector.warehouse.connection import UnreadError, Warehouse, retry_conflicts
from connector.warehouse.own_tables import insert
from connector.warehouse.sql import columns, literal

# A day may shrink a little (a vendor deletes a person); less than half of what was there is a fault until proven.
DROP_TO = 0.5
DROP_MATTERS_FROM = 10


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a way of landing did to the rows of a day; see :class:`connector.stream.Receipt`."""

    received: int
    landed: int
    duplicates: int = 0
    replaced: int = 0
    forgotten: int = 0
    incremental: bool = False


# How the rows of a spool come into the table.
Strategy = Callable[[Work, Spool, date], Counts]


def land(
    warehouse: Warehouse, stream: Stream, spool: Spool, *, allow_drop: bool = False, meter: Meter | None = None
) -> Receipt:
    """Replace the spool's day.

    Args:
        warehouse: opened for the transaction only.
        stream: says which table, columns and key.
        spool: complete files; they stay where they are.
        allow_drop: land a day that shrank to nothing or to less than half.
        meter: what fetching cost, for the receipt.

    Raises:
        SuddenDropError: the day shrank and ``allow_drop`` is off.
        ContractError: a value does not fit its column, or the files do not hold the rows the manifest promises.
        BusyError: another process kept the warehouse locked.
        In every case the rows landed before are still in place.
    """
    return land_spool(warehouse, stream, spool, partial(_replace, allow_drop=allow_drop), meter=meter)


def land_sample(warehouse: Warehouse, stream: Stream, spool: Spool, *, meter: Meter | None = None) -> Receipt:
    """Add the rows of a spool beside those of the same day: a sample cannot be taken again, so none is replaced."""
    return land_spool(warehouse, stream, spool, _append, meter=meter)


def land_newer(
    warehouse: Warehouse, stream: Stream, spool: Spool, *, onto: Landed, meter: Meter | None = None
) -> Receipt:
    """Add the rows of a spool that the day does not have yet, if landed and new rows are all the vendor announced.

    Raises:
        IncompleteError: they do not add up, or another run landed the day meanwhile: read the whole day instead.
    """
    return land_spool(warehouse, stream, spool, partial(_add_newer, onto=onto), meter=meter)


def land_spool(
    warehouse: Warehouse, stream: Stream, spool: Spool, strategy: Strategy, *, meter: Meter | None = None
) -> Receipt:
    """The one way of a spool into its table: verify the files, prepare the table, land, write the receipt, commit."""
    (day,) = spool.manifest.days
    where = stream.table if stream.history else stream.partition(day)
    spool.verify(where)
    try:
        return retry_conflicts(lambda: _landed(warehouse, stream, spool, strategy, meter or Meter()))
    except UnreadError:
        again = _respooled(spool, stream, where)
    try:
        return retry_conflicts(lambda: _landed(warehouse, stream, again, strategy, meter or Meter()))
    except UnreadError as error:
        raise ContractError(error.what, where=error.where, next_step=error.next_step) from None


def _landed(warehouse: Warehouse, stream: Stream, spool: Spool, strategy: Strategy, meter: Meter) -> Receipt:
    (day,) = spool.manifest.days
    where = stream.table if stream.history else stream.partition(day)
    transaction = Transaction(warehouse, stream, where)
    with transaction as work:
        prepare(work, spool.manifest.hashed_with)
        counts = strategy(work, spool, day)
        receipt = _write_receipt(work, spool, day, counts, meter)
    return transaction.timed(receipt)


def _respooled(spool: Spool, stream: Stream, where: str) -> Spool:
    """The same rows in a form that DuckDB accepts, beside those that it refused; see ``fit.refitted``."""
    manifest = spool.manifest
    folder = spool.folder / "again"
    folder.mkdir(mode=0o700, exist_ok=True)

    def pages() -> Iterator[Page]:
        for number, (part, file) in enumerate(zip(manifest.parts, spool.files, strict=True), start=1):
            rows = refitted(file.read_bytes(), stream, where=where)
            yield Page(
                number=number,
                of=len(manifest.parts),
                rows=part.rows,
                announced=manifest.announced,
                body=rows.body,
                strangers=rows.strangers,
                misfits=rows.misfits,
                hashed_with=manifest.hashed_with,
                rules=manifest.rules,
            )

    again = spool_pages(folder, stream, manifest.days[0], pages())
    # What was said of the reading stays; fields that are in `_extra` already were seen then.
    kept = msgspec.structs.replace(
        manifest,
        parts=again.manifest.parts,
        misfits=again.manifest.misfits,
        strangers=sorted({*manifest.strangers, *again.manifest.strangers}),
    )
    return Spool(folder, kept)


def guard_drop(where: str, before: int, landed: int) -> None:
    """Refuse a day that shrank to nothing or to less than half.

    Raises:
        SuddenDropError: it did.
    """
    if (before and not landed) or (before >= DROP_MATTERS_FROM and landed < before * DROP_TO):
        raise SuddenDropError(where=where, landed=before, received=landed)


def _replace(work: Work, spool: Spool, day: date, *, allow_drop: bool) -> Counts:
    of_day = f"from {work.table} where _day = {literal(day)}"
    (before,) = work.row(f"select count(*) {of_day}")
    if before:
        work.db.execute(f"delete {of_day}")
    inserted = insert_files(work, spool.files, day)
    if inserted != spool.manifest.rows:
        raise ContractError(
            f"{spool.manifest.rows} rows were staged and {inserted} were read back",
            where=work.where,
            next_step="rerun the partition; if it repeats, report it with this message.",
        )
    forgotten = leave_out(work.db, work.stream, f"_day = {literal(day)}")
    duplicates = drop_twins(work, day, inserted - forgotten)
    landed = inserted - forgotten - duplicates
    if not allow_drop:
        guard_drop(work.where, before, landed)
    work.replaced[day] = landed
    return Counts(received=inserted, landed=landed, duplicates=duplicates, replaced=before, forgotten=forgotten)


def _append(work: Work, spool: Spool, day: date) -> Counts:
    rows = insert_files(work, spool.files, day)
    return Counts(received=rows, landed=rows)


def _add_newer(work: Work, spool: Spool, day: date, *, onto: Landed) -> Counts:
    announced = spool.manifest.announced

    def incomplete(because: str, received: int = onto.received) -> IncompleteError:
        return IncompleteError(where=work.where, announced=announced, received=received, because=because)

    now = landed_before(work.db, work.stream, day)
    if now is None or now.load_id != onto.load_id:
        raise incomplete("another run landed this day meanwhile")
    if now.rules != spool.manifest.rules:
        raise incomplete("the rules for personal data were changed since the day was landed")
    key = columns(work.stream.primary_key)
    work.db.execute(f"create temp table newer as select * from {work.table} limit 0")
    insert_files(work, spool.files, day, into="newer")
    work.db.execute(
        f"delete from newer where ({key}) in (select ({key}) from {work.table} where _day = {literal(day)})"
    )
    (new,) = work.row("select count(*) from newer")
    if leave_out(work.db, work.stream, "true", table="newer"):
        raise incomplete("people to be forgotten are among the newer rows, which only the whole day can tell apart")
    if onto.received + new != announced:
        raise incomplete("landed and newer rows do not add up", onto.received + new)
    twins = drop_twins(work, day, new, table="newer")
    work.db.execute(f"insert into {work.table} by name select * from newer")
    (landed,) = work.row(f"select count(*) from {work.table} where _day = {literal(day)}")
    work.db.execute("drop table newer")
    return Counts(
        received=announced,
        landed=landed,
        duplicates=onto.duplicates + twins,
        forgotten=onto.forgotten,
        incremental=True,
    )


def _write_receipt(work: Work, spool: Spool, day: date, counts: Counts, meter: Meter) -> Receipt:
    manifest = spool.manifest
    receipt = Receipt(
        table=work.stream.table,
        day=day,
        load_id=work.load_id,
        announced=manifest.announced,
        received=counts.received,
        landed=counts.landed,
        duplicates=counts.duplicates,
        replaced=counts.replaced,
        misfits=manifest.misfits,
        requests=meter.requests,
        refused=meter.refused,
        bytes=meter.bytes,
        seconds=meter.seconds,
        forgotten=counts.forgotten,
        strangers=frozenset(manifest.strangers),
        incremental=counts.incremental,
        warnings=tuple(manifest.warnings),
        sample=sample(work, day),
    )
    row = {
        "table_name": receipt.table,
        "day": day,
        "load_id": receipt.load_id,
        "announced": receipt.announced,
        "received": receipt.received,
        "landed": receipt.landed,
        "duplicates": receipt.duplicates,
        "replaced": receipt.replaced,
        "misfits": receipt.misfits,
        **costs(meter),
        "incremental": receipt.incremental,
        "warnings": "; ".join(receipt.warnings) or None,
        "status": "landed",
        "landed_at": work.now,
        "forgotten": receipt.forgotten,
        "rules": manifest.rules,
    }
    insert(work.db, LANDINGS, [row])
    return receipt
