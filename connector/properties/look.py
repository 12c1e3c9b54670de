"""Looks at the properties of landed days and keeps what it saw by day, so that no day is read twice.

A day is looked at once after each landing. Rows are counted by event, property and kind of value. A property's name is
its path with dots; numbers of list items become ``*``, so that ``items.0.sku`` and ``items.1.sku`` are one.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial

from connector.catalogue.own import EVENT_DAYS, PROPERTY_DAYS
from connector.catalogue.properties import EVENT_PROPERTIES, EventProperties
from connector.privacy.forget import instances
from connector.warehouse.connection import Connection, MissingTableError, Warehouse, retry_conflicts
from connector.warehouse.own_tables import create_properties
from connector.warehouse.sql import literal, quoted, quoted_table

# A value is shown as an example only if so many people sent it on one day: then it is of none of them.
PEOPLE = 5
EXAMPLES = 3
# Rows of each event and day among which examples are looked for, and properties of each event and day that are kept.
SAMPLE = 2000
PROPERTIES = 500

# What a value can be read as, the first that fits. Leading zeros make it a text: postal codes and ids have them.
_KIND = """case
    when value in ('true', 'false') then 'boolean'
    when regexp_full_match(value, '-?(0|[1-9][0-9]{0,17})') then 'integer'
    when regexp_full_match(value, '-?(0|[1-9][0-9]{0,13})[.][0-9]{1,4}') then 'decimal'
    when regexp_full_match(value, '-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]{1,2})?') then 'double'
    when regexp_full_match(value, '[0-9]{4}-[0-9]{2}-[0-9]{2}') and try_cast(value as date) is not null then 'date'
    when regexp_matches(value, '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}')
        and try_cast(value as timestamptz) is not null then 'timestamp'
    else 'text'
end"""


@dataclass(frozen=True)
class Looked:
    """The days of one table that were looked at."""

    source: EventProperties
    days: tuple[date, ...]


def sources(warehouse: Warehouse) -> list[EventProperties]:
    """Every table of the warehouse that has events with properties, of every instance."""
    if not warehouse.exists():
        return []
    return [source.of(stream.instance) for source in EVENT_PROPERTIES for stream in instances(warehouse, source.stream)]


def look(warehouse: Warehouse, source: EventProperties) -> Looked:
    """Look at the days that were landed since they were last looked at; each in a transaction of its own.

    Raises:
        BusyError: another process kept the warehouse locked; days looked at before stay looked at.
    """
    if not warehouse.exists():
        return Looked(source, ())
    with warehouse.read() as connection:
        days = _days(connection, source)
    for day in days:
        retry_conflicts(partial(_look_at_one, warehouse, source, day))
    return Looked(source, tuple(days))


def _look_at_one(warehouse: Warehouse, source: EventProperties, day: date) -> None:
    with warehouse.transaction(where=f"properties of {source.stream.partition(day)}") as connection:
        create_properties(connection)
        _look_at(connection, source, day)


def _days(connection: Connection, source: EventProperties) -> list[date]:
    """Days whose newest landing is newer than the last look, oldest first; a day that was emptied is one of them."""
    table = literal(source.stream.table)
    known = {
        name
        for (name,) in connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() "
            "where database_name = current_database() "
            f"and (schema_name = 'connector' or schema_name = {literal(source.stream.schema)})"
        ).fetchall()
    }
    if not {source.stream.table, "connector.landings"} <= known:
        return []
    looked = "select null::date as day, null::timestamptz as looked_at where false"
    if "connector.event_days" in known:
        looked = (
            f"select day, min(looked_at) as looked_at from connector.event_days where table_name = {table} group by day"
        )
    rows = connection.execute(
        f"""
        select landed.day
        from (
            select day, max(landed_at) as landed_at, arg_max(landed, landed_at) as rows
            from connector.landings
            where table_name = {table} and status = 'landed'
            group by day
        ) as landed
        left join ({looked}) as looked on landed.day = looked.day
        where looked.looked_at < landed.landed_at or (looked.looked_at is null and landed.rows > 0)
        order by landed.day
        """
    ).fetchall()
    return [day for (day,) in rows]


def _look_at(connection: Connection, source: EventProperties, day: date) -> None:
    stream, now = source.stream, literal(datetime.now(UTC))
    table, of_day = literal(stream.table), literal(day)
    for own in (EVENT_DAYS, PROPERTY_DAYS):
        connection.execute(f"delete from connector.{own.name} where table_name = {table} and day = {of_day}")
    people = ", ".join(f"nullif({quoted(name)}, '')" for name in source.person)
    kind = f"and {quoted(source.kind[0])} = {literal(source.kind[1])}" if source.kind else ""
    connection.execute(
        f"create or replace temp view events_of_the_day as select {quoted(source.event)} as event_name, "
        f"coalesce({people}) as person, {quoted(source.column)} as properties, _day as day from {quoted_table(stream)} "
        f"where _day = {of_day} and {quoted(source.event)} <> '' {kind}"
    )
    connection.execute(
        f"insert into connector.event_days by name select {table} as table_name, {of_day} as day, event_name, "
        f"count(*) as rows, {now} as looked_at from events_of_the_day group by event_name"
    )
    connection.execute(
        f"insert into connector.property_days by name select {table} as table_name, {of_day} as day, * from ({_SEEN})"
    )


# Leaves of every depth: `fullkey` is $.a.b[0]. Empty texts and nulls are no values.
_VALUES = """
select
    events.event_name,
    events.person,
    events.place,
    leaf.fullkey[2:] as path,
    leaf.atom ->> '$' as value
from (
    select *, row_number() over (partition by event_name) as place
    from events_of_the_day
) as events, json_tree(events.properties) as leaf
where leaf.atom is not null and leaf.fullkey <> '$' and (leaf.atom ->> '$') <> ''
"""
# Twice, because the end of one number is what stands before the next.
_NAME = "path"
for _ in range(2):
    _NAME = f"regexp_replace({_NAME}, '(^|[^.])\\[[0-9]+\\]', '\\1.*', 'g')"
    _NAME = f"regexp_replace({_NAME}, '(.)[.][0-9]+([.]|$)', '\\1.*\\2', 'g')"
_NAME = f"regexp_replace({_NAME}, '^[.]', '')"
_SEEN = f"""
with leaves as ({_VALUES}),

counted as (
    select event_name, path, {_KIND} as kind, count(*) as rows
    from leaves
    group by all
),

shared as (
    select event_name, path, value, count(*) as rows
    from leaves
    where place <= {SAMPLE} and length(value) <= 60 and value not like '%@%'
    group by all
    having count(distinct person) >= {PEOPLE}
),

examples as (
    select event_name, {_NAME} as property, list(value order by rows desc, value)[:{EXAMPLES}] as examples
    from shared
    group by all
),

named as (
    -- Of a list's items, the one that most rows have.
    select event_name, {_NAME} as property, kind, max(rows) as rows
    from counted
    group by all
),

kept as (
    select event_name, property
    from named
    group by event_name, property
    qualify row_number() over (partition by event_name order by sum(rows) desc, property) <= {PROPERTIES}
)

select named.event_name, named.property, named.kind, named.rows, examples.examples
from named
semi join kept on named.event_name = kept.event_name and named.property = kept.property
left join examples on named.event_name = examples.event_name and named.property = examples.property
"""


def looked_at_since(warehouse: Warehouse, table: str, moment: datetime) -> list[date]:
    """The days of a table that were looked at since then, oldest first."""
    if not warehouse.exists():
        return []
    with warehouse.read() as connection:
        try:
            rows = connection.execute(
                f"select distinct day from connector.event_days where table_name = {literal(table)} "
                f"and looked_at >= {literal(moment)} order by day"
            ).fetchall()
        except MissingTableError:
            return []
    return [day for (day,) in rows]
