"""Copies one warehouse into another, of whatever kind: table by table and day by day, each compared on both sides.

Nothing is removed on either side, and what is equal already is left alone, so a copy that was interrupted goes on where
it stopped, and one that is run again brings over what was landed since. Models are not copied: dbt builds them.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from connector.errors import ContractError, RejectedError
from connector.warehouse.connection import Connection, Warehouse, retry_conflicts
from connector.warehouse.own_tables import create_receipts
from connector.warehouse.sql import columns, literal, quoted, text

OWN = "connector"
# Every landed row has these.
_LANDED, _DAY, _AT = "_load_id", "_day", "_landed_at"
# A table whose rows have a time of day is stored by day in a lake; its first landing decides the same.
_EVENTS = "events"


@dataclass(frozen=True)
class Moved:
    """What was done with one table.

    Attributes:
        copied, equal: days (one for a table without days) that were copied now, and that were equal already.
        newer: days that were landed later over there; they are left as they are.
        rows: how many rows were copied.
    """

    table: str
    copied: int
    equal: int
    newer: int
    rows: int


@dataclass(frozen=True)
class _Part:
    """The rows of one day, or of a table without days: how many, a checksum, and when they were landed."""

    rows: int
    checksum: int
    landed_at: datetime | None


@dataclass(frozen=True)
class _Table:
    """A table as it is on one side."""

    schema: str
    name: str
    types: dict[str, str]
    required: frozenset[str]
    comments: dict[str, str]

    @property
    def sql(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def has_days(self) -> bool:
        return _DAY in self.types and _LANDED in self.types

    def where(self, day: date | None) -> str:
        return f" where {quoted(_DAY)} is not distinct from {literal(day)}" if self.has_days else ""


def move(source: Warehouse, target: Warehouse, spool_dir: Path) -> Iterator[Moved]:
    """Copy what was landed, table after table; the connector's own tables last, for they tell of the others.

    Args:
        spool_dir: for one day's rows on their way; removed at once.

    Yields:
        One entry for each table, when it is there and compared.

    Raises:
        RejectedError: both are the same warehouse, there is nothing to copy, or a column differs.
        ContractError: what arrived differs from what was sent; that day was rolled back.
        BusyError: another process kept one of them locked.
    """
    where = f"{source.name} -> {target.name}"
    if source.url == target.url:
        raise RejectedError("both are the same warehouse", where=where, next_step="name another one with --to.")
    if not source.exists():
        raise RejectedError(f"{source.name} does not exist", where=where, next_step="set WAREHOUSE to what has rows.")
    with source.read(where=where) as connection:
        tables = sorted(_tables(connection), key=lambda table: (table.schema == OWN, table.schema, table.name))
    spool_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spool_dir, prefix="move-") as folder:
        for table in tables:
            yield _Move(source, target, table, Path(folder) / "part.parquet", where).run()
    with target.transaction(where=where) as connection:
        create_receipts(connection)  # with the view over them


@dataclass(frozen=True)
class _Move:
    """One table on its way."""

    source: Warehouse
    target: Warehouse
    table: _Table
    file: Path
    where: str

    def run(self) -> Moved:
        self._create()
        here, there = (self._parts(warehouse) for warehouse in (self.source, self.target))
        equal = [day for day, part in here.items() if _same(part, there.get(day))]
        newer = [day for day, part in here.items() if day not in equal and _is_newer(there.get(day), part)]
        copied = [day for day in here if day not in equal and day not in newer]
        for day in copied:
            self._copy(day, here[day])
        rows = sum(here[day].rows for day in copied)
        return Moved(f"{self.table.schema}.{self.table.name}", len(copied), len(equal), len(newer), rows)

    def _create(self) -> None:
        table = self.table
        wanted = ", ".join(
            f"{quoted(name)} {kind}" + (" not null" if name in table.required else "")
            for name, kind in table.types.items()
        )
        with self.target.transaction(where=self.where) as connection:
            there = _types(connection, table)
            if not there:
                connection.execute(f"create schema if not exists {quoted(table.schema)}")
                connection.execute(f"create table {table.sql} ({wanted})")
                if table.has_days and table.name == _EVENTS:
                    self.target.partition_by_day(connection, table.sql)
                for about, said in table.comments.items():
                    connection.execute(f"comment on {about} is {text(said)}")
                return
            for name, kind in table.types.items():
                if name not in there:
                    connection.execute(f"alter table {table.sql} add column {quoted(name)} {kind}")
                elif there[name] != kind:
                    raise RejectedError(
                        f"column {table.schema}.{table.name}.{name} is {kind} here and {there[name]} there",
                        where=self.where,
                        next_step="rename or drop the table over there, then run it again.",
                    )

    def _parts(self, warehouse: Warehouse) -> dict[date | None, _Part]:
        with warehouse.read(where=self.where) as connection:
            return _parts(connection, self.table)

    def _copy(self, day: date | None, part: _Part) -> None:
        names = columns(list(self.table.types))
        with self.source.read(where=self.where) as connection:
            connection.execute(
                f"copy (select {names} from {self.table.sql}{self.table.where(day)}) to {text(str(self.file))} "
                "(format parquet, row_group_size 20000)"
            )

        def replace() -> None:
            with self.target.transaction(where=self.where) as connection:
                connection.execute(f"delete from {self.table.sql}{self.table.where(day)}")
                connection.execute(f"insert into {self.table.sql} by name from read_parquet({text(str(self.file))})")
                came = _parts(connection, self.table, [day])
                if not _same(part, came.get(day)):
                    raise ContractError(
                        f"{self.table.schema}.{self.table.name} of {day or 'all days'} arrived as "
                        f"{came[day].rows if day in came else 0} rows with another checksum than the {part.rows} sent",
                        where=self.where,
                        next_step="nothing of it was kept; run it again when nothing is landed; if it repeats, report.",
                    )

        try:
            retry_conflicts(replace)
        finally:
            self.file.unlink(missing_ok=True)


def _same(one: _Part, other: _Part | None) -> bool:
    return other is not None and (one.rows, one.checksum) == (other.rows, other.checksum)


def _is_newer(there: _Part | None, here: _Part) -> bool:
    return bool(there and there.landed_at and here.landed_at and there.landed_at > here.landed_at)


def _parts(connection: Connection, table: _Table, days: Sequence[date | None] = ()) -> dict[date | None, _Part]:
    key = quoted(_DAY) if table.has_days else "null::date"
    landed_at = f"max({quoted(_AT)})" if _AT in table.types else "null::timestamptz"
    only = table.where(days[0]) if days else ""
    values = ", ".join(quoted(name) for name in sorted(table.types))
    rows = connection.execute(
        f"select {key}, count(*), sum(hash({values})::hugeint)::varchar, epoch_us({landed_at}) "
        f"from {table.sql}{only} group by 1 order by 1"
    ).fetchall()
    return {
        day: _Part(count, int(checksum), None if at is None else datetime.fromtimestamp(at / 1e6).astimezone())
        for day, count, checksum, at in rows
    }


def _tables(connection: Connection) -> Iterator[_Table]:
    found = connection.execute(
        "select schema_name, table_name, comment from duckdb_tables() where database_name = current_database() "
        "order by all"
    ).fetchall()
    for schema, name, comment in found:
        rows = connection.execute(
            "select column_name, data_type, is_nullable, comment from duckdb_columns() "
            "where database_name = current_database() "
            f"and schema_name = {literal(schema)} and table_name = {literal(name)} order by column_index"
        ).fetchall()
        types = {column: kind for column, kind, _, _ in rows}
        table = f"{quoted(schema)}.{quoted(name)}"
        comments = {f"column {table}.{quoted(column)}": said for column, _, _, said in rows if said}
        if comment:
            comments[f"table {table}"] = comment
        if schema == OWN or _LANDED in types:
            required = frozenset(column for column, _, nullable, _ in rows if not nullable)
            yield _Table(schema, name, types, required, comments)


def _types(connection: Connection, table: _Table) -> dict[str, str]:
    return dict(
        connection.execute(
            "select column_name, data_type from duckdb_columns() where database_name = current_database() "
            f"and schema_name = {literal(table.schema)} and table_name = {literal(table.name)}"
        ).fetchall()
    )
