"""The connector's own tables, made and filled from their entries in `catalogue/own.py`."""

from collections.abc import Mapping, Sequence

import duckdb

from connector.catalogue.own import EVENT_DAYS, LANDINGS, PROBES, PROPERTY_DAYS, Table
from connector.catalogue.properties import FITTING
from connector.stream import Column
from connector.warehouse.sql import columns, literal, quoted

# One INSERT holds this many rows.
ROWS_AT_ONCE = 1000

# Per table and day: the landed rows, the vendor's newest count, and whether the two agree.
_COVERAGE = """
create view if not exists connector.coverage as
with landed as (
    select table_name, day, landed, duplicates, announced, landed_at
    from connector.landings
    where status = 'landed'
    qualify row_number() over (partition by table_name, day order by landed_at desc) = 1
),
newest_count as (
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
    from newest_count
    group by table_name
)
select
    days.table_name,
    days.day,
    coalesce(landed.landed, 0) as landed,
    landed.duplicates,
    newest_count.vendor_count,
    newest_count.asked_at,
    landed.landed_at,
    case
        when landed.day is null then 'never landed'
        when newest_count.vendor_count is distinct from landed.announced then 'moved'
        else 'whole'
    end as state
from days
left join landed on landed.table_name = days.table_name and landed.day = days.day
left join newest_count on newest_count.table_name = days.table_name and newest_count.day = days.day
"""

# Per table, event and property: how often, as what, since when.
_FITTING_SQL = " ".join(
    f"when list_has_all({literal(list(those))}, kinds) then {literal(kind)}" for kind, those in FITTING.items()
)
_PROPERTIES = f"""
create view if not exists connector.properties as
with events as (
    select table_name, event_name, sum(rows)::bigint as event_rows
    from connector.event_days
    group by all
),
kinds as (
    select
        table_name,
        event_name,
        property,
        kind,
        sum(rows)::bigint as rows,
        min(day) as first_day,
        max(day) as last_day
    from connector.property_days
    group by all
),
examples as (
    select table_name, event_name, property, list(example order by times desc, example)[:3] as examples
    from (
        select table_name, event_name, property, example, count(*) as times
        from (
            select distinct table_name, event_name, property, day, unnest(examples) as example
            from connector.property_days
        )
        group by all
    )
    group by all
),
whole as (
    select
        table_name,
        event_name,
        property,
        sum(rows)::bigint as rows,
        list(kind order by rows desc, kind) as kinds,
        min(first_day) as first_day,
        max(last_day) as last_day
    from kinds
    group by all
)
select
    whole.table_name,
    whole.event_name,
    whole.property,
    events.event_rows,
    whole.rows,
    round(100.0 * whole.rows / events.event_rows, 2)::double as filled_percent,
    case
        {_FITTING_SQL}
        else 'text'
    end as fits,
    whole.kinds,
    examples.examples,
    whole.first_day,
    whole.last_day
from whole
inner join events using (table_name, event_name)
left join examples using (table_name, event_name, property)
"""


def create(connection: duckdb.DuckDBPyConnection, *tables: Table) -> None:
    """Create missing tables, and add columns that a table's entry gained since it was created."""
    connection.execute("create schema if not exists connector")
    for table in tables:
        wanted = ", ".join(_definition(table, column) for column in table.columns)
        connection.execute(f"create table if not exists {_name(table)} ({wanted})")
        rows = connection.execute(f"select name from pragma_table_info('connector.{table.name}')").fetchall()
        for column in table.columns:
            if (column.name,) not in rows:
                connection.execute(f"alter table {_name(table)} add column {quoted(column.name)} {column.type}")


def create_receipts(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables that every landing writes to, and the view that compares them with the vendors' counts."""
    create(connection, LANDINGS, PROBES)
    connection.execute(_COVERAGE)


def create_properties(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables of what properties the events of each day have, and the view over all days."""
    create(connection, EVENT_DAYS, PROPERTY_DAYS)
    connection.execute(_PROPERTIES)


def insert(connection: duckdb.DuckDBPyConnection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Add rows, each a mapping of column to value, all with the same columns. Columns left out are NULL."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        values = ", ".join(f"({', '.join(literal(row[name]) for name in some[0])})" for row in some)
        connection.execute(f"insert into {_name(table)} ({columns(list(some[0]))}) values {values}")


def _name(table: Table) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def _definition(table: Table, column: Column) -> str:
    return f"{quoted(column.name)} {column.type}" + (" not null" if column.name in table.required else "")
