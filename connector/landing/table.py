"""Statements on one landed table: create it, fill it from spooled files, drop duplicates, take a sample."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from connector.errors import RejectedError
from connector.landing.receipts import one_hash_key
from connector.landing.transaction import Work
from connector.stream import BOOKKEEPING, SEEN, Column
from connector.warehouse.connection import MEMORY_MB
from connector.warehouse.own_tables import create_receipts
from connector.warehouse.sql import columns, literal, quoted, text

# One INSERT reads this many files. More than a row group (122,880 rows) at once inside an open transaction makes
# DuckDB write and rewrite: 1.8 x the file, 1.35 x the CPU.
FILES_AT_ONCE = 100
SAMPLE_ROWS, SAMPLE_COLUMNS = 5, 10
USUAL_OBJECT = 16 * 2**20


def prepare(work: Work, hashed_with: str) -> None:
    """Create what is missing; add columns that the catalogue gained since the table was made.

    Raises:
        RejectedError: a column of the table has another type than the catalogue says.
        SettingsError: the table holds hashes of another key.
    """
    create_receipts(work.db)
    stream = work.stream
    if hashed_with:
        one_hash_key(work.db, stream.schema, hashed_with)
    columns_of_rows = (*stream.columns, *(SEEN if stream.history else ()))
    wanted = {c.name: c.type for c in columns_of_rows} | {name: kind for name, (kind, _) in BOOKKEEPING.items()}
    present = _present(work)
    if not present:
        work.db.execute(f"create schema if not exists {quoted(stream.schema)}")
        work.db.execute(f"create table {work.table} ({', '.join(f'{quoted(n)} {kind}' for n, kind in wanted.items())})")
        if stream.hourly:  # events; other tables have few rows a day
            work.warehouse.partition_by_day(work.db, work.table)
        _describe(work, columns_of_rows)
        return
    for name, kind in wanted.items():
        if name not in present:
            work.db.execute(f"alter table {work.table} add column {quoted(name)} {kind}")
        elif _type_name(present[name]) != _type_name(kind):
            raise RejectedError(
                f"column {stream.table}.{name} is {present[name]} and should be {kind}",
                where=work.where,
                next_step="rename or drop the old table and land its days again; the changelog tells why.",
            )


def insert_files(work: Work, files: Sequence[Path], day: date, *, into: str = "") -> int:
    """Insert the records of JSON files as rows of one day; how many there were.

    Args:
        into: another table with the same columns, if not the stream's own.
    """
    fields = work.stream.columns
    types = ", ".join(f"{text(c.field)}: {text(c.type)}" for c in fields)
    values = ", ".join(f"{_value(c)} as {quoted(c.name)}" for c in fields)
    inserted = 0
    for start in range(0, len(files), FILES_AT_ONCE):
        some = [str(file) for file in files[start : start + FILES_AT_ONCE]]
        (count,) = work.row(
            f"insert into {into or work.table} by name select {values}, "
            f"{literal(day)} as _day, _extra, "
            f"{literal(work.load_id)} as _load_id, {literal(work.now)} as _landed_at "
            f"from read_json({literal(some)}, format='array', columns={{{types}, '_extra': 'JSON'}}, "
            f"maximum_object_size={_largest_object(work, files)})"
        )
        inserted += count
    return inserted


def drop_twins(work: Work, day: date, rows: int, *, table: str = "") -> int:
    """Of rows with one key keep the first as the vendor ordered them; how many were dropped.

    Args:
        rows: how many the day has now; where all keys differ, one count is all that is asked.
    """
    table, key = table or work.table, columns(work.stream.primary_key)
    of_day = f"from {table} where _day = {literal(day)}"
    (distinct,) = work.row(f"select count(*) from (select distinct {key} {of_day})")
    if distinct == rows:
        return 0
    (dropped,) = work.row(
        f"delete from {table} where rowid in (select rowid from (select rowid, "
        f"row_number() over (partition by {key} order by rowid) as turn {of_day}) where turn > 1)"
    )
    return int(dropped)


def sample(work: Work, day: date) -> tuple[dict[str, str | None], ...]:
    """A few rows of a day as texts, without columns that name a person."""
    names = [c.name for c in work.stream.columns if not c.personal and c.type != "JSON"][:SAMPLE_COLUMNS]
    values = ", ".join(f"{quoted(name)}::varchar" for name in names)
    rows = work.db.execute(
        f"select {values} from {work.table} where _day = {literal(day)} limit {SAMPLE_ROWS}"
    ).fetchall()
    return tuple(dict(zip(names, row, strict=True)) for row in rows)


def _present(work: Work) -> dict[str, str]:
    """The table's columns and their types; none where there is no table.

    In two queries: duckdb_columns() looks at every view of DuckDB's own first, 5 ms in which the file is locked.
    """
    (tables,) = work.row(
        "select count(*) from duckdb_tables() where database_name = current_database() "
        f"and schema_name = {literal(work.stream.schema)} and table_name = {literal(work.stream.name)}"
    )
    if not tables:
        return {}
    return dict(work.db.execute(f"select name, type from pragma_table_info({text(work.table)})").fetchall())


def _describe(work: Work, columns_of_rows: Sequence[Column]) -> None:
    texts = {c.name: c.description for c in columns_of_rows} | {name: said for name, (_, said) in BOOKKEEPING.items()}
    comments = [f"comment on table {work.table} is {text(work.stream.grain)}"]
    comments += [f"comment on column {work.table}.{quoted(name)} is {text(said)}" for name, said in texts.items()]
    work.db.execute("; ".join(comments))


def _largest_object(work: Work, files: Sequence[Path]) -> int:
    """Bytes one record may have. DuckDB allocates twice this at once, so it grows only for pages that need it."""
    largest = max(file.stat().st_size for file in files)
    if largest > USUAL_OBJECT:
        work.db.execute(f"set memory_limit = '{MEMORY_MB + 6 * largest // 2**20}MB'")
    return max(USUAL_OBJECT, largest)


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
