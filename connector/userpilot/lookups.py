"""Lookups on their way: read, fitted to the catalogue, landed with history; lists inside items as tables of their own.

Items are few, so they are built and looked at one by one. Nothing here walks pages.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from connector.errors import ConnectorError, excerpt
from connector.landing_snapshot import land_snapshot
from connector.receipts import record_failure
from connector.spool import spool_pages, spooling
from connector.stream import Column, Page, Receipt, Stream
from connector.sync import Cost
from connector.userpilot.client import Userpilot, item_id
from connector.userpilot.streams import CHILDREN
from connector.warehouse import Warehouse

_FITS = {"BOOLEAN": (bool,), "BIGINT": (int,)}


def sync_lookup(client: Userpilot, stream: Stream, *, warehouse: Warehouse, spool_dir: Path) -> list[Receipt]:
    """Land one lookup and what hangs on it.

    Returns:
        A receipt for every table; none at all if the account does not have this lookup.

    Raises:
        ConnectorError: as the rooms below raise it; the tables are as they were.
    """
    warehouse.must_not_be_named(stream.schema)
    cost = Cost()
    try:
        found = client.lookup(stream, meter=cost.meter)
        if found is None:
            return []
        pages = [(stream, page(stream, ({**item, "id": item_id(item)} for item in found.items), found.warnings))]
        if stream.name in CHILDREN:
            field, child = CHILDREN[stream.name]
            table = child.of(stream.instance) if stream.instance else child
            pages.append((table, page(table, members(found.items, field))))
        receipts = []
        for table, sent in pages:
            protector = client.privacy.protector(table) if client.privacy else None
            whole = protector.page(sent) if protector else sent
            with spooling(spool_dir, table, datetime.now(UTC).date()) as folder:
                spool = spool_pages(folder, table, datetime.now(UTC).date(), [whole])
                receipts.append(land_snapshot(warehouse, table, spool, reading=cost.so_far()))
        return receipts
    except ConnectorError as error:
        with suppress(ConnectorError):
            record_failure(warehouse, stream, datetime.now(UTC).date(), error, cost.so_far())
        raise


def members(items: Iterable[Mapping[str, Any]], field: str) -> Iterable[dict[str, Any]]:
    """The lists inside items, one member a row; null, missing and empty all mean none."""
    for item in items:
        inside = item.get(field)
        for ordinal, member in enumerate(inside if isinstance(inside, list) else [], start=1):
            row = member if isinstance(member, dict) else {"value": member}
            given = row.get("id")
            yield {
                **row,
                "parent_id": item_id(item),
                "ordinal": ordinal,
                "id": str(ordinal) if given in (None, "") else str(given),
            }


def page(stream: Stream, items: Iterable[Mapping[str, Any]], warnings: tuple[str, ...] = ()) -> Page:
    """Items as rows of their table; what has no column, or does not fit it, is kept in ``_extra``."""
    columns = {column.field: column for column in stream.columns}
    rows: list[dict[str, Any]] = []
    strangers: set[str] = set()
    for item in items:
        row: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, value in item.items():
            fits = name in columns and _fits(columns[name], value)
            (row if fits else extra)[name] = value
        if extra:
            strangers |= extra.keys() - columns.keys()
            row["_extra"] = extra
        rows.append(row)
    return Page(
        number=1,
        of=1,
        rows=len(rows),
        announced=len(rows),
        body=msgspec.json.encode(rows),
        strangers=frozenset(excerpt(str(name), 80) for name in strangers),
        misfits=sum("_extra" in row for row in rows),
        warnings=warnings,
    )


def _fits(column: Column, value: Any) -> bool:
    if value is None or column.type not in _FITS:
        return True
    return isinstance(value, _FITS[column.type]) and (column.type == "BOOLEAN" or not isinstance(value, bool))
