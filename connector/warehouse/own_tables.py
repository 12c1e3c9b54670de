"""Creates the connector's own tables and writes their rows."""

import duckdb

from connector.warehouse.sql import literal

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


def prepare_receipts(connection: duckdb.DuckDBPyConnection) -> None:
    """Create what this room writes and shows, where it is missing."""
    connection.execute("create schema if not exists connector")
    connection.execute(LANDINGS)
    connection.execute("alter table connector.landings add column if not exists forgotten bigint")
    connection.execute("alter table connector.landings add column if not exists rules varchar")
    connection.execute(PROBES)
    connection.execute(COVERAGE)


def insert_receipt(
    connection: duckdb.DuckDBPyConnection, *values: object, forgotten: int = 0, rules: str | None = None
) -> None:
    """One row of ``connector.landings``; values in the order of its columns."""
    row = ", ".join(literal(value) for value in (*values, forgotten, rules))
    connection.execute(f"insert into connector.landings ({_LANDINGS_COLUMNS}) values ({row})")
