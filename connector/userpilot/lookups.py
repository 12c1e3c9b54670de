"""Lands lookups: items become rows of the catalogue's columns, with history; lists inside items get their own tables.

A lookup has few items, so they are handled one by one. Pagination is in ``client.py``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from connector.catalogue.userpilot import CHILDREN
from connector.errors import ConnectorError, RejectedError
from connector.landing.receipts import record_failure
from connector.landing.snapshot import land_snapshot
from connector.meter import Meter
from connector.records.fit import sorted_out
from connector.redaction import excerpt
from connector.spool import spool_pages, spooling
from connector.stream import Page, Receipt, Stream
from connector.userpilot.client import Userpilot
from connector.warehouse.connection import Warehouse


def sync_lookup(client: Userpilot, stream: Stream, *, warehouse: Warehouse, spool_dir: Path) -> list[Receipt]:
    """Land one lookup and the lists inside its items.

    Returns:
        A receipt for every table; none if the account does not have this lookup.

    Raises:
        ConnectorError: from the client, the spool or the landing; the tables are unchanged.
    """
    warehouse.must_not_be_named(stream.schema)
    meter, today = Meter(), datetime.now(UTC).date()
    try:
        found = client.lookup(stream, meter=meter)
        if found is None:
            return []
        pages = [(stream, page(stream, found.items, found.warnings))]
        if stream.name in CHILDREN:
            field, child = CHILDREN[stream.name]
            table = child.of(stream.instance) if stream.instance else child
            pages.append((table, page(table, members(found.items, field))))
        receipts = []
        for table, sent in pages:
            protector = client.privacy.protector(table) if client.privacy else None
            whole = protector.page(sent) if protector else sent
            with spooling(spool_dir, table, today) as folder:
                spool = spool_pages(folder, table, today, [whole])
                receipts.append(land_snapshot(warehouse, table, spool, meter=meter))
        return receipts
    except ConnectorError as error:
        with suppress(ConnectorError):
            record_failure(warehouse, stream, [today], error, meter)
        raise


def sync_lookups(
    client: Userpilot, streams: Iterable[Stream], *, warehouse: Warehouse, spool_dir: Path
) -> Iterator[Receipt | ConnectorError]:
    """Land lookups one after the other: receipts of their tables, and errors.

    One that fails keeps no other back, unless the credentials or a setting are refused.
    """
    for stream in streams:
        try:
            yield from sync_lookup(client, stream, warehouse=warehouse, spool_dir=spool_dir)
        except ConnectorError as error:
            yield error
            if isinstance(error, RejectedError) and error.concerns_all:
                return


def members(items: Iterable[Mapping[str, Any]], field: str) -> Iterable[dict[str, Any]]:
    """One row for each member of the lists inside items; null, missing and empty lists have none."""
    for item in items:
        inside = item.get(field)
        rows = [
            member if isinstance(member, dict) else {"value": member}
            for member in (inside if isinstance(inside, list) else [])
        ]
        for ordinal, (row, name) in enumerate(zip(rows, _unique_ids(rows), strict=True), start=1):
            yield {**row, "parent_id": item["id"], "ordinal": ordinal, "id": name}


def _unique_ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """An id for each member of one list: its own, else its ordinal. A repeated one gets the suffix ``#ordinal``.

    Members with an id of their own come first, so that an ordinal never takes the id of another member.
    """
    sent = ["" if row.get("id") in (None, "") else str(row["id"]) for row in rows]
    names: dict[str, int] = {}
    for place in sorted(range(len(rows)), key=lambda place: not sent[place]):
        name = sent[place] or str(place + 1)
        if name in names:
            name = f"{sent[place]}#{place + 1}"
        while name in names:
            name += "#"
        names[name] = place
    return sorted(names, key=names.__getitem__)


def page(stream: Stream, items: Iterable[Mapping[str, Any]], warnings: tuple[str, ...] = ()) -> Page:
    """Items as rows of their table; fields without a column, and values that do not fit, are kept in ``_extra``."""
    columns = {column.field: column for column in stream.columns}
    rows: list[dict[str, msgspec.Raw]] = []
    strangers: set[str] = set()
    for item in items:
        sent = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in item.items()}
        row, extra = sorted_out(sent, columns)
        if extra:
            strangers |= extra.keys() - columns.keys()
            row["_extra"] = msgspec.Raw(msgspec.json.encode(extra))
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
