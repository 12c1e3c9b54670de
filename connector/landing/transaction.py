"""Replaces the covered day of a raw table by a spool, in one transaction, or leaves everything as it was.

Landing the same spool twice leaves the same rows. An empty spool empties its day and is written down like any other.
All SQL against raw tables is here; nothing here knows a vendor, a request or a schedule.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import duckdb

from connector.errors import ContractError, IncompleteError, RejectedError, SuddenDropError
from connector.landing.receipts import Landed, Reading, landed_before, one_hash_key
from connector.privacy.forget import leave_out
from connector.spool import Spool
from connector.stream import BOOKKEEPING, Column, Receipt, Stream
from connector.warehouse.connection import MEMORY_MB, Warehouse, translated
from connector.warehouse.own_tables import insert_receipt, prepare_receipts
from connector.warehouse.sql import columns, literal, quoted, quoted_table, text

# One INSERT reads this many files. More than a row group (122,880 rows) at once inside an open transaction makes
# DuckDB write and rewrite: 1.8 x the file, 1.35 x the CPU.
FILES_AT_ONCE = 100
SAMPLE_ROWS, SAMPLE_COLUMNS = 5, 10
USUAL_OBJECT = 16 * 2**20
# A day may shrink a little (a vendor deletes a person); less than half of what was there is a fault until proven.
DROP_TO = 0.5
DROP_MATTERS_FROM = 10


def guard_drop(where: str, before: int, landed: int) -> None:
    """Refuse a day that shrank to nothing or to less than half.

    Raises:
        SuddenDropError: it did.
    """
    if (before and not landed) or (before >= DROP_MATTERS_FROM and landed < before * DROP_TO):
        raise SuddenDropError(where=where, landed=before, received=landed)


class _HasLockTimes(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def lock_wait(self) -> float: ...

    @property
    def lock_seconds(self) -> float: ...


Timed = TypeVar("Timed", bound=_HasLockTimes)


class Transaction:
    """One write connection with one transaction; commits on success, translates DuckDB's errors into ours.

    Attributes:
        waited, held: seconds until the warehouse was ours, and seconds until it was everybody's again.
    """

    def __init__(self, warehouse: Warehouse, stream: Stream, where: str) -> None:
        warehouse.must_not_be_named(stream.schema)
        self._context, self._stream, self._where = warehouse.write(where=where), stream, where
        self.waited = self.held = 0.0

    def timed(self, receipt: Timed) -> Timed:
        """The receipt of what happened inside, with how long the warehouse was waited for and held."""
        return replace(receipt, lock_wait=self.waited, lock_seconds=self.held)

    def __enter__(self) -> "Work":
        asked = time.monotonic()
        self._connection = self._context.__enter__()
        self._opened = time.monotonic()
        self.waited = self._opened - asked
        self._connection.execute("begin")
        return Work(self._connection, self._stream, self._where)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        failure: BaseException | None = error
        try:
            if error is None:
                self._connection.execute("commit")
        except duckdb.Error as fault:
            failure = fault
        finally:
            # Closing rolls an open transaction back; nothing is left half-landed.
            self._context.__exit__(None, None, None)
            self.held = time.monotonic() - self._opened
        if isinstance(failure, duckdb.Error):
            raise translated(failure, self._where) from None


class Work:
    """The statements of one landing."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stream: Stream, where: str) -> None:
        self._db, self._stream, self._where = connection, stream, where
        self._table = quoted_table(stream)
        self._load_id, self._now = uuid.uuid4().hex, datetime.now(UTC)

    def replace_day(self, spool: Spool, day: date, *, allow_drop: bool, reading: Reading) -> Receipt:
        self._prepare(spool.manifest.hashed_with)
        manifest = spool.manifest
        of_day = f"from {self._table} where _day = {literal(day)}"
        (before,) = self._row(f"select count(*) {of_day}")
        if before:
            self._db.execute(f"delete {of_day}")
        inserted = self._insert(spool.files, day)
        if inserted != manifest.rows:
            raise ContractError(
                f"{manifest.rows} rows were staged and {inserted} were read back",
                where=self._where,
                next_step="rerun the partition; if it repeats, report it with this message.",
            )
        forgotten = leave_out(self._db, self._stream, f"_day = {literal(day)}")
        duplicates = self._drop_twins(day, inserted - forgotten)
        landed = inserted - forgotten - duplicates
        if not allow_drop:
            guard_drop(self._where, before, landed)
        return self._write_receipt(
            spool,
            day,
            reading,
            received=inserted,
            landed=landed,
            duplicates=duplicates,
            replaced=before,
            forgotten=forgotten,
        )

    def append(self, spool: Spool, day: date, *, reading: Reading) -> Receipt:
        self._prepare(spool.manifest.hashed_with)
        rows = self._insert(spool.files, day)
        return self._write_receipt(spool, day, reading, received=rows, landed=rows, duplicates=0, replaced=0)

    def add_newer(self, spool: Spool, day: date, *, onto: Landed, reading: Reading) -> Receipt:
        self._prepare(spool.manifest.hashed_with)
        now = landed_before(self._db, self._stream, day)
        if now is None or now.load_id != onto.load_id:
            raise IncompleteError(
                where=self._where,
                announced=spool.manifest.announced,
                received=onto.received,
                because="another run landed this day meanwhile",
            )
        if now.rules != spool.manifest.rules:
            raise IncompleteError(
                where=self._where,
                announced=spool.manifest.announced,
                received=onto.received,
                because="the rules for personal data were changed since the day was landed",
            )
        key = columns(self._stream.primary_key)
        self._db.execute(f"create temp table newer as select * from {self._table} limit 0")
        self._insert(spool.files, day, into="newer")
        self._db.execute(
            f"delete from newer where ({key}) in (select ({key}) from {self._table} where _day = {literal(day)})"
        )
        (new,) = self._row("select count(*) from newer")
        if leave_out(self._db, self._stream, "true", table="newer"):
            raise IncompleteError(
                where=self._where,
                announced=spool.manifest.announced,
                received=onto.received,
                because="people to be forgotten are among the newer rows, which only the whole day can tell apart",
            )
        if onto.received + new != spool.manifest.announced:
            raise IncompleteError(
                where=self._where,
                announced=spool.manifest.announced,
                received=onto.received + new,
                because="landed and newer rows do not add up",
            )
        twins = self._drop_twins(day, new, table="newer")
        self._db.execute(f"insert into {self._table} by name select * from newer")
        (landed,) = self._row(f"select count(*) from {self._table} where _day = {literal(day)}")
        receipt = self._write_receipt(
            spool,
            day,
            reading,
            received=spool.manifest.announced,
            landed=landed,
            duplicates=onto.duplicates + twins,
            replaced=0,
            forgotten=onto.forgotten,
            incremental=True,
        )
        self._db.execute("drop table newer")
        return receipt

    def _prepare(self, hashed_with: str) -> None:
        """Create what is missing; add columns that the catalogue gained since the table was made."""
        prepare_receipts(self._db)
        stream = self._stream
        if hashed_with:
            one_hash_key(self._db, stream.schema, hashed_with)
        wanted = {c.name: c.type for c in stream.columns} | {n: t for n, (t, _) in BOOKKEEPING.items()}
        present = self._present()
        if not present:
            self._db.execute(f"create schema if not exists {quoted(stream.schema)}")
            wide = ", ".join(f"{quoted(name)} {kind}" for name, kind in wanted.items())
            self._db.execute(f"create table {self._table} ({wide})")
            self._describe()
            return
        for name, kind in wanted.items():
            if name not in present:
                self._db.execute(f"alter table {self._table} add column {quoted(name)} {kind}")
            elif _type_name(present[name]) != _type_name(kind):
                raise RejectedError(
                    f"column {stream.table}.{name} is {present[name]} and should be {kind}",
                    where=self._where,
                    next_step="rename or drop the old table and land its days again; the changelog tells why.",
                )

    def _present(self) -> dict[str, str]:
        """The table's columns and their types; none where there is no table.

        In two questions: duckdb_columns() looks at every view of DuckDB's own first, 5 ms in which nobody can read.
        """
        (tables,) = self._row(
            "select count(*) from duckdb_tables() where database_name = current_database() "
            f"and schema_name = {literal(self._stream.schema)} and table_name = {literal(self._stream.name)}"
        )
        if not tables:
            return {}
        return dict(self._db.execute(f"select name, type from pragma_table_info({text(self._table)})").fetchall())

    def _describe(self) -> None:
        stream = self._stream
        texts = {c.name: c.description for c in stream.columns} | {n: text for n, (_, text) in BOOKKEEPING.items()}
        comments = [f"comment on table {self._table} is {text(stream.grain)}"]
        comments += [
            f"comment on column {self._table}.{quoted(name)} is {text(words)}" for name, words in texts.items()
        ]
        self._db.execute("; ".join(comments))

    def _insert(self, files: Sequence[Path], day: date, *, into: str | None = None) -> int:
        fields = self._stream.columns
        types = ", ".join(f"{text(c.field)}: {text(c.type)}" for c in fields)
        values = ", ".join(f"{_value(c)} as {quoted(c.name)}" for c in fields)
        inserted = 0
        for start in range(0, len(files), FILES_AT_ONCE):
            some = [str(file) for file in files[start : start + FILES_AT_ONCE]]
            (count,) = self._row(
                f"insert into {into or self._table} by name select {values}, "
                f"{literal(day)} as _day, _extra, "
                f"{literal(self._load_id)} as _load_id, {literal(self._now)} as _landed_at "
                f"from read_json({literal(some)}, format='array', columns={{{types}, '_extra': 'JSON'}}, "
                f"maximum_object_size={self._room_for(files)})"
            )
            inserted += count
        return inserted

    def _room_for(self, files: Sequence[Path]) -> int:
        """Bytes one record may have. DuckDB allocates twice this at once, so it grows only for pages that need it."""
        largest = max(file.stat().st_size for file in files)
        if largest > USUAL_OBJECT:
            self._db.execute(f"set memory_limit = '{MEMORY_MB + 6 * largest // 2**20}MB'")
        return max(USUAL_OBJECT, largest)

    def _drop_twins(self, day: date, rows: int, *, table: str | None = None) -> int:
        """Of rows with one key keep the first as the vendor ordered them; returns how many were dropped."""
        table, key = table or self._table, columns(self._stream.primary_key)
        of_day = f"from {table} where _day = {literal(day)}"
        (distinct,) = self._row(f"select count(*) from (select distinct {key} {of_day})")
        if distinct == rows:
            return 0
        (dropped,) = self._row(
            f"delete from {table} where rowid in (select rowid from (select rowid, "
            f"row_number() over (partition by {key} order by rowid) as turn {of_day}) where turn > 1)"
        )
        return int(dropped)

    def _write_receipt(
        self,
        spool: Spool,
        day: date,
        reading: Reading,
        *,
        received: int,
        landed: int,
        duplicates: int,
        replaced: int,
        forgotten: int = 0,
        incremental: bool = False,
    ) -> Receipt:
        manifest = spool.manifest
        receipt = Receipt(
            table=self._stream.table,
            day=day,
            load_id=self._load_id,
            announced=manifest.announced,
            received=received,
            landed=landed,
            duplicates=duplicates,
            replaced=replaced,
            misfits=manifest.misfits,
            requests=reading.requests,
            refused=reading.refused,
            bytes=reading.bytes,
            seconds=reading.seconds,
            forgotten=forgotten,
            strangers=frozenset(manifest.strangers),
            incremental=incremental,
            warnings=tuple(manifest.warnings),
            sample=self._sample(day),
        )
        insert_receipt(
            self._db,
            receipt.table, day, receipt.load_id, receipt.announced, received, landed, duplicates, replaced,
            receipt.misfits, receipt.requests, receipt.refused, receipt.bytes, receipt.seconds, incremental,
            "; ".join(receipt.warnings) or None, "landed", None, self._now, forgotten=forgotten,
            rules=manifest.rules,
        )  # fmt: skip
        return receipt

    def _sample(self, day: date) -> tuple[dict[str, str | None], ...]:
        names = [c.name for c in self._stream.columns if not c.personal and c.type != "JSON"][:SAMPLE_COLUMNS]
        values = ", ".join(f"{quoted(name)}::varchar" for name in names)
        rows = self._db.execute(
            f"select {values} from {self._table} where _day = {literal(day)} limit {SAMPLE_ROWS}"
        ).fetchall()
        return tuple(dict(zip(names, row, strict=True)) for row in rows)

    def _row(self, sql: str) -> tuple[int, ...]:
        row = self._db.execute(sql).fetchone()
        assert row is not None
        return row


def _value(column: Column) -> str:
    """A column's value as the table keeps it: what the vendor says for "no value" becomes NULL."""
    name = quoted(column.field)
    if column.absent:
        absent = " or ".join(f"{name} = {text(word)}" for word in column.absent)
        return f"case when {absent} then null else {name} end"
    if column.stub:
        return _unless_stub(name, column.stub)
    return name


def _unless_stub(name: str, stub: Mapping[str, object]) -> str:
    """NULL for an object whose members are all as the stub has them, or missing.

    Every look into JSON reads the whole object again, so two cheaper looks go first and decide for nearly all rows:
    stubs hold no objects, hence a member that is true anywhere in the text is its own; and most stubs have all members.
    """
    values = {text("$." + member): text(json.dumps(value)) for member, value in stub.items()}
    true = [f"contains({name}, {text(json.dumps(member) + ':true')})" for member, v in stub.items() if v is False]
    whole = f"json_extract({name}, [{', '.join(values)}])::varchar[] = [{', '.join(values.values())}]"
    each = (f"coalesce(json_extract({name}, {p})::varchar in ({v}, 'null'), true)" for p, v in values.items())
    stub_in_part = f"json_type({name}) = 'OBJECT' and {' and '.join(each)}"
    return (
        f"case when {' or '.join(true) or 'false'} then {name} "
        f"when {whole} or ({stub_in_part}) then null else {name} end"
    )


def _type_name(kind: str) -> str:
    return {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}.get(kind.upper(), kind.upper())
