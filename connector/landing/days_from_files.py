"""Replaces a range of days by files whose rows tell their own day, in one transaction, or leaves everything as it was.

The sibling of ``day.py`` for bulk exports: names of files mean nothing, every row is placed by its replication key.
Nothing here knows a vendor, a request or a schedule.

Files are read the fast way first. What DuckDB refuses then is read once more, record by record: it lands, or the error
names the file, the line and what is wrong there.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

from connector.catalogue.own import EXPORT_JOBS, LANDINGS
from connector.errors import ContractError, RejectedError, UndatedError
from connector.landing.day import guard_drop
from connector.landing.equal_records import drop_equal
from connector.landing.file_queries import Batch, prepared
from connector.landing.receipts import costs
from connector.landing.table import prepare, sample
from connector.landing.transaction import Transaction, Work
from connector.landing.undated import of_another_shape, undated_places
from connector.meter import Meter
from connector.privacy.forget import leave_out
from connector.records.files import File, check_header, looked_at
from connector.redaction import excerpt
from connector.stream import Stream
from connector.warehouse.connection import UnreadError, Warehouse, retry_conflicts
from connector.warehouse.own_tables import create, insert
from connector.warehouse.sql import literal, quoted


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which export the files come from, and for which days it was asked.

    Attributes:
        first, last: the days that are replaced, both included.
        job_id: the export that made them.
        fingerprint: equal for exports that hold the same rows; days landed under another one are not replaced.
        options: what was asked for, as JSON text. requested_at: when.
        expected: by column, the only values its rows may have; others mean that the request was not understood.
        one_source: columns whose values tell where rows come from; a table holds those of one source.
        hashed_with, rules: see :class:`connector.stream.Page`.
        allow_undated: leave out and count rows whose time no day can hold, instead of refusing the files.
    """

    first: date
    last: date
    job_id: str
    fingerprint: str
    options: str = "{}"
    requested_at: datetime | None = None
    expected: Mapping[str, Collection[str]] = field(default_factory=dict)
    one_source: Collection[str] = ()
    hashed_with: str = ""
    rules: str = ""
    allow_undated: bool = False

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    @property
    def in_range(self) -> str:
        """SQL: a row is of these days."""
        return f"_day between {literal(self.first)} and {literal(self.last)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayReceipt:
    """What a landing did to one day; see :class:`connector.stream.Receipt`."""

    day: date
    received: int
    landed: int
    duplicates: int
    replaced: int
    misfits: int
    forgotten: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeReceipt:
    """What one landing of files did.

    Attributes:
        days: every day of the range, also those without rows.
        outside: rows of the files that lie outside the range; they are not landed.
        undated: rows without a usable time; they are not landed either, see ``Origin.allow_undated``.
        files, bytes, requests, seconds, lock_wait, lock_seconds: what it cost.
        strangers: undeclared fields seen.
        sample: a few rows of the last day that has any, as texts, without columns that name a person.
    """

    table: str
    load_id: str
    job_id: str
    days: tuple[DayReceipt, ...]
    outside: int
    files: int
    bytes: int = 0
    requests: int = 0
    seconds: float = 0.0
    lock_wait: float = 0.0
    lock_seconds: float = 0.0
    undated: int = 0
    strangers: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    sample: tuple[Mapping[str, str | None], ...] = field(default=(), repr=False)

    @property
    def landed(self) -> int:
        return sum(day.landed for day in self.days)

    @property
    def duplicates(self) -> int:
        return sum(day.duplicates for day in self.days)

    @property
    def received(self) -> int:
        return sum(day.received for day in self.days)


def land_files(
    warehouse: Warehouse,
    stream: Stream,
    files: Sequence[Path],
    origin: Origin,
    *,
    allow_drop: bool = False,
    meter: Meter | None = None,
) -> RangeReceipt:
    """Replace the days of an export.

    Args:
        warehouse: opened for the transaction only.
        stream: says which table and columns; its replication key places the rows.
        files: JSON lines, JSON arrays or CSV with a header, compressed or not; looked at, not believed by name.
        origin: which export made them, and for which days.
        allow_drop: land days that shrank to nothing or to less than half, or were landed with other filters.
        meter: what fetching cost, for the receipts.

    Raises:
        SuddenDropError: a day shrank and ``allow_drop`` is off.
        RejectedError: a day was landed from an export with other filters.
        UndatedError: rows have no usable time, and ``origin.allow_undated`` is off.
        ContractError: a file is cut or not what it seems, or a row holds what was not asked for.
        BusyError: another process kept the warehouse locked.
        In every case the rows landed before are still in place.
    """
    where = f"{stream.table}[{origin.first}..{origin.last}]"
    looks = [_known(looked_at(file, where), stream, where) for file in files]
    landing = _Landing(warehouse, stream, looks, origin, where)
    how = _How(allow_drop=allow_drop, meter=meter or Meter())
    while True:
        try:
            return retry_conflicts(partial(landing.attempt, how))
        except UnreadError as error:
            if how.slowly:
                raise ContractError(error.what, where=error.where, next_step=error.next_step) from None
        except _UndatedRowsError as found:
            # The reason may be a blank line before the header, which the slow way reads as it is meant.
            if how.slowly or all(file.is_json for file in looks):
                if foreign := of_another_shape(looks, stream, where):
                    raise foreign from None
                places = undated_places(looks, stream, where)
                if not origin.allow_undated:
                    key = stream.replication_key
                    raise UndatedError(where=where, column=key, rows=found.rows, places=places) from None
                how = replace(how, undated_at=places)
                continue
        how = replace(how, slowly=True)


class _UndatedRowsError(Exception):
    """Rows have no usable time, and where they stand is not known yet."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.rows = rows


@dataclass(frozen=True, kw_only=True)
class _How:
    """How files are landed.

    Attributes:
        allow_drop, meter: see :func:`land_files`.
        slowly: record by record, because DuckDB refused a file.
        undated_at: where the rows without a usable time stand; empty before that was asked.
    """

    allow_drop: bool
    meter: Meter
    slowly: bool = False
    undated_at: str = ""


@dataclass(frozen=True)
class _Landing:
    """Files on their way into a table; each attempt is a transaction of its own."""

    warehouse: Warehouse
    stream: Stream
    files: Sequence[File]
    origin: Origin
    where: str

    def attempt(self, how: _How) -> RangeReceipt:
        transaction = Transaction(self.warehouse, self.stream, self.where)
        with prepared(self.files, self.stream, self.where, slowly=how.slowly) as batches, transaction as work:
            receipt = _Range(work, self.origin, how).replace(self.files, batches)
        return transaction.timed(receipt)


def _known(file: File, stream: Stream, where: str) -> File:
    """A text without the time's column is no table of events; read as one it would land as nothing."""
    if file.kind != "csv":
        return file
    time = next(column.field for column in stream.columns if column.name == stream.replication_key)
    if time not in file.names:
        raise ContractError(
            f"file {excerpt(file.path.name, 60)} is neither JSON nor CSV with a column {time}; it begins with "
            f"{excerpt(', '.join(file.names), 80)!r}",
            where=where,
            next_step="nothing was landed; ask for a new export; if it repeats, report this message.",
        )
    check_header(file.names, file.path, where)
    return file


class _Range:
    """The statements of one landing of files."""

    def __init__(self, work: Work, origin: Origin, how: _How) -> None:
        self._work, self._db, self._stream, self._table = work, work.db, work.stream, work.table
        self._origin, self._how, self._mine = origin, how, f"_load_id = {literal(work.load_id)}"

    def replace(self, files: Sequence[File], batches: Iterable[Batch]) -> RangeReceipt:
        origin, allow_drop = self._origin, self._how.allow_drop
        prepare(self._work, origin.hashed_with)
        create(self._db, EXPORT_JOBS)
        if not allow_drop:
            self._same_filters()
        sources = {} if allow_drop else {column: self._values(column, "true") for column in origin.one_source}
        before = self._per_day("count(*)")
        if before:
            self._db.execute(f"delete from {self._table} where {origin.in_range}")
        total = sum(map(self._insert_some, batches))
        undated = self._leave_out_undated()
        self._nothing_else()
        self._same_source(sources)
        (outside,) = self._work.row(f"delete from {self._table} where {self._mine} and not ({origin.in_range})")
        days = self._settle_days(before)
        assert total == undated + outside + sum(day.received for day in days)
        if not allow_drop:
            for day in days:
                guard_drop(self._stream.partition(day.day), day.replaced, day.landed)
        self._work.replaced.update({day.day: day.landed for day in days})
        return self._write_receipts(days, files, outside=outside, undated=undated)

    def _settle_days(self, before: Mapping[date, int]) -> tuple[DayReceipt, ...]:
        """Leave out forgotten people, drop equal records, and count what is left of each day."""
        received = kept = self._per_day("count(*)")
        if leave_out(self._db, self._stream, self._origin.in_range):
            kept = self._per_day("count(*)")
        twins = drop_equal(self._work, kept, self._origin.in_range)
        misfits = self._per_day("count(_extra)")
        return tuple(
            DayReceipt(
                day=day,
                received=received.get(day, 0),
                landed=kept.get(day, 0) - twins.get(day, 0),
                duplicates=twins.get(day, 0),
                replaced=before.get(day, 0),
                misfits=misfits.get(day, 0),
                forgotten=received.get(day, 0) - kept.get(day, 0),
            )
            for day in self._origin.days
        )

    def _same_filters(self) -> None:
        """Refuse to replace a day that was exported with other filters: rows outside them would be lost."""
        origin = self._origin
        other = self._db.execute(
            "select day, fingerprint, options from (select l.day, j.fingerprint, j.options::varchar as options, "
            "row_number() over (partition by l.day order by l.landed_at desc) as turn "
            "from connector.landings l join connector.export_jobs j on j.load_id = l.load_id "
            f"where l.table_name = {literal(self._stream.table)} and l.status = 'landed' "
            f"and l.day between {literal(origin.first)} and {literal(origin.last)}) "
            f"where turn = 1 and fingerprint <> {literal(origin.fingerprint)} order by day limit 1"
        ).fetchone()
        if other:
            raise RejectedError(
                f"{other[0]} was landed from an export with other filters ({other[2]}; now {origin.options})",
                where=self._work.where,
                next_step="ask for the same filters, or replace the days on purpose: --allow-drop (command line), "
                "run tag connector/allow_drop: true (Dagster).",
            )

    def _insert_some(self, batch: Batch) -> int:
        (count,) = self._work.row(
            f"insert into {self._table} by name select *, {quoted(self._stream.replication_key)}::date as _day, "
            f"{literal(self._work.load_id)} as _load_id, {literal(self._work.now)} as _landed_at "
            f"from ({batch.select(self._stream.columns)})"
        )
        batch.delete_files()
        return count

    def _leave_out_undated(self) -> int:
        """How many rows no day can hold; they are deleted if that was allowed.

        Raises:
            _UndatedRowsError: it was not.
        """
        undated = "(_day is null or _day = 'infinity'::date or _day = '-infinity'::date)"
        (rows,) = self._work.row(f"select count(*) from {self._table} where {undated}")
        if rows and not self._how.undated_at:
            raise _UndatedRowsError(rows)
        if rows:
            self._db.execute(f"delete from {self._table} where {undated}")
        return rows

    def _nothing_else(self) -> None:
        for column, allowed in self._origin.expected.items():
            odd = self._db.execute(
                f"select {quoted(column)}, count(*) from {self._table} where {self._mine} "
                f"and not list_contains({literal(sorted(allowed))}, {quoted(column)}) group by 1 limit 1"
            ).fetchone()
            if odd:
                raise ContractError(
                    f"{odd[1]} rows have {column} {odd[0]!r}, which was not asked for",
                    where=self._work.where,
                    next_step="nothing was landed: the vendor did not understand the request; report this message.",
                )

    def _same_source(self, before: Mapping[str, set[str]]) -> None:
        for column, known in before.items():
            strange = self._values(column, f"{self._mine}") - known
            if known and strange:
                raise RejectedError(
                    f"the landed rows have {column} {excerpt(', '.join(sorted(known)), 80)} and those of this export "
                    f"{excerpt(', '.join(sorted(strange)), 80)}",
                    where=self._work.where,
                    next_step="check whose key is set: it is that of another environment, which wants a schema of its "
                    "own. To mix them on purpose: --allow-drop (command line), run tag connector/allow_drop: true "
                    "(Dagster).",
                )

    def _values(self, column: str, where: str) -> set[str]:
        name = quoted(column)
        rows = self._db.execute(
            f"select distinct {name} from {self._table} where {where} and coalesce({name}, '') <> ''"
        ).fetchall()
        return {value for (value,) in rows}

    def _per_day(self, what: str) -> dict[date, int]:
        per_day = f"select _day, {what} from {self._table} where {self._origin.in_range} group by 1"
        return dict(self._db.execute(per_day).fetchall())

    def _write_receipts(
        self, days: tuple[DayReceipt, ...], files: Sequence[File], *, outside: int, undated: int
    ) -> RangeReceipt:
        meter, warnings = self._how.meter, []
        if not files:
            warnings.append("the export completed without any file")
        if undated:
            time = self._stream.replication_key
            warnings.append(f"{undated} rows without a usable {time} were left out: {self._how.undated_at}")
        filled = [day.day for day in days if day.landed]
        receipt = RangeReceipt(
            table=self._stream.table,
            load_id=self._work.load_id,
            job_id=self._origin.job_id,
            days=days,
            outside=outside,
            undated=undated,
            files=len(files),
            bytes=meter.bytes,
            requests=meter.requests,
            seconds=meter.seconds,
            strangers=self._strangers() if any(day.misfits for day in days) else frozenset(),
            warnings=tuple(warnings),
            sample=sample(self._work, filled[-1]) if filled else (),
        )
        of_all = {
            "table_name": receipt.table,
            "load_id": receipt.load_id,
            **costs(meter),
            "incremental": False,
            "warnings": "; ".join(warnings) or None,
            "status": "landed",
            "landed_at": self._work.now,
            "rules": self._origin.rules,
        }
        insert(self._db, LANDINGS, [{**of_all, **asdict(day)} for day in days])
        insert(self._db, EXPORT_JOBS, [self._job_row(receipt, sum(file.path.stat().st_size for file in files))])
        return receipt

    def _job_row(self, receipt: RangeReceipt, size: int) -> dict[str, object]:
        return {
            "table_name": receipt.table,
            "job_id": receipt.job_id,
            "load_id": receipt.load_id,
            "first_day": self._origin.first,
            "last_day": self._origin.last,
            "fingerprint": self._origin.fingerprint,
            "options": self._origin.options,
            "requested_at": self._origin.requested_at,
            "files": receipt.files,
            "bytes": size,
            "rows_received": receipt.received,
            "rows_landed": receipt.landed,
            "duplicates": receipt.duplicates,
            "rows_outside": receipt.outside,
            "rows_undated": receipt.undated,
            "landed_at": self._work.now,
        }

    def _strangers(self) -> frozenset[str]:
        rows = self._db.execute(
            f"select distinct unnest(json_keys(_extra)) from {self._table} "
            f"where {self._mine} and _extra is not null limit 100"
        ).fetchall()
        return frozenset(excerpt(str(name), 80) for (name,) in rows)
