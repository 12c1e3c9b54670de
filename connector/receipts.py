"""What is written down about landings, and what can be asked about them: receipts, the vendor's counts, coverage.

``connector.landings`` has a row for every landing, also for the ones that failed; ``connector.coverage`` compares
them with the vendor's counts. Raw tables are only read here.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb

from connector.errors import ConnectorError, SettingsError
from connector.sql import columns, literal, quoted, quoted_table
from connector.stream import Stream
from connector.warehouse import Warehouse

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
    landed_at timestamptz not null,
    forgotten bigint,
    rules varchar
)
"""
_LANDINGS_COLUMNS = (
    "table_name, day, load_id, announced, received, landed, duplicates, replaced, misfits, "
    "requests, refused, bytes, seconds, incremental, warnings, status, error, landed_at, forgotten, rules"
)


PROBES = """
create table if not exists connector.probes (
    table_name varchar not null,
    day date not null,
    vendor_count bigint not null,
    asked_at timestamptz not null
)
"""
HASH_KEYS = """
create table if not exists connector.hash_keys (
    schema_name varchar not null,
    fingerprint varchar not null,
    since timestamptz not null
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
    """The state of a landed day: which landing wrote it last, what came with it, and its newest row."""

    load_id: str
    received: int
    duplicates: int
    newest: datetime
    forgotten: int = 0
    rules: str = ""


def landed_day(warehouse: Warehouse, stream: Stream, day: date) -> Landed | None:
    """What is landed for a day, or None if nothing that newer rows could be added to."""
    if not warehouse.exists():
        return None
    with warehouse.read(where=stream.partition(day)) as connection:
        return landed_before(connection, stream, day)


def newest_day(warehouse: Warehouse, stream: Stream) -> date | None:
    """The newest partition that has rows."""
    if not warehouse.exists():
        return None
    with warehouse.read() as connection:
        row = connection.execute(f"select max(_day) from {quoted_table(stream)}").fetchone()
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
                f"where table_name = {literal(stream.table)} and status = 'landed' "
                f"and day between {literal(first)} and {literal(last)} group by day"
            ).fetchall()
        except duckdb.CatalogException:
            return {}
    return {day: count for day, count in rows if count is not None}


def moved_days(warehouse: Warehouse, tables: Sequence[str]) -> list[tuple[str, date, int, int]]:
    """Landed days whose vendor count is another one by now: table, day, the count when landed, the count now."""
    return _asked(
        warehouse,
        "select c.table_name, c.day, l.announced, c.vendor_count from connector.coverage c join (select table_name, "
        "day, arg_max(announced, landed_at) as announced from connector.landings where status = 'landed' "
        "group by all) l using (table_name, day) where c.state = 'moved' and l.announced is not null "
        "and c.vendor_count is not null "
        f"and list_contains({literal(list(tables))}, c.table_name) order by all",
    )


def failures_of(warehouse: Warehouse, days: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What the newest failed receipt of each table and day says; nothing for those without one."""
    names = [f"{table} {day}" for table, day in days]
    rows = _asked(
        warehouse,
        "select table_name, day::varchar, arg_max(error, landed_at) from connector.landings where status = 'failed' "
        f"and list_contains({literal(names)}, table_name || ' ' || day) group by all",
    )
    return {(table, day): error or "" for table, day, error in rows}


def _asked(warehouse: Warehouse, sql: str) -> list[Any]:
    if not warehouse.exists():
        return []
    with warehouse.read() as connection:
        try:
            return connection.execute(sql).fetchall()
        except duckdb.CatalogException:
            return []


def record_counts(warehouse: Warehouse, stream: Stream, counts: Mapping[date, int]) -> None:
    """Remember the vendor's own counts, for ``connector.coverage``. Probes older than the last are not kept."""
    if not counts:
        return
    now = datetime.now(UTC)
    with warehouse.write() as connection:
        prepare_receipts(connection)
        table, days = literal(stream.table), literal(list(counts))
        rows = ", ".join(f"({table}, {literal(day)}, {count:d}, {literal(now)})" for day, count in counts.items())
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
    key, first = columns(stream.primary_key), quoted(stream.primary_key[0])
    with warehouse.read() as connection:
        rows = connection.execute(
            f"select _day, count(*), count(distinct ({key})), count(*) filter ({first} is null), count(_extra) "
            f"from {quoted_table(stream)} where list_contains({literal(list(days))}, _day) group by _day"
        ).fetchall()
    return facts | {row[0]: DayFacts(*row[1:]) for row in rows}


@dataclass(frozen=True)
class Hours:
    """Rows per hour of one UTC day, and per hour of the ``days`` landed days before it, on average."""

    counts: tuple[int, ...]
    usual: tuple[float, ...]
    days: int


USUAL_DAYS = 7


def hours_of_days(warehouse: Warehouse, stream: Stream, days: Sequence[date]) -> dict[date, Hours]:
    """How each day went, hour by hour, beside the week before it; in one short reading."""
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


def record_failure(warehouse: Warehouse, stream: Stream, day: date, error: ConnectorError, reading: Reading) -> None:
    """Write a receipt of status ``failed``, so that the table of landings tells the bad nights as well."""
    with warehouse.write(where=stream.partition(day)) as connection:
        prepare_receipts(connection)
        insert_receipt(
            connection,
            stream.table, day, uuid.uuid4().hex, None, None, None, None, None, None,
            reading.requests, reading.refused, reading.bytes, reading.seconds, False,
            None, "failed", str(error), datetime.now(UTC),
        )  # fmt: skip


def under_other_rules(warehouse: Warehouse, rules: Mapping[str, str]) -> dict[str, tuple[int, date, date]]:
    """Rows that were landed under other rules for personal data than these, by table: how many, first and last day.

    Args:
        rules: by table, the fingerprint of those that would be applied today; empty where there are none.
    """
    if not warehouse.exists():
        return {}
    with warehouse.read() as connection:
        tables = {
            f"{schema}.{table}"
            for schema, table in connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
        }
        if "connector.landings" not in tables or not _has_rules(connection):
            return {}
        found = {}
        for table in sorted(rules.keys() & tables):
            name = ".".join(quoted(part) for part in table.split("."))
            row = connection.execute(
                f"select sum(rows), min(first), max(last) from (select _load_id, count(*) as rows, min(_day) as first, "
                f"max(_day) as last from {name} group by 1) join (select load_id, any_value(rules) as rules "
                f"from connector.landings where table_name = {literal(table)} and status = 'landed' group by 1) "
                f"on load_id = _load_id where coalesce(rules, '') <> {literal(rules[table])}"
            ).fetchone()
            if row and row[0]:
                found[table] = (int(row[0]), row[1], row[2])
    return found


def _has_rules(connection: duckdb.DuckDBPyConnection) -> bool:
    columns = connection.execute("select name from pragma_table_info('connector.landings')").fetchall()
    return ("rules",) in columns


def prepare_receipts(connection: duckdb.DuckDBPyConnection) -> None:
    """Create what this room writes and shows, where it is missing."""
    connection.execute("create schema if not exists connector")
    connection.execute(LANDINGS)
    connection.execute("alter table connector.landings add column if not exists forgotten bigint")
    connection.execute("alter table connector.landings add column if not exists rules varchar")
    connection.execute(PROBES)
    connection.execute(COVERAGE)


def one_hash_key(connection: duckdb.DuckDBPyConnection, schema: str, fingerprint: str) -> None:
    """Remember which key a schema's hashes are made with, and refuse another one.

    Raises:
        SettingsError: the schema holds hashes of another key, under which the same person is somebody else.
    """
    connection.execute(HASH_KEYS)
    of_schema = f"from connector.hash_keys where schema_name = {literal(schema)}"
    known = connection.execute(f"select fingerprint, since::date {of_schema}").fetchone()
    if known is None:
        now = literal(datetime.now(UTC))
        connection.execute(f"insert into connector.hash_keys values ({literal(schema)}, {literal(fingerprint)}, {now})")
    elif known[0] != fingerprint:
        raise SettingsError(
            "CONNECTOR_HASH_KEY",
            f"is not the key that {schema} has been hashed with since {known[1]}: joins with older days would fail",
            next_step=f"set the old key again; or, to begin anew with this one, run `delete {of_schema}` in the "
            "warehouse and land all days again.",
        )


def insert_receipt(
    connection: duckdb.DuckDBPyConnection, *values: object, forgotten: int = 0, rules: str | None = None
) -> None:
    """One row of ``connector.landings``; values in the order of its columns."""
    row = ", ".join(literal(value) for value in (*values, forgotten, rules))
    connection.execute(f"insert into connector.landings ({_LANDINGS_COLUMNS}) values ({row})")


def landed_before(connection: duckdb.DuckDBPyConnection, stream: Stream, day: date) -> Landed | None:
    """What is landed for a day, asked on a connection that is already open."""
    try:
        receipt = connection.execute(
            "select load_id, received, duplicates, coalesce(forgotten, 0), coalesce(rules, '') from connector.landings "
            f"where table_name = {literal(stream.table)} and day = {literal(day)} and status = 'landed' "
            "order by landed_at desc limit 1"
        ).fetchone()
        if receipt is None or not receipt[1]:
            return None
        newest = connection.execute(
            f"select epoch_us(max({quoted(stream.replication_key)})), count(*) "
            f"from {quoted_table(stream)} where _day = {literal(day)}"
        ).fetchone()
    except (duckdb.CatalogException, duckdb.BinderException):  # no table, or no such column in an old one
        return None
    if newest is None or newest[0] is None or newest[1] != receipt[1] - receipt[2] - receipt[3]:
        return None
    load_id, received, duplicates, forgotten, rules = receipt
    return Landed(load_id, received, duplicates, datetime.fromtimestamp(newest[0] / 1e6, UTC), forgotten, rules)
