"""What the warehouse knows of properties, over all days that were looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from connector.warehouse.connection import MissingTableError, Warehouse
from connector.warehouse.sql import literal


@dataclass(frozen=True)
class Property:
    """One property of one event; see the view ``connector.properties``."""

    table: str
    event: str
    property: str
    event_rows: int
    rows: int
    filled_percent: float
    fits: str
    kinds: Sequence[str]
    examples: Sequence[str]
    first_day: date
    last_day: date


def every_property(warehouse: Warehouse, table: str = "", event: str = "") -> list[Property]:
    """Every property, by table and event, those of most rows first.

    Args:
        table, event: only these; all if empty.
    """
    if not warehouse.exists():
        return []
    with warehouse.read() as connection:
        try:
            rows: list[Any] = connection.execute(
                "select table_name, event_name, property, event_rows, rows, filled_percent, fits, kinds, "
                "coalesce(examples, []), first_day, last_day from connector.properties "
                f"where {literal(table)} in ('', table_name) and {literal(event)} in ('', event_name) "
                "order by table_name, event_rows desc, event_name, rows desc, property"
            ).fetchall()
        except MissingTableError:
            return []
    return [Property(*row) for row in rows]
