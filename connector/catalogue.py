"""Every table of a warehouse in one list, for whoever generates from it: dbt sources, documentation, previews.

The vendors' catalogues say what is landed; the tables in schema ``connector`` are described here, and a test compares
them with those that are really made. Nothing is opened or asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from connector.openpanel.streams import RENAMED as OPENPANEL_RENAMED
from connector.openpanel.streams import STREAMS as OPENPANEL
from connector.stream import BOOKKEEPING, SEEN, Column, ColumnType, Stream
from connector.userpilot.streams import CHILDREN, OPTIONAL
from connector.userpilot.streams import RENAMED as USERPILOT_RENAMED
from connector.userpilot.streams import STREAMS as USERPILOT

_RENAMED = {"openpanel": OPENPANEL_RENAMED, "userpilot": USERPILOT_RENAMED}


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table and what a reader should know of it.

    Attributes:
        vendor: whose rows they are; empty for what the connector writes about itself.
        schema, name: as they stand in the warehouse.
        grain: "one row per event".
        key: columns that identify a row.
        columns: all of them, in order, bookkeeping included.
        partition: what the column ``_day`` is the day of; empty where the table has no days of its own.
        late_days: how many closed days are landed again every night because rows arrive late.
        asset: the asset that lands it; a child's is its parent's. Empty where no asset does.
        is_optional: some accounts do not have it.
        is_view: computed when read.
        renamed: landed column -> column of the dbt staging model, where the names differ. None: the staging model is
            written by hand, or there is none.
    """

    vendor: str
    schema: str
    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition: str = ""
    late_days: int = 0
    asset: tuple[str, ...] = ()
    docs_url: str = ""
    is_optional: bool = False
    is_view: bool = False
    renamed: Mapping[str, str] | None = field(default=None, hash=False)


def tables(instance: str = "") -> tuple[Table, ...]:
    """Every table: those of the vendors in the order of their catalogues, then the connector's own.

    Args:
        instance: name of a second project; ``shop`` gives schemas that end in ``_shop``.
    """
    found: list[Table] = []
    for entry in (*OPENPANEL, *USERPILOT):
        stream = entry.of(instance) if instance else entry
        found.append(_landed(stream, asset=stream))
        if stream.vendor == USERPILOT[0].vendor and stream.name in CHILDREN:
            _, child = CHILDREN[stream.name]
            found.append(_landed(child.of(instance) if instance else child, asset=stream))
    return (*found, *OWN)


def _landed(stream: Stream, *, asset: Stream) -> Table:
    has_history = stream.walk in ("lookup", "child")
    bookkeeping = tuple(_column(name, cast("ColumnType", kind), text) for name, (kind, text) in BOOKKEEPING.items())
    return Table(
        vendor=stream.vendor,
        schema=stream.schema,
        name=stream.name,
        grain=stream.grain,
        key=stream.primary_key,
        # In the order in which the landing writes them.
        columns=(*stream.columns, *(SEEN if has_history else ()), *bookkeeping),
        partition=stream.replication_key if stream.days != "none" else "",
        late_days=stream.lookback_days if stream.days != "none" else 0,
        asset=(asset.schema, asset.name),
        docs_url=stream.docs_url,
        is_optional=stream.name in OPTIONAL,
        renamed=_RENAMED[stream.vendor].get(stream.name, {}),
    )


def _column(name: str, kind: ColumnType, text: str, *, personal: bool = False) -> Column:
    return Column(field=name, type=kind, description=text, personal=personal)


def _own(name: str, grain: str, key: tuple[str, ...], *columns: Column, is_view: bool = False) -> Table:
    return Table(vendor="", schema="connector", name=name, grain=grain, key=key, columns=columns, is_view=is_view)


_TABLE = _column("table_name", "VARCHAR", "The landed table, such as openpanel.events.")
_DAY = _column("day", "DATE", "The partition; of a table without days, the day of the landing.")
_LOAD = _column("load_id", "VARCHAR", "The landing; joins _load_id of the rows it wrote.")
_OUTBOX = _column("outbox", "VARCHAR", "Which stream of rows was sent back, by the name it was given.")
_KEY = _column("key", "VARCHAR", "Identifies the row that was sent; often a person.", personal=True)
_HASH = _column("content_hash", "VARCHAR", "Of what was sent; an unchanged row is not sent again.")
_NOTED = _column("noted_at", "TIMESTAMPTZ", "When this was written down.")

OWN = (
    _own(
        "landings",
        "one row per landing of a day, also of those that failed",
        ("load_id", "day"),
        _TABLE,
        _DAY,
        _LOAD,
        _column("announced", "BIGINT", "Rows the vendor said the day has."),
        _column("received", "BIGINT", "Rows it sent, repeats included."),
        _column("landed", "BIGINT", "Rows of the day afterwards."),
        _column("duplicates", "BIGINT", "Stored twins that were dropped."),
        _column("replaced", "BIGINT", "Rows of the day that stood there before."),
        _column("misfits", "BIGINT", "Rows with something in _extra."),
        _column("requests", "BIGINT", "HTTP requests made."),
        _column("refused", "BIGINT", "Requests that met the rate limit."),
        _column("bytes", "BIGINT", "Bytes received."),
        _column("seconds", "DOUBLE", "From the first request to the commit."),
        _column("incremental", "BOOLEAN", "Whether only newer rows were read and added."),
        _column("warnings", "VARCHAR", "What a reader of the day should know, such as a list that the vendor cut."),
        _column("status", "VARCHAR", "landed or failed."),
        _column("error", "VARCHAR", "Why it failed, and what to do."),
        _column("landed_at", "TIMESTAMPTZ", "When it ended; equals _landed_at of its rows."),
        _column("forgotten", "BIGINT", "Rows of people who are to be forgotten; received, and not landed."),
        _column("rules", "VARCHAR", "A fingerprint of the rules for personal data that were applied; empty for none."),
    ),
    _own(
        "forgotten",
        "one row per value that a landing leaves out, because a person is to be forgotten",
        ("table_name", "column_name", "digest"),
        _TABLE,
        _column("column_name", "VARCHAR", "The column in which the value stood."),
        _column("digest", "VARCHAR", "SHA-256 of salt and value, in hexadecimal digits.", personal=True),
        _column("salt", "VARCHAR", "Random text, the same in all rows."),
        _column("forgotten_at", "TIMESTAMPTZ", "When the person was removed."),
    ),
    _own(
        "probes",
        "one row per day whose count was asked for after it was landed; the newest answer",
        ("table_name", "day"),
        _TABLE,
        _DAY,
        _column("vendor_count", "BIGINT", "Rows the vendor said the day has."),
        _column("asked_at", "TIMESTAMPTZ", "When it was asked."),
    ),
    _own(
        "coverage",
        "one row per table and day, from the first to the last that was landed or asked for",
        ("table_name", "day"),
        _TABLE,
        _DAY,
        _column("landed", "BIGINT", "Rows of the day."),
        _column("duplicates", "BIGINT", "Stored twins that were dropped."),
        _column("vendor_count", "BIGINT", "Rows the vendor said the day has, when it was last asked."),
        _column("asked_at", "TIMESTAMPTZ", "When that was."),
        _column("landed_at", "TIMESTAMPTZ", "The newest landing of the day."),
        _column("state", "VARCHAR", "whole, moved (the vendor's count is another one by now) or never landed."),
        is_view=True,
    ),
    _own(
        "export_jobs",
        "one row per landing of an export",
        ("load_id",),
        _TABLE,
        _column("job_id", "VARCHAR", "The vendor's id of the export."),
        _LOAD,
        _column("first_day", "DATE", "The first day that was replaced."),
        _column("last_day", "DATE", "The last day that was replaced."),
        _column("fingerprint", "VARCHAR", "Equal for exports with the same filters; others do not replace its days."),
        _column("options", "JSON", "What was asked for."),
        _column("requested_at", "TIMESTAMPTZ", "When."),
        _column("files", "BIGINT", "Files fetched."),
        _column("bytes", "BIGINT", "Bytes received."),
        _column("rows_received", "BIGINT", "Rows in the files."),
        _column("rows_landed", "BIGINT", "Rows in the table afterwards."),
        _column("duplicates", "BIGINT", "Records equal in every field that were dropped."),
        _column("rows_outside", "BIGINT", "Rows of days that were not asked for; not landed."),
        _column("landed_at", "TIMESTAMPTZ", "When it ended."),
    ),
    _own(
        "sent",
        "one row per row that was sent back to a vendor",
        ("outbox", "key"),
        _OUTBOX,
        _KEY,
        _HASH,
        _column("status", "VARCHAR", "sent, or unknown where no clear answer came."),
        _NOTED,
    ),
    _own(
        "rejected",
        "one row per row that a vendor did not take, or gave no clear answer to",
        ("outbox", "key"),
        _OUTBOX,
        _KEY,
        _HASH,
        _column("status", "VARCHAR", "rejected, failed or unknown."),
        _column("said", "VARCHAR", "The vendor's words.", personal=True),
        _NOTED,
    ),
)
