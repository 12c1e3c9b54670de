"""Removes persons from every landed table, and keeps them out of later landings.

A vendor that still has a person sends their rows again with the next lookback. So a salted digest of each removed value
is remembered, but not the value. Every landing leaves out the rows with a known digest, and its receipt counts them.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from connector.catalogue.own import FORGOTTEN, LANDINGS
from connector.stream import Column, Stream
from connector.warehouse.connection import Connection, Warehouse, retry_conflicts
from connector.warehouse.own_tables import create
from connector.warehouse.sql import literal, quoted, quoted_table, text

Hashed = Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What was removed from one table: rows, their number of days, and how many rows were anonymous."""

    table: str
    rows: int
    days: int
    anonymous: int = 0


def remove_people(
    warehouse: Warehouse,
    people: Iterable[tuple[Stream, Sequence[str]]],
    *,
    hashed: Hashed | None = None,
    devices: bool = True,
    dry_run: bool = False,
) -> list[Removed]:
    """Remove people from the tables of streams in one transaction, and remember their digests.

    Args:
        people: streams (each of one instance), and the ids of people as the vendor knows them.
        hashed: gives the hash of a value; ids are looked for in both forms.
        devices: also remove anonymous rows of the devices that these people used, in all tables of a schema. Rows of
            other identified people on the same devices stay.
        dry_run: count, and change nothing.

    Returns:
        One entry for every table that exists; rows may be 0.

    Raises:
        BusyError: another process kept the warehouse locked.
    """
    wanted = list(people)

    def remove() -> list[Removed]:
        with warehouse.read() if dry_run else warehouse.transaction() as connection:
            known = _tables(connection)
            if not dry_run:
                create(connection, FORGOTTEN)
            tables = [(_Table(connection, stream, hashed), ids) for stream, ids in wanted if stream.table in known]
            used: dict[str, set[str]] = {}
            for table, ids in tables if devices else ():
                used.setdefault(table.schema, set()).update(table.devices(ids))
            return [table.forget(ids, sorted(used.get(table.schema, ())), dry_run=dry_run) for table, ids in tables]

    return retry_conflicts(remove)


def instances(warehouse: Warehouse, stream: Stream) -> list[Stream]:
    """A stream in every instance that has a table in the warehouse."""
    with warehouse.read() as connection:
        schemas = [table.split(".")[0] for table in sorted(_tables(connection)) if table.endswith(f".{stream.name}")]
    own = [schema for schema in schemas if schema == stream.vendor or schema.startswith(f"{stream.vendor}_")]
    return [stream.of(schema[len(stream.vendor) + 1 :]) for schema in own]


def leave_out(connection: Connection, stream: Stream, rows: str, *, table: str = "") -> int:
    """Delete rows of forgotten people among rows that were just inserted.

    What was forgotten in any table of the schema counts: a table that is landed later must not bring a person back.

    Args:
        rows: SQL condition that selects the inserted rows.
        table: the table as SQL, if it is not the stream's.

    Returns:
        The number of deleted rows.
    """
    who = _column(stream, "person")
    if who is None or not _has_forgotten(connection):
        return 0
    salts = connection.execute(f"select distinct salt from connector.forgotten where {_of_schema(stream)}").fetchall()
    if not salts:
        return 0
    device = _column(stream, "device")
    conditions = []
    for (salt,) in salts:
        conditions.append(_is_remembered(stream, who, salt))
        if device:
            conditions.append(f"(coalesce({quoted(who.name)}, '') = '' and {_is_remembered(stream, device, salt)})")
    (count,) = connection.execute(
        f"delete from {table or quoted_table(stream)} where {rows} and ({' or '.join(conditions)})"
    ).fetchone() or (0,)
    return int(count)


def is_forgotten(warehouse: Warehouse) -> Callable[[str], bool]:
    """A function that tells whether a person's id was forgotten in any table."""
    if not warehouse.exists():
        return lambda _: False
    with warehouse.read() as connection:
        if not _has_forgotten(connection):
            return lambda _: False
        rows = connection.execute("select distinct salt, digest from connector.forgotten").fetchall()
    digests: dict[str, set[str]] = {}
    for salt, digest in rows:
        digests.setdefault(salt, set()).add(digest)
    return lambda value: any(_digest(salt, value) in known for salt, known in digests.items())


class _Table:
    """The statements for one table."""

    def __init__(self, connection: Connection, stream: Stream, hashed: Hashed | None) -> None:
        self._db, self._stream, self._hashed = connection, stream, hashed
        self._table, self.schema = quoted_table(stream), stream.schema
        who = _column(stream, "person")
        assert who is not None
        self._who, self._device = who, _column(stream, "device")

    def devices(self, ids: Sequence[str]) -> list[str]:
        """Devices that people used, as the table names them; none where it does not."""
        if self._device is None:
            return []
        device, people = quoted(self._device.name), literal(self._plain_and_hashed(ids))
        rows = self._db.execute(
            f"select distinct {device} from {self._table} "
            f"where list_contains({people}, {quoted(self._who.name)}) and coalesce({device}, '') <> ''"
        ).fetchall()
        return [value for (value,) in rows]

    def forget(self, ids: Sequence[str], seen: Sequence[str], *, dry_run: bool) -> Removed:
        """Delete the rows of people, and the anonymous rows of the devices in ``seen``."""
        who, device = self._who, self._device
        people = self._plain_and_hashed(ids)
        matches = f"list_contains({literal(people)}, {quoted(who.name)})"
        # The id of an anonymous person is the device's.
        anonymous = [value for value in self._plain_and_hashed(seen) if value not in people]
        unnamed = f"list_contains({literal(anonymous)}, {quoted(who.name)})" if seen else "false"
        if device and seen:
            unnamed = (
                f"({unnamed} or (coalesce({quoted(who.name)}, '') = '' "
                f"and list_contains({literal(seen)}, {quoted(device.name)})))"
            )
        per_day = self._db.execute(
            f"select _day, count(*), count(*) filter (not {matches}) from {self._table} "
            f"where {matches} or {unnamed} group by 1"
        ).fetchall()
        if not dry_run:
            self._db.execute(f"delete from {self._table} where {matches} or {unnamed}")
            self._correct_receipts({day: count for day, count, _ in per_day})
            self._remember(who, [*people, *anonymous])
            if device:
                self._remember(device, seen)
        return Removed(
            table=self._stream.table,
            rows=sum(count for _, count, _ in per_day),
            days=len(per_day),
            anonymous=sum(unnamed for _, _, unnamed in per_day),
        )

    def _plain_and_hashed(self, values: Iterable[str]) -> list[str]:
        found = dict.fromkeys(value for value in values if value)
        return list(found | dict.fromkeys(form for value in found if self._hashed and (form := self._hashed(value))))

    def _correct_receipts(self, per_day: Mapping[object, int]) -> None:
        """Update the newest receipt of each day, so that landed, duplicates and forgotten add up to what was sent."""
        create(self._db, LANDINGS)
        for day, count in per_day.items():
            of_day = f"table_name = {literal(self._stream.table)} and day = {literal(day)} and status = 'landed'"
            self._db.execute(
                f"update connector.landings set landed = landed - {count:d}, forgotten = coalesce(forgotten, 0) + "
                f"{count:d} where {of_day} and load_id = (select arg_max(load_id, landed_at) from connector.landings "
                f"where {of_day})"
            )

    def _remember(self, column: Column, values: Sequence[str]) -> None:
        row = self._db.execute("select any_value(salt) from connector.forgotten").fetchone()
        salt = (row and row[0]) or secrets.token_hex(16)
        table, name, now = literal(self._stream.table), literal(column.name), literal(datetime.now(UTC))
        for value in values:
            digest = literal(_digest(salt, value))
            self._db.execute(
                f"insert into connector.forgotten select {table}, {name}, {digest}, {literal(salt)}, {now} "
                f"where not exists (from connector.forgotten where table_name = {table} and column_name = {name} "
                f"and digest = {digest})"
            )


def _is_remembered(stream: Stream, column: Column, salt: str) -> str:
    return (
        f"sha256({text(salt)} || {quoted(column.name)}) in (select digest from connector.forgotten "
        f"where {_of_schema(stream)})"
    )


def _of_schema(stream: Stream) -> str:
    return f"starts_with(table_name, {text(stream.schema + '.')})"


def _digest(salt: str, value: str) -> str:
    return hashlib.sha256((salt + value).encode()).hexdigest()


def _column(stream: Stream, whom: str) -> Column | None:
    return next((column for column in stream.columns if column.identifies == whom), None)


def _has_forgotten(connection: Connection) -> bool:
    return "connector.forgotten" in _tables(connection, "connector")


def _tables(connection: Connection, schema: str = "") -> set[str]:
    only = f" and schema_name = {literal(schema)}" if schema else ""
    rows = connection.execute(
        f"select schema_name || '.' || table_name from duckdb_tables() where database_name = current_database(){only}"
    ).fetchall()
    return {name for (name,) in rows}
