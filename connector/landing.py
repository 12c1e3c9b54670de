"""Replaces the covered day of a raw table by a spool, in one transaction, or leaves everything as it was.

Landing the same spool twice leaves the same rows. An empty spool empties its day and is written down like any other.
All SQL against raw tables is here; nothing here knows a vendor, a request or a schedule.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from connector.errors import (
    ConnectorError,
    ContractError,
    IncompleteError,
    RejectedError,
    SuddenDropError,
    TransientError,
    excerpt,
)
from connector.spool import Spool
from connector.stream import BOOKKEEPING, Column, Receipt, Stream
from connector.warehouse import Warehouse

# One INSERT reads this many files. More than a row group (122,880 rows) at once inside an open transaction makes
# DuckDB write and rewrite: 1.8 x the file, 1.35 x the CPU.
FILES_AT_ONCE = 100
SAMPLE_ROWS, SAMPLE_COLUMNS = 5, 10
USUAL_OBJECT = 16 * 2**20
# A day may shrink a little (a vendor deletes a person); less than half of what was there is a fault until proven.
DROP_TO = 0.5
DROP_MATTERS_FROM = 10

LANDINGS = """
create table if not exists connector.landings (
    table_name varchar not null,
    day date not null,
    load_id varchar not null,
    announced bigint,
    received bigint,
    landed bigint,
    duplicates bigint,
    replaced bigint,
    misfits bigint,
    requests bigint,
    refused bigint,
    bytes bigint,
    seconds double,
    incremental boolean,
    warnings varchar,
    status varchar not null,
    error varchar,
    landed_at timestamptz not null
)
"""
_LANDINGS_COLUMNS = (
    "table_name, day, load_id, announced, received, landed, duplicates, replaced, misfits, "
    "requests, refused, bytes, seconds, incremental, warnings, status, error, landed_at"
)


PROBES = """
create table if not exists connector.probes (
    table_name varchar not null,
    day date not null,
    vendor_count bigint not null,
    asked_at timestamptz not null
)
"""
# Per table and day: what is landed, what the vendor counted when it was last asked, and whether that is the same.
COVERAGE = """
create view if not exists connector.coverage as
with landed as (
    select table_name, day, landed, duplicates, announced, landed_at
    from connector.landings
    where status = 'landed'
    qualify row_number() over (partition by table_name, day order by landed_at desc) = 1
),
asked as (
    select table_name, day, vendor_count, asked_at
    from (
        select table_name, day, announced as vendor_count, landed_at as asked_at from landed
        union all
        select table_name, day, vendor_count, asked_at from connector.probes
    )
    qualify row_number() over (partition by table_name, day order by asked_at desc) = 1
),
days as (
    select table_name, unnest(generate_series(min(day), max(day), interval 1 day))::date as day
    from asked
    group by table_name
)
select
    days.table_name,
    days.day,
    coalesce(landed.landed, 0) as landed,
    landed.duplicates,
    asked.vendor_count,
    asked.asked_at,
    landed.landed_at,
    case
        when landed.day is null then 'never landed'
        when asked.vendor_count is distinct from landed.announced then 'moved'
        else 'whole'
    end as state
from days
left join landed on landed.table_name = days.table_name and landed.day = days.day
left join asked on asked.table_name = days.table_name and asked.day = days.day
"""


def land(
    warehouse: Warehouse,
    stream: Stream,
    spool: Spool,
    *,
    allow_drop: bool = False,
    reading: "Reading | None" = None,
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
    asked = time.monotonic()
    with Transaction(warehouse, stream, where) as work:
        opened = time.monotonic()
        receipt = work.replace_day(spool, day, allow_drop=allow_drop, reading=reading or Reading())
    return replace(receipt, lock_wait=opened - asked, lock_seconds=time.monotonic() - opened)


def land_sample(warehouse: Warehouse, stream: Stream, spool: Spool, *, reading: "Reading | None" = None) -> Receipt:
    """Add the rows of a spool beside those of the same day: a sample cannot be taken again, so none is replaced."""
    (day,) = spool.manifest.days
    spool.verify(stream.partition(day))
    with Transaction(warehouse, stream, stream.partition(day)) as work:
        return work.append(spool, day, reading=reading or Reading())


def land_newer(
    warehouse: Warehouse, stream: Stream, spool: Spool, *, onto: "Landed", reading: "Reading | None" = None
) -> Receipt:
    """Add the rows of a spool that the day does not have yet, if landed and new rows are all the vendor announced.

    Raises:
        IncompleteError: they do not add up, or another run landed the day meanwhile: read the whole day instead.
    """
    (day,) = spool.manifest.days
    where = stream.partition(day)
    spool.verify(where)
    asked = time.monotonic()
    with Transaction(warehouse, stream, where) as work:
        opened = time.monotonic()
        receipt = work.add_newer(spool, day, onto=onto, reading=reading or Reading())
    return replace(receipt, lock_wait=opened - asked, lock_seconds=time.monotonic() - opened)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What fetching a spool cost; seconds run from ``started`` until they are asked for."""

    requests: int = 0
    refused: int = 0
    bytes: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


@dataclass(frozen=True)
class Landed:
    """The state of a landed day: which landing wrote it last, how many rows came with it, and its newest row."""

    load_id: str
    received: int
    duplicates: int
    newest: datetime


def landed_day(warehouse: Warehouse, stream: Stream, day: date) -> Landed | None:
    """What is landed for a day, or None if nothing that newer rows could be added to."""
    if not warehouse.exists():
        return None
    with warehouse.read() as connection:
        return _landed(connection, stream, day)


def newest_day(warehouse: Warehouse, stream: Stream) -> date | None:
    """The newest partition that has rows."""
    if not warehouse.exists():
        return None
    with warehouse.read() as connection:
        row = connection.execute(f"select max(_day) from {_quoted_table(stream)}").fetchone()
    day: date | None = row[0] if row else None
    return day


def announced_counts(warehouse: Warehouse, stream: Stream, first: date, last: date) -> dict[date, int]:
    """What the vendor had announced when each landed day of a stretch was landed last."""
    if not warehouse.exists():
        return {}
    with warehouse.read() as connection:
        try:
            rows = connection.execute(
                f"select day, arg_max(announced, landed_at) from connector.landings "
                f"where table_name = {_literal(stream.table)} and status = 'landed' "
                f"and day between {_literal(first)} and {_literal(last)} group by day"
            ).fetchall()
        except duckdb.CatalogException:
            return {}
    return {day: count for day, count in rows if count is not None}


def record_counts(warehouse: Warehouse, stream: Stream, counts: Mapping[date, int]) -> None:
    """Remember the vendor's own counts, for ``connector.coverage``. Probes older than the last are not kept."""
    if not counts:
        return
    now = datetime.now(UTC)
    with warehouse.write() as connection:
        _prepare_receipts(connection)
        table, days = _literal(stream.table), _literal(list(counts))
        rows = ", ".join(f"({table}, {_literal(day)}, {count:d}, {_literal(now)})" for day, count in counts.items())
        connection.execute("begin")
        connection.execute(f"delete from connector.probes where table_name = {table} and list_contains({days}, day)")
        connection.execute(f"insert into connector.probes values {rows}")
        connection.execute("commit")


@dataclass(frozen=True)
class DayFacts:
    """What the table itself says of one day: rows, different keys, rows without a key, rows with extras."""

    rows: int
    keys: int
    keyless: int
    extras: int


def day_facts(warehouse: Warehouse, stream: Stream, days: Sequence[date]) -> dict[date, DayFacts]:
    """Facts of each day, in one short reading; days without rows have zeros."""
    facts = dict.fromkeys(days, DayFacts(0, 0, 0, 0))
    if not days or not warehouse.exists():
        return facts
    key, first = _columns(stream.primary_key), _quoted(stream.primary_key[0])
    with warehouse.read() as connection:
        rows = connection.execute(
            f"select _day, count(*), count(distinct ({key})), count(*) filter ({first} is null), count(_extra) "
            f"from {_quoted_table(stream)} where list_contains({_literal(list(days))}, _day) group by _day"
        ).fetchall()
    return facts | {row[0]: DayFacts(*row[1:]) for row in rows}


def record_failure(warehouse: Warehouse, stream: Stream, day: date, error: ConnectorError, reading: Reading) -> None:
    """Write a receipt of status ``failed``, so that the table of landings tells the bad nights as well."""
    with warehouse.write() as connection:
        _prepare_receipts(connection)
        _insert_receipt(
            connection,
            stream.table, day, uuid.uuid4().hex, None, None, None, None, None, None,
            reading.requests, reading.refused, reading.bytes, reading.seconds, False,
            None, "failed", str(error), datetime.now(UTC),
        )  # fmt: skip


class Transaction:
    """One write connection with one transaction; commits on success, translates DuckDB's errors into ours."""

    def __init__(self, warehouse: Warehouse, stream: Stream, where: str) -> None:
        self._context, self._stream, self._where = warehouse.write(), stream, where

    def __enter__(self) -> "Work":
        self._connection = self._context.__enter__()
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
        if isinstance(failure, duckdb.Error):
            raise _translated(failure, self._where) from None


class Work:
    """The statements of one landing."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stream: Stream, where: str) -> None:
        self._db, self._stream, self._where = connection, stream, where
        self._table = _quoted_table(stream)
        self._load_id, self._now = uuid.uuid4().hex, datetime.now(UTC)

    def replace_day(self, spool: Spool, day: date, *, allow_drop: bool, reading: Reading) -> Receipt:
        self._prepare()
        manifest = spool.manifest
        of_day = f"from {self._table} where _day = {_literal(day)}"
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
        duplicates = self._drop_twins(day, inserted)
        landed = inserted - duplicates
        if not allow_drop and ((before and not landed) or (before >= DROP_MATTERS_FROM and landed < before * DROP_TO)):
            raise SuddenDropError(where=self._where, landed=before, received=landed)
        return self._write_receipt(
            spool, day, reading, received=inserted, landed=landed, duplicates=duplicates, replaced=before
        )

    def append(self, spool: Spool, day: date, *, reading: Reading) -> Receipt:
        self._prepare()
        rows = self._insert(spool.files, day)
        return self._write_receipt(spool, day, reading, received=rows, landed=rows, duplicates=0, replaced=0)

    def add_newer(self, spool: Spool, day: date, *, onto: Landed, reading: Reading) -> Receipt:
        self._prepare()
        now = _landed(self._db, self._stream, day)
        if now is None or now.load_id != onto.load_id:
            raise IncompleteError(
                where=self._where,
                announced=spool.manifest.announced,
                received=onto.received,
                because="another run landed this day meanwhile",
            )
        key = _columns(self._stream.primary_key)
        self._db.execute(f"create temp table newer as select * from {self._table} limit 0")
        self._insert(spool.files, day, into="newer")
        self._db.execute(
            f"delete from newer where ({key}) in (select ({key}) from {self._table} where _day = {_literal(day)})"
        )
        (new,) = self._row("select count(*) from newer")
        if onto.received + new != spool.manifest.announced:
            raise IncompleteError(
                where=self._where,
                announced=spool.manifest.announced,
                received=onto.received + new,
                because="landed and newer rows do not add up",
            )
        twins = self._drop_twins(day, new, table="newer")
        self._db.execute(f"insert into {self._table} by name select * from newer")
        (landed,) = self._row(f"select count(*) from {self._table} where _day = {_literal(day)}")
        receipt = self._write_receipt(
            spool,
            day,
            reading,
            received=spool.manifest.announced,
            landed=landed,
            duplicates=onto.duplicates + twins,
            replaced=0,
            incremental=True,
        )
        self._db.execute("drop table newer")
        return receipt

    def _prepare(self) -> None:
        """Create what is missing; add columns that the catalogue gained since the table was made."""
        _prepare_receipts(self._db)
        stream = self._stream
        wanted = {c.name: c.type for c in stream.columns} | {n: t for n, (t, _) in BOOKKEEPING.items()}
        present = dict(
            self._db.execute(
                "select column_name, data_type from duckdb_columns() "
                "where database_name = current_database() "
                f"and schema_name = {_literal(stream.schema)} and table_name = {_literal(stream.name)}"
            ).fetchall()
        )
        if not present:
            self._db.execute(f"create schema if not exists {_quoted(stream.schema)}")
            columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in wanted.items())
            self._db.execute(f"create table {self._table} ({columns})")
            self._describe()
            return
        for name, kind in wanted.items():
            if name not in present:
                self._db.execute(f"alter table {self._table} add column {_quoted(name)} {kind}")
            elif _type_name(present[name]) != _type_name(kind):
                raise RejectedError(
                    f"column {stream.table}.{name} is {present[name]} and should be {kind}",
                    where=self._where,
                    next_step="rename or drop the old table and land its days again; the changelog tells why.",
                )

    def _describe(self) -> None:
        stream = self._stream
        self._db.execute(f"comment on table {self._table} is {_text(stream.grain)}")
        texts = {c.name: c.description for c in stream.columns} | {n: text for n, (_, text) in BOOKKEEPING.items()}
        for name, text in texts.items():
            self._db.execute(f"comment on column {self._table}.{_quoted(name)} is {_text(text)}")

    def _insert(self, files: Sequence[Path], day: date, *, into: str | None = None) -> int:
        columns = self._stream.columns
        types = ", ".join(f"{_text(c.field)}: {_text(c.type)}" for c in columns)
        values = ", ".join(f"{_value(c)} as {_quoted(c.name)}" for c in columns)
        inserted = 0
        for start in range(0, len(files), FILES_AT_ONCE):
            some = [str(file) for file in files[start : start + FILES_AT_ONCE]]
            (count,) = self._row(
                f"insert into {into or self._table} by name select {values}, "
                f"{_literal(day)} as _day, _extra, "
                f"{_literal(self._load_id)} as _load_id, {_literal(self._now)} as _landed_at "
                f"from read_json({_literal(some)}, format='array', columns={{{types}, '_extra': 'JSON'}}, "
                f"maximum_object_size={self._room_for(files)})"
            )
            inserted += count
        return inserted

    def _room_for(self, files: Sequence[Path]) -> int:
        """Bytes one record may have. DuckDB allocates twice this at once, so it grows only for pages that need it."""
        largest = max(file.stat().st_size for file in files)
        if largest > USUAL_OBJECT:
            self._db.execute(f"set memory_limit = '{128 + 6 * largest // 2**20}MB'")
        return max(USUAL_OBJECT, largest)

    def _drop_twins(self, day: date, rows: int, *, table: str | None = None) -> int:
        """Of rows with one key keep the first as the vendor ordered them; returns how many were dropped."""
        table, key = table or self._table, _columns(self._stream.primary_key)
        of_day = f"from {table} where _day = {_literal(day)}"
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
            strangers=frozenset(manifest.strangers),
            incremental=incremental,
            warnings=tuple(manifest.warnings),
            sample=self._sample(day),
        )
        _insert_receipt(
            self._db,
            receipt.table, day, receipt.load_id, receipt.announced, received, landed, duplicates, replaced,
            receipt.misfits, receipt.requests, receipt.refused, receipt.bytes, receipt.seconds, incremental,
            "; ".join(receipt.warnings) or None, "landed", None, self._now,
        )  # fmt: skip
        return receipt

    def _sample(self, day: date) -> tuple[dict[str, str | None], ...]:
        names = [c.name for c in self._stream.columns if not c.personal and c.type != "JSON"][:SAMPLE_COLUMNS]
        values = ", ".join(f"{_quoted(name)}::varchar" for name in names)
        rows = self._db.execute(
            f"select {values} from {self._table} where _day = {_literal(day)} limit {SAMPLE_ROWS}"
        ).fetchall()
        return tuple(dict(zip(names, row, strict=True)) for row in rows)

    def _row(self, sql: str) -> tuple[int, ...]:
        row = self._db.execute(sql).fetchone()
        assert row is not None
        return row


def _landed(connection: duckdb.DuckDBPyConnection, stream: Stream, day: date) -> Landed | None:
    try:
        receipt = connection.execute(
            "select load_id, received, duplicates from connector.landings "
            f"where table_name = {_literal(stream.table)} and day = {_literal(day)} and status = 'landed' "
            "order by landed_at desc limit 1"
        ).fetchone()
        if receipt is None or not receipt[1]:
            return None
        newest = connection.execute(
            f"select epoch_us(max({_quoted(stream.replication_key)})), count(*) "
            f"from {_quoted_table(stream)} where _day = {_literal(day)}"
        ).fetchone()
    except duckdb.CatalogException:
        return None
    if newest is None or newest[0] is None or newest[1] != receipt[1] - receipt[2]:
        return None
    return Landed(receipt[0], receipt[1], receipt[2], datetime.fromtimestamp(newest[0] / 1e6, UTC))


def _prepare_receipts(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create schema if not exists connector")
    connection.execute(LANDINGS)
    connection.execute(PROBES)
    connection.execute(COVERAGE)


def _insert_receipt(connection: duckdb.DuckDBPyConnection, *values: object) -> None:
    row = ", ".join(_literal(value) for value in values)
    connection.execute(f"insert into connector.landings ({_LANDINGS_COLUMNS}) values ({row})")


def _value(column: Column) -> str:
    """A column's value as the table keeps it: what the vendor says for "no value" becomes NULL."""
    name = _quoted(column.field)
    if column.absent:
        absent = " or ".join(f"{name} = {_text(text)}" for text in column.absent)
        return f"case when {absent} then null else {name} end"
    if column.stub:
        return f"case when {_is_stub(name, column)} then null else {name} end"
    return name


def _is_stub(name: str, column: Column) -> str:
    """All members as the stub has them; a missing member counts as equal. The first decides for most rows."""
    first, *others = (
        f"coalesce(json_extract({name}, {_text('$.' + member)})::varchar in ({_text(json.dumps(value))}, 'null'), true)"
        for member, value in column.stub.items()
    )
    return f"case when {first} then {' and '.join(others) or 'true'} else false end"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _columns(names: Sequence[str]) -> str:
    return ", ".join(_quoted(name) for name in names)


def _quoted_table(stream: Stream) -> str:
    return f"{_quoted(stream.schema)}.{_quoted(stream.name)}"


def _literal(value: object) -> str:
    """A value of ours as SQL. Not as a bound parameter: binding one makes DuckDB import pandas, 0.26 CPU s a run."""
    match value:
        case None:
            return "null"
        case bool() | int():
            return str(value).lower()
        case float():
            return f"{value!r}::double"
        case datetime():
            return f"{_text(value.astimezone(UTC).isoformat())}::timestamptz"
        case date():
            return f"{_text(value.isoformat())}::date"
        case list():
            return f"[{', '.join(_literal(item) for item in value)}]"
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    if "\x00" in text:  # a NUL cannot stand in a statement
        return " || ".join("chr(0)" if char == "\x00" else _text(char) for char in text)
    return "'" + text.replace("'", "''") + "'"


def _type_name(kind: str) -> str:
    return {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}.get(kind.upper(), kind.upper())


def _translated(fault: duckdb.Error, where: str) -> ConnectorError:
    text = excerpt(str(fault), 300)
    if isinstance(fault, duckdb.InvalidInputException | duckdb.ConversionException):
        return ContractError(
            f"a value does not fit its column: {text}",
            where=where,
            next_step="nothing was landed; report the message: the catalogue needs another type for this column.",
        )
    if isinstance(fault, duckdb.IOException | duckdb.OutOfMemoryException):
        return TransientError(
            f"the warehouse could not be written: {text}",
            where=where,
            next_step="free space on the warehouse's disk, then rerun; the old rows are still in place.",
        )
    if isinstance(fault, duckdb.TransactionException):
        return TransientError(
            f"another landing changed the table at the same time: {text}", where=where, next_step="rerun the partition."
        )
    return RejectedError(
        f"the warehouse refused the landing: {text}", where=where, next_step="report it with this message."
    )
