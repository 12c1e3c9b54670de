"""What a landing writes about itself in ``connector.landings``, and what it asks about the landing before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import uuid4

import duckdb

from connector.catalogue.own import HASH_KEYS, LANDINGS
from connector.errors import ConnectorError, SettingsError
from connector.meter import Meter
from connector.stream import Stream
from connector.warehouse.connection import Warehouse, retry_conflicts
from connector.warehouse.own_tables import create, create_receipts, insert
from connector.warehouse.sql import literal, quoted, quoted_table


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


def record_failure(
    warehouse: Warehouse, stream: Stream, days: Sequence[date], error: ConnectorError, meter: Meter
) -> None:
    """Write a receipt of status ``failed`` for each day, so that the table of landings tells the bad nights as well."""
    load_id, now = uuid4().hex, datetime.now(UTC)
    failed = {
        "table_name": stream.table,
        "load_id": load_id,
        **costs(meter),
        "incremental": False,
        "status": "failed",
        "error": str(error),
        "landed_at": now,
        "forgotten": 0,
    }

    def record() -> None:
        with warehouse.transaction(where=stream.partitions(days[0], days[-1])) as connection:
            create_receipts(connection)
            insert(connection, LANDINGS, [{**failed, "day": day} for day in days])

    retry_conflicts(record)


def costs(meter: Meter) -> dict[str, object]:
    """What a reading has cost so far, as columns of ``connector.landings``."""
    return {
        "requests": meter.requests,
        "refused": meter.refused,
        "bytes": meter.bytes,
        "seconds": meter.seconds,
    }


def one_hash_key(connection: duckdb.DuckDBPyConnection, schema: str, fingerprint: str) -> None:
    """Remember which key a schema's hashes are made with, and refuse another one.

    Raises:
        SettingsError: the schema holds hashes of another key, so the same person would appear under two hashes.
    """
    create(connection, HASH_KEYS)
    of_schema = f"from connector.hash_keys where schema_name = {literal(schema)}"
    known = connection.execute(f"select fingerprint, since::date {of_schema}").fetchone()
    if known is None:
        row = {"schema_name": schema, "fingerprint": fingerprint, "since": datetime.now(UTC)}
        insert(connection, HASH_KEYS, [row])
    elif known[0] != fingerprint:
        raise SettingsError(
            "CONNECTOR_HASH_KEY",
            f"is not the key that {schema} has been hashed with since {known[1]}: joins with older days would fail",
            next_step=f"set the old key again; or, to begin anew with this one, run `delete {of_schema}` in the "
            "warehouse and land all days again.",
        )
