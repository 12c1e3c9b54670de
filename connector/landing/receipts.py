"""What is written down about landings, and what can be asked about them: receipts, the vendor's counts, coverage.

``connector.landings`` has a row for every landing, also for the ones that failed; ``connector.coverage`` compares
them with the vendor's counts. Raw tables are only read here.
"""

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import duckdb

from connector.errors import ConnectorError, SettingsError
from connector.stream import Stream
from connector.warehouse.connection import Warehouse
from connector.warehouse.own_tables import HASH_KEYS, insert_receipt, prepare_receipts
from connector.warehouse.sql import literal, quoted, quoted_table


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
