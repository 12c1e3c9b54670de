"""What receipts and landed rows tell: which days are whole, moved or failed, and what is in a day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from connector.catalogue.own import PROBES
from connector.stream import Receipt, Stream
from connector.warehouse.connection import Warehouse, retry_conflicts
from connector.warehouse.own_tables import create_receipts, insert
from connector.warehouse.sql import columns, literal, of_days, quoted, quoted_table


def newest_day(warehouse: Warehouse, stream: Stream) -> date | None:
    """The newest partition that has rows."""
    if not warehouse.exists():
        return None
    with warehouse.read() as connection:
        row = connection.execute(f"select max(_day) from {quoted_table(stream)}").fetchone()
    day: date | None = row[0] if row else None
    return day


def announced_counts(warehouse: Warehouse, stream: Stream, first: date, last: date) -> dict[date, int]:
    """The vendor's count of each landed day from ``first`` to ``last``, as of the day's newest landing."""
    rows = _query(
        warehouse,
        f"select day, arg_max(announced, landed_at) from connector.landings "
        f"where table_name = {literal(stream.table)} and status = 'landed' "
        f"and day between {literal(first)} and {literal(last)} group by day",
    )
    return {day: count for day, count in rows if count is not None}


def moved_days(warehouse: Warehouse, tables: Sequence[str]) -> list[tuple[str, date, int, int]]:
    """Landed days whose vendor count has changed since: table, day, the count when landed, the count now."""
    return _query(
        warehouse,
        "select c.table_name, c.day, l.announced, c.vendor_count from connector.coverage c join (select table_name, "
        "day, arg_max(announced, landed_at) as announced from connector.landings where status = 'landed' "
        "group by all) l using (table_name, day) where c.state = 'moved' and l.announced is not null "
        "and c.vendor_count is not null "
        f"and list_contains({literal(list(tables))}, c.table_name) order by all",
    )


def failures_of(warehouse: Warehouse, days: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The message of the newest failed receipt of each table and day; days without one are left out."""
    names = [f"{table} {day}" for table, day in days]
    rows = _query(
        warehouse,
        "select table_name, day::varchar, arg_max(error, landed_at) from connector.landings where status = 'failed' "
        f"and list_contains({literal(names)}, table_name || ' ' || day) group by all",
    )
    return {(table, day): error or "" for table, day, error in rows}


@dataclass(frozen=True)
class FailedDay:
    """A day whose newest landing failed: how often in all, when last, and the message."""

    table: str
    day: date
    times: int
    at: datetime
    error: str


def failing_days(warehouse: Warehouse) -> list[FailedDay]:
    """Days that failed and have not landed since, the newest failure first."""
    rows = _query(
        warehouse,
        "select table_name, day, count(*) filter (status = 'failed'), epoch_us(max(landed_at)), "
        "arg_max(error, landed_at) from connector.landings group by all "
        "having arg_max(status, landed_at) = 'failed' order by max(landed_at) desc, table_name, day",
    )
    return [
        FailedDay(table, day, times, datetime.fromtimestamp(at / 1e6, UTC), error or "")
        for table, day, times, at, error in rows
    ]


# From so long after its end a day that did not land is told of. Until then two nightly schedules had their chance, also
# that of an organization whose days end later than those of UTC.
TWO_NIGHTS = timedelta(hours=50)


@dataclass(frozen=True)
class Landed:
    """What the receipts say of one table's days.

    Attributes:
        days: landed days and when each was landed last.
        failed: days with failed landings, and how many.
        requests: what a landed day costs, on average.
    """

    days: Mapping[date, datetime]
    failed: Mapping[date, int]
    requests: float

    def ended(self, timezone: str) -> set[date]:
        """Days that were landed after they ended: what was landed before may be a part of the day."""
        return {day for day, at in self.days.items() if at >= end_of(day, timezone)}

    def missing(self, timezone: str, now: datetime) -> list[date]:
        """Days after the first landed one that ended before ``now``, and that nothing has landed since they ended.

        Days before the first landed one are not missing: how far back to go is the user's choice.
        """
        if not self.days:
            return []
        first, whole = min(self.days), self.ended(timezone)
        days = (first + timedelta(days=n) for n in range((now.date() - first).days + 1))
        return [day for day in days if day not in whole and end_of(day, timezone) <= now]


def end_of(day: date, timezone: str) -> datetime:
    """The moment a day ends in a timezone, in UTC."""
    midnight = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(timezone))
    return midnight.astimezone(UTC)


def landed_tables(warehouse: Warehouse) -> dict[str, Landed]:
    """Every table that anything was landed in, also in vain, and what its receipts say."""
    rows = _query(
        warehouse,
        "select table_name, day, epoch_us(max(landed_at) filter (status = 'landed')), count(*) filter "
        "(status = 'failed'), avg(requests) filter (status = 'landed') from connector.landings group by all",
    )
    found: dict[str, Landed] = {}
    for table in sorted({row[0] for row in rows}):
        of_table = [row[1:] for row in rows if row[0] == table]
        costs = [cost for _, at, _, cost in of_table if at is not None]
        found[table] = Landed(
            {day: datetime.fromtimestamp(at / 1e6, UTC) for day, at, _, _ in of_table if at is not None},
            {day: failed for day, _, failed, _ in of_table if failed},
            sum(costs) / len(costs) if costs else 0.0,
        )
    return found


def _query(warehouse: Warehouse, sql: str) -> list[Any]:
    if not warehouse.exists():
        return []
    with warehouse.read() as connection:
        try:
            return connection.execute(sql).fetchall()
        except duckdb.CatalogException:
            return []


def record_counts(warehouse: Warehouse, stream: Stream, counts: Mapping[date, int]) -> None:
    """Remember the vendor's own counts, for ``connector.coverage``. Only the newest probe of a day is kept."""
    if not counts:
        return
    probe = {"table_name": stream.table, "asked_at": datetime.now(UTC)}
    table, days = literal(stream.table), literal(list(counts))

    def record() -> None:
        with warehouse.transaction() as connection:
            create_receipts(connection)
            connection.execute(
                f"delete from connector.probes where table_name = {table} and list_contains({days}, day)"
            )
            insert(connection, PROBES, [{**probe, "day": day, "vendor_count": count} for day, count in counts.items()])

    retry_conflicts(record)


@dataclass(frozen=True)
class DayFacts:
    """One day of a table: rows, distinct keys, rows without a key, rows with something in ``_extra``."""

    rows: int
    keys: int
    keyless: int
    extras: int


def day_facts(warehouse: Warehouse, stream: Stream, days: Sequence[date]) -> dict[date, DayFacts]:
    """Facts of each day, from one short query; days without rows have zeros."""
    facts = dict.fromkeys(days, DayFacts(0, 0, 0, 0))
    if not days or not warehouse.exists():
        return facts
    key, first = columns(stream.primary_key), quoted(stream.primary_key[0])
    with warehouse.read() as connection:
        rows = connection.execute(
            f"select _day, count(*), count(distinct ({key})), count(*) filter ({first} is null), count(_extra) "
            f"from {quoted_table(stream)} where {of_days('_day', days)} group by _day"
        ).fetchall()
    return facts | {row[0]: DayFacts(*row[1:]) for row in rows}


def current_facts(warehouse: Warehouse, stream: Stream) -> DayFacts:
    """Facts of what a list holds now."""
    key = columns(stream.primary_key)
    rows = _query(
        warehouse,
        f"select count(*), count(distinct ({key})), count(*) filter ({quoted(stream.primary_key[0])} is null), "
        f"count(_extra) from {quoted_table(stream)} where _current",
    )
    return DayFacts(*rows[0]) if rows else DayFacts(0, 0, 0, 0)


def row_count(warehouse: Warehouse, stream: Stream) -> int:
    """Rows of a table; 0 if there is none."""
    rows = _query(warehouse, f"select count(*) from {quoted_table(stream)}")
    return int(rows[0][0]) if rows else 0


def names_landed(warehouse: Warehouse, stream: Stream, column: str) -> set[str]:
    """The values of a column of names."""
    return {name for (name,) in _query(warehouse, f"select distinct {quoted(column)} from {quoted_table(stream)}")}


def first_landing(warehouse: Warehouse, stream: Stream) -> datetime | None:
    """When a table was landed for the first time."""
    rows = _query(
        warehouse,
        f"select epoch_us(min(landed_at)) from connector.landings where table_name = {literal(stream.table)} "
        "and status = 'landed'",
    )
    return datetime.fromtimestamp(rows[0][0] / 1e6, UTC) if rows and rows[0][0] is not None else None


def newest_receipts(warehouse: Warehouse, stream: Stream, *, most: int) -> list[Receipt]:
    """The newest receipt of each of the last landed days, in the order of the days."""
    rows = _query(
        warehouse,
        "select day, load_id, coalesce(announced, landed), received, landed, duplicates, replaced, misfits, "
        f"coalesce(forgotten, 0), warnings from connector.landings where table_name = {literal(stream.table)} "
        "and status = 'landed' qualify row_number() over (partition by day order by landed_at desc) = 1 "
        f"order by day desc limit {int(most)}",
    )
    return [
        Receipt(
            table=stream.table,
            day=day,
            load_id=load_id,
            announced=announced,
            received=received,
            landed=landed,
            duplicates=duplicates,
            replaced=replaced,
            misfits=misfits,
            forgotten=forgotten,
            warnings=(warnings,) if warnings else (),
        )
        for day, load_id, announced, received, landed, duplicates, replaced, misfits, forgotten, warnings in rows[::-1]
    ]


@dataclass(frozen=True)
class Hours:
    """Rows per hour of one UTC day, and per hour of the ``days`` landed days before it, on average."""

    counts: tuple[int, ...]
    usual: tuple[float, ...]
    days: int


USUAL_DAYS = 7


def hours_of_days(warehouse: Warehouse, stream: Stream, days: Sequence[date]) -> dict[date, Hours]:
    """Rows per hour of each day beside the average of the week before it, from one short query."""
    if not days or not warehouse.exists():
        return {}
    first, last = min(days) - timedelta(days=USUAL_DAYS), max(days)
    with warehouse.read() as connection:
        rows = connection.execute(
            f"select _day, hour({quoted(stream.replication_key)}), count(*) from {quoted_table(stream)} "
            f"where _day between {literal(first)} and {literal(last)} group by all"
        ).fetchall()
    counted: dict[date, list[int]] = {}
    for day, hour, count in rows:
        counted.setdefault(day, [0] * 24)[hour] = count
    found = {}
    for day in days:
        before = [counted[past] for back in range(1, USUAL_DAYS + 1) if (past := day - timedelta(days=back)) in counted]
        usual = tuple(sum(hours) / len(before) for hours in zip(*before, strict=True)) if before else (0.0,) * 24
        found[day] = Hours(tuple(counted.get(day, [0] * 24)), usual, len(before))
    return found


def under_other_rules(warehouse: Warehouse, rules: Mapping[str, str]) -> dict[str, tuple[int, date, date]]:
    """Rows that were landed under other rules for personal data, by table: how many, first and last day.

    Args:
        rules: by table, the fingerprint of today's rules; empty where there are none.
    """
    if not warehouse.exists():
        return {}
    with warehouse.read() as connection:
        tables = {
            f"{schema}.{table}"
            for schema, table in connection.execute(
                "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
            ).fetchall()
        }
        if "connector.landings" not in tables or "rules" not in _columns(connection, "connector.landings"):
            return {}
        found = {}
        for table in sorted(rules.keys() & tables):
            name = ".".join(quoted(part) for part in table.split("."))
            # Of a day that was landed whole later, no row is left. A list keeps the rows that have not changed.
            replaced = (
                "select 1 from connector.landings as later where later.table_name = l.table_name and later.day = l.day "
                "and later.status = 'landed' and not later.incremental and later.landed_at > l.landed_at"
            )
            loads = connection.execute(
                f"select load_id, day from connector.landings as l where table_name = {literal(table)} "
                f"and status = 'landed' and coalesce(rules, '') <> {literal(rules[table])} "
                + ("" if "_current" in _columns(connection, table) else f"and not exists ({replaced})")
            ).fetchall()
            if not loads:
                continue
            row = connection.execute(
                f"select count(*), min(_day), max(_day) from {name} where {of_loads(connection, table, loads)}"
            ).fetchone()
            if row and row[0]:
                found[table] = (int(row[0]), row[1], row[2])
    return found


def of_loads(connection: duckdb.DuckDBPyConnection, table: str, loads: Sequence[tuple[str, date]]) -> str:
    """The condition that a row is of one of these landings (load id and day), at least one.

    Reads their days only, not the history; of a list all rows, which are few.
    """
    ids = f"_load_id in (select unnest({literal(sorted({load_id for load_id, _ in loads}))}))"
    known = _columns(connection, table)
    if "_current" in known or "_day" not in known:
        return ids
    days = [day for _, day in loads]
    return f"_day between {literal(min(days))} and {literal(max(days))} and {ids}"


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    schema, _, name = table.partition(".")
    return {
        column
        for (column,) in connection.execute(
            "select column_name from duckdb_columns() where database_name = current_database() "
            f"and schema_name = {literal(schema)} and table_name = {literal(name)}"
        ).fetchall()
    }
