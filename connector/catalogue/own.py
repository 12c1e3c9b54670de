"""The tables in schema `connector`, in which the connector records its own work, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from connector.stream import Column, ColumnType


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table and its documentation.

    Attributes:
        vendor: the vendor of its rows; empty for the connector's own tables.
        schema, name: as in the warehouse.
        grain: one sentence, such as "one row per event".
        key: columns that identify a row.
        columns: all of them, in order, bookkeeping included.
        partition: the column whose day is in ``_day``; empty if the table has no days.
        late_days: how many closed days are landed again every night because rows arrive late.
        asset: the asset that lands it; for a child table its parent's. Empty if no asset does.
        is_optional: some accounts do not have it.
        on_request: landed only where the user asks for it.
        is_view: computed when read.
        required: columns that are never NULL; of the connector's own tables.
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
    on_request: bool = False
    is_view: bool = False
    required: tuple[str, ...] = ()
    renamed: Mapping[str, str] | None = field(default=None, hash=False)


def describe(name: str, kind: ColumnType, text: str, *, personal: bool = False) -> Column:
    return Column(field=name, type=kind, description=text, personal=personal)


def _own(
    name: str, grain: str, key: tuple[str, ...], *columns: Column, required: str = "", is_view: bool = False
) -> Table:
    return Table(
        vendor="",
        schema="connector",
        name=name,
        grain=grain,
        key=key,
        columns=columns,
        is_view=is_view,
        required=tuple(required.split()),
    )


_TABLE = describe("table_name", "VARCHAR", "The landed table, such as openpanel.events.")
_DAY = describe("day", "DATE", "The partition; of a table without days, the day of the landing.")
_LOAD = describe("load_id", "VARCHAR", "The landing; joins _load_id of the rows it wrote.")
_OUTBOX = describe("outbox", "VARCHAR", "Which stream of rows was sent back, by the name it was given.")
_KEY = describe("key", "VARCHAR", "Identifies the row that was sent; often a person.", personal=True)
_HASH = describe("content_hash", "VARCHAR", "Of what was sent; an unchanged row is not sent again.")
_NOTED = describe("noted_at", "TIMESTAMPTZ", "When this was written down.")

LANDINGS = _own(
    "landings",
    "one row per landing of a day, also of those that failed",
    ("load_id", "day"),
    _TABLE,
    _DAY,
    _LOAD,
    describe("announced", "BIGINT", "The vendor's count of rows for the day."),
    describe("received", "BIGINT", "Rows it sent, repeats included."),
    describe("landed", "BIGINT", "Rows of the day afterwards."),
    describe("duplicates", "BIGINT", "Repeated rows that were dropped."),
    describe("replaced", "BIGINT", "Rows of the day that were in the table before."),
    describe("misfits", "BIGINT", "Rows with something in _extra."),
    describe("requests", "BIGINT", "HTTP requests made."),
    describe("refused", "BIGINT", "Requests that met the rate limit."),
    describe("bytes", "BIGINT", "Bytes received."),
    describe("seconds", "DOUBLE", "From the first request to the commit."),
    describe("incremental", "BOOLEAN", "Whether only newer rows were read and added."),
    describe("warnings", "VARCHAR", "What a reader of the day should know, such as a list that the vendor cut."),
    describe("status", "VARCHAR", "landed or failed."),
    describe("error", "VARCHAR", "Why it failed, and what to do."),
    describe("landed_at", "TIMESTAMPTZ", "When it ended; equals _landed_at of its rows."),
    describe("forgotten", "BIGINT", "Rows of people who are to be forgotten; received, and not landed."),
    describe("rules", "VARCHAR", "A fingerprint of the rules for personal data that were applied; empty for none."),
    required="table_name day load_id status landed_at",
)
FORGOTTEN = _own(
    "forgotten",
    "one row per value that a landing leaves out, because a person is to be forgotten",
    ("table_name", "column_name", "digest"),
    _TABLE,
    describe("column_name", "VARCHAR", "The column in which the value stood."),
    describe("digest", "VARCHAR", "SHA-256 of salt and value, in hexadecimal digits.", personal=True),
    describe("salt", "VARCHAR", "Random text, the same in all rows."),
    describe("forgotten_at", "TIMESTAMPTZ", "When the person was removed."),
    required="table_name column_name digest salt forgotten_at",
)
PROBES = _own(
    "probes",
    "one row per day whose count was requested after it was landed; the newest answer",
    ("table_name", "day"),
    _TABLE,
    _DAY,
    describe("vendor_count", "BIGINT", "The vendor's count of rows for the day."),
    describe("asked_at", "TIMESTAMPTZ", "When the count was requested."),
    required="table_name day vendor_count asked_at",
)
COVERAGE = _own(
    "coverage",
    "one row per table and day, from the first to the last that was landed or counted",
    ("table_name", "day"),
    _TABLE,
    _DAY,
    describe("landed", "BIGINT", "Rows of the day."),
    describe("duplicates", "BIGINT", "Repeated rows that were dropped."),
    describe("vendor_count", "BIGINT", "The vendor's newest count of rows for the day."),
    describe("asked_at", "TIMESTAMPTZ", "When that count was requested."),
    describe("landed_at", "TIMESTAMPTZ", "The newest landing of the day."),
    describe("state", "VARCHAR", "whole, moved (the vendor's count has changed since) or never landed."),
    is_view=True,
)
EXPORT_JOBS = _own(
    "export_jobs",
    "one row per landing of an export",
    ("load_id",),
    _TABLE,
    describe("job_id", "VARCHAR", "The vendor's id of the export."),
    _LOAD,
    describe("first_day", "DATE", "The first day that was replaced."),
    describe("last_day", "DATE", "The last day that was replaced."),
    describe("fingerprint", "VARCHAR", "Equal for exports with the same filters; others do not replace its days."),
    describe("options", "JSON", "The options of the export."),
    describe("requested_at", "TIMESTAMPTZ", "When the export was requested."),
    describe("files", "BIGINT", "Files fetched."),
    describe("bytes", "BIGINT", "Bytes received."),
    describe("rows_received", "BIGINT", "Rows in the files."),
    describe("rows_landed", "BIGINT", "Rows in the table afterwards."),
    describe("duplicates", "BIGINT", "Records equal in every field that were dropped."),
    describe("rows_outside", "BIGINT", "Rows of days that were not asked for; not landed."),
    describe("rows_undated", "BIGINT", "Rows without a usable time, left out because that was allowed."),
    describe("landed_at", "TIMESTAMPTZ", "When it ended."),
    required="table_name job_id load_id first_day last_day fingerprint landed_at",
)
SENT = _own(
    "sent",
    "one row per row that was sent back to a vendor",
    ("outbox", "key"),
    _OUTBOX,
    _KEY,
    _HASH,
    describe("status", "VARCHAR", "sent, or unknown where no clear answer came."),
    _NOTED,
    required="outbox key content_hash status noted_at",
)
REJECTED = _own(
    "rejected",
    "one row per row that a vendor did not take, or gave no clear answer to",
    ("outbox", "key"),
    _OUTBOX,
    _KEY,
    _HASH,
    describe("status", "VARCHAR", "rejected, failed or unknown."),
    describe("said", "VARCHAR", "The vendor's words.", personal=True),
    _NOTED,
    required="outbox key content_hash status noted_at",
)
HASH_KEYS = _own(
    "hash_keys",
    "one row per schema whose values were hashed: with which key",
    ("schema_name",),
    describe("schema_name", "VARCHAR", "The schema, such as openpanel."),
    describe("fingerprint", "VARCHAR", "Identifies the key without revealing it."),
    describe("since", "TIMESTAMPTZ", "When the first value was hashed with it."),
    required="schema_name fingerprint since",
)

_EVENT = describe("event_name", "VARCHAR", "The event's name, as sent.")
_PROPERTY = describe("property", "VARCHAR", "Path of the property, with dots; * stands for the place in a list.")
_LOOKED_AT = describe("looked_at", "TIMESTAMPTZ", "When the day was looked at.")
EVENT_DAYS = _own(
    "event_days",
    "one row per day and event whose properties were looked at",
    ("table_name", "day", "event_name"),
    _TABLE,
    _DAY,
    _EVENT,
    describe("rows", "BIGINT", "Rows of the event."),
    _LOOKED_AT,
    required="table_name day event_name rows looked_at",
)
PROPERTY_DAYS = _own(
    "property_days",
    "one row per day, event, property and kind of value",
    ("table_name", "day", "event_name", "property", "kind"),
    _TABLE,
    _DAY,
    _EVENT,
    _PROPERTY,
    describe("kind", "VARCHAR", "What the values can be read as: boolean, integer, decimal ... or text."),
    describe("rows", "BIGINT", "Rows with such a value; of a list, those of the item that most rows have."),
    describe("examples", "VARCHAR[]", "Frequent values of the property that at least five people sent on this day."),
    required="table_name day event_name property kind rows",
)
PROPERTIES = _own(
    "properties",
    "one row per table, event and property",
    ("table_name", "event_name", "property"),
    _TABLE,
    _EVENT,
    _PROPERTY,
    describe("event_rows", "BIGINT", "Rows of the event."),
    describe("rows", "BIGINT", "Rows in which the property has a value."),
    describe("filled_percent", "DOUBLE", "The share of the event's rows that have a value."),
    describe("fits", "VARCHAR", "The type that all values fit: boolean, integer, decimal, double, date ... or text."),
    describe("kinds", "VARCHAR[]", "What the values can be read as, most frequent first."),
    describe("examples", "VARCHAR[]", "Values that at least five people sent on one day."),
    describe("first_day", "DATE", "The first day with a value."),
    describe("last_day", "DATE", "The last day with a value."),
    is_view=True,
)

OWN = (
    LANDINGS,
    FORGOTTEN,
    PROBES,
    COVERAGE,
    EXPORT_JOBS,
    SENT,
    REJECTED,
    HASH_KEYS,
    EVENT_DAYS,
    PROPERTY_DAYS,
    PROPERTIES,
)
