"""Landed rows as a pandas frame, for notebooks and tests: read-only, closed before it returns, never on a row's way in.

Rows are copied out in one go, so a frame must fit into memory; what does not is better asked for in SQL.
"""

import warnings
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from connector.errors import RejectedError
from connector.redaction import excerpt
from connector.settings import Settings
from connector.stream import day_of
from connector.warehouse.connection import Warehouse
from connector.warehouse.sql import columns as listed
from connector.warehouse.sql import literal, quoted, text

if TYPE_CHECKING:
    import pandas


Days = date | str | Sequence[date | str]

# The column with the day of a row: in landed tables, in models.
_DAYS = ("_day", "day")
# Where a NULL may stand, so that a missing count is not the float NaN.
_NULLABLE = {"BIGINT": "Int64", "BOOLEAN": "boolean", "DOUBLE": "Float64"}


def frame(
    table: str, days: Days | None = None, *, columns: Sequence[str] | None = None, warehouse: Warehouse | None = None
) -> "pandas.DataFrame":
    """The rows of a landed table, or of any other table or view of the warehouse.

    Args:
        table: schema and name, such as ``openpanel.events`` or ``marts.sessions``.
        days: one day, or the first and the last one, both included, of the column ``_day``; of a model, ``day``. A
            moment stands for its day, in UTC if it has a timezone. All rows if left out.
        columns: in this order; all if left out. Naming the few you need is many times faster.
        warehouse: the one that WAREHOUSE names if left out.

    Returns:
        One row per record, in the order of the table. Times are ``datetime64[us, UTC]``; whole numbers, truth values
        and decimals are pandas' nullable types; JSON is its text.

    Raises:
        RejectedError: there is no such table or column, the days are none, or pandas is not installed.
        BusyError: somebody else kept the warehouse locked.
    """
    try:
        import pandas  # noqa: F401  DuckDB needs it to make a frame
    except ImportError:
        raise RejectedError(
            "pandas is not installed", where=table, next_step="install this package with its extra: [pandas]."
        ) from None
    schema, _, name = table.partition(".")
    if not name:
        raise _not_there(table, "a table has a schema and a name", "write schema.table, such as connector.landings.")
    warehouse = warehouse or Warehouse(Settings.load().warehouse)
    with warehouse.read() as connection:
        types = dict(
            connection.execute(
                "select column_name, data_type from duckdb_columns() where database_name = current_database() "
                f"and schema_name = {text(schema)} and table_name = {text(name)} order by column_index"
            ).fetchall()
        )
        if not types:
            raise _not_there(
                table, "there is no such table", "land it first; connector.landings tells what has landed."
            )
        wanted = list(types) if columns is None else [columns] if isinstance(columns, str) else list(columns)
        if not wanted or len(set(wanted)) < len(wanted):
            raise _not_there(table, "no column is named, or one twice", f"use some of {', '.join(types)}, once each.")
        if unknown := [column for column in wanted if column not in types]:
            raise _not_there(table, f"there is no column {unknown[0]!r}", f"use {', '.join(types)}.")
        day = next((name for name in _DAYS if name in types), None)
        if days is not None and day is None:
            raise _not_there(table, "it has no days", "leave the days out.")
        where = _of_days(days, table, str(day)) if days is not None else ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # DuckDB 1.5's own use of pandas 3.1
            rows = connection.execute(f"select {listed(wanted)} from {quoted(schema)}.{quoted(name)}{where}").df()
    kinds = {column: _NULLABLE[types[column]] for column in rows.columns if types[column] in _NULLABLE}
    return rows.astype(kinds)


def _of_days(days: Days, table: str, column: str) -> str:
    ends = list(days) if isinstance(days, tuple | list) else [days, days]
    try:
        first, last = map(day_of, ends)
    except (ValueError, TypeError):
        raise _not_there(
            table, f"{excerpt(str(days), 60)} are no days", "write YYYY-MM-DD, or the first and the last of them."
        ) from None
    if last < first:
        raise _not_there(table, f"{last} is before {first}", "swap the two days.")
    return f" where {quoted(column)} between {literal(first)} and {literal(last)}"


def _not_there(table: str, what: str, next_step: str) -> RejectedError:
    return RejectedError(what, where=excerpt(table, 80), next_step=next_step)
