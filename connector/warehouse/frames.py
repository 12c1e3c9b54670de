"""Landed rows as a pandas frame, for notebooks and tests. Read-only; landings do not use it.

Rows are copied at once and the warehouse is closed again, so a frame must fit into memory. Larger results are better
computed in SQL.
"""

import warnings
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from connector.errors import RejectedError
from connector.redaction import excerpt
from connector.settings import Settings
from connector.stream import day_of
from connector.warehouse.connection import At, Warehouse
from connector.warehouse.sql import columns as listed
from connector.warehouse.sql import literal, quoted, text

if TYPE_CHECKING:
    import pandas


Days = date | str | Sequence[date | str]

# The column with the day of a row: in landed tables, and in models.
_DAY_COLUMNS = ("_day", "day")
# pandas types that have a NULL, so that a missing count is not the float NaN.
_NULLABLE = {"BIGINT": "Int64", "BOOLEAN": "boolean", "DOUBLE": "Float64"}


def frame(
    table: str,
    days: Days | None = None,
    *,
    columns: Sequence[str] | None = None,
    at: At | None = None,
    warehouse: Warehouse | None = None,
) -> "pandas.DataFrame":
    """The rows of a landed table, or of any other table or view in the warehouse.

    Args:
        table: schema and name, such as ``openpanel.events`` or ``marts.sessions``.
        days: one day, or the first and the last, both included, of the column ``_day`` (``day`` in a model). A
            datetime stands for its day, in UTC if it has a timezone. All rows by default.
        columns: their names, in the order you want; all by default. A few columns are read many times faster.
        at: a moment, or the number of a snapshot: the rows as they were then. Lakes only.
        warehouse: by default the one that WAREHOUSE names.

    Returns:
        One row per record, in the order of the table. Times are ``datetime64[us, UTC]``; integers, booleans and
        floats have pandas' nullable types; JSON is text.

    Raises:
        RejectedError: there is no such table or column, the days cannot be read, or pandas is not installed.
        BusyError: another process kept the warehouse locked.
    """
    try:
        import pandas  # noqa: F401  DuckDB needs it to make a frame
    except ImportError:
        raise RejectedError(
            "pandas is not installed", where=table, next_step="install this package with its extra: [pandas]."
        ) from None
    schema, _, name = table.partition(".")
    if not name:
        raise _refused(table, "a table has a schema and a name", "write schema.table, such as connector.landings.")
    warehouse = warehouse or Warehouse(Settings.load().warehouse)
    with warehouse.read(at=at) as connection:
        types = dict(
            connection.execute(
                "select column_name, data_type from duckdb_columns() where database_name = current_database() "
                f"and schema_name = {text(schema)} and table_name = {text(name)} order by column_index"
            ).fetchall()
        )
        if not types:
            raise _refused(table, "there is no such table", "land it first; connector.landings tells what has landed.")
        wanted = list(types) if columns is None else [columns] if isinstance(columns, str) else list(columns)
        if not wanted or len(set(wanted)) < len(wanted):
            raise _refused(table, "no column is named, or one twice", f"use some of {', '.join(types)}, once each.")
        if unknown := [column for column in wanted if column not in types]:
            raise _refused(table, f"there is no column {unknown[0]!r}", f"use {', '.join(types)}.")
        day = next((name for name in _DAY_COLUMNS if name in types), None)
        if days is not None and day is None:
            raise _refused(table, "it has no days", "leave the days out.")
        where = _days_condition(days, table, str(day)) if days is not None else ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # DuckDB 1.5's own use of pandas 3.1
            rows = connection.execute(f"select {listed(wanted)} from {quoted(schema)}.{quoted(name)}{where}").df()
    kinds = {column: _NULLABLE[types[column]] for column in rows.columns if types[column] in _NULLABLE}
    return rows.astype(kinds)


def _days_condition(days: Days, table: str, column: str) -> str:
    ends = list(days) if isinstance(days, tuple | list) else [days, days]
    try:
        first, last = map(day_of, ends)
    except (ValueError, TypeError):
        raise _refused(
            table, f"{excerpt(str(days), 60)} are no days", "write YYYY-MM-DD, or the first and the last of them."
        ) from None
    if last < first:
        raise _refused(table, f"{last} is before {first}", "swap the two days.")
    return f" where {quoted(column)} between {literal(first)} and {literal(last)}"


def _refused(table: str, what: str, next_step: str) -> RejectedError:
    return RejectedError(what, where=excerpt(table, 80), next_step=next_step)
