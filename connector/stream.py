"""The data types that every module shares: a stream, its columns, its window, a page, a receipt."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal

ColumnType = Literal["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "JSON", "VARCHAR[]"]

# Written by the landing, after the vendor's own columns.
BOOKKEEPING: Mapping[str, tuple[str, str]] = {
    "_day": ("DATE", "The partition: the day this row was landed under, in UTC; of reports, the organization's."),
    "_extra": ("JSON", "Whatever the vendor sent that has no column, or a value that does not fit its column."),
    "_load_id": ("VARCHAR", "The landing that wrote the row; joins connector.landings.load_id."),
    "_landed_at": ("TIMESTAMPTZ", "When that landing happened."),
}


def snake_case(name: str) -> str:
    """The vendor's field name as a column name: ``createdAt`` -> ``created_at``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def day_of(given: date | str) -> date:
    """The day of a date, of its ISO text, or of a datetime, in UTC if that has a timezone.

    Raises:
        ValueError, TypeError: it is not a day.
    """
    if isinstance(given, datetime):  # also pandas' Timestamp
        return (given.astimezone(UTC) if given.tzinfo else given).date()
    return given if isinstance(given, date) else date.fromisoformat(given)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One field of a record and the column it lands in.

    Attributes:
        field: the vendor's name, as in the answer.
        type: DuckDB type; a value that does not fit it is kept in ``_extra``.
        description: one sentence with units, shown in the warehouse, the dbt docs and the Dagster UI.
        absent: texts that the vendor sends for "no value"; landed as NULL.
        stub: members and values of a placeholder object that the vendor makes up for the answer; landed as NULL.
        personal: may hold personal data; left out of previews.
        identifies: whether its values are ids of persons or devices; ``forget`` looks for people there.
    """

    field: str
    type: ColumnType
    description: str
    absent: Sequence[str] = ()
    stub: Mapping[str, object] = dataclasses.field(default_factory=dict, hash=False)
    personal: bool = False
    identifies: Literal["", "person", "device"] = ""

    @property
    def name(self) -> str:
        return snake_case(self.field)


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a request names a day: the two parameter names, and whether the answer includes the end date."""

    start: str
    end: str
    end_inclusive: bool


@dataclass(frozen=True)
class Query:
    """What a request asks for besides the days. Each vendor's catalogue defines its own kinds."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One vendor endpoint that yields records of one grain.

    Attributes:
        vendor, name: together the asset key, the table and the dbt source.
        instance: a second project of the same vendor; ``shop`` lands in schema ``openpanel_shop``.
        path: below the base URL; ``{project}`` is replaced by the project's id.
        query: what a request asks for besides the days. Each vendor's catalogue defines its own kinds.
        days: the timezone of its partitions: ``utc``, ``local`` for the organization's, or ``none``: it has no
            partitions, and rows are appended, or with ``history`` brought up to date.
        grain: one sentence, such as "one row per event".
        primary_key: columns that identify a record within a day.
        replication_key: column whose UTC date decides the partition.
        lookback_days: how many closed days are landed again every night because rows arrive late.
        counted: the vendor tells how many rows a day has, so a landing can be proven and later changes found.
        incremental: the newer rows of a day that still grows can be read alone.
        hourly: rows have a time of day.
        may_be_cut: the vendor cuts long lists without saying so.
        history: rows that disappear from the vendor's list stay in the table, marked; see ``SEEN``.
        by_default: landed unless the user chooses otherwise; if not, only where it is asked for.
        days_at_once: how many days one run lands at the same time.
        same_values: column -> paths inside JSON that hold the same value; a rule about one covers all.
        source: the section of CONTRACT.md with the facts of this entry.
    """

    vendor: str
    name: str
    path: str
    days: Literal["utc", "local", "none"] = "utc"
    grain: str
    primary_key: tuple[str, ...]
    replication_key: str
    window: Window
    columns: tuple[Column, ...]
    query: Query = Query()
    lookback_days: int = 3
    counted: bool = False
    incremental: bool = False
    hourly: bool = False
    may_be_cut: bool = False
    history: bool = False
    by_default: bool = True
    days_at_once: int = 1
    same_values: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)
    source: str = ""
    docs_url: str = ""
    instance: str = ""

    @property
    def schema(self) -> str:
        return f"{self.vendor}_{self.instance}" if self.instance else self.vendor

    @property
    def table(self) -> str:
        """``openpanel.events``: the table and the name in every message."""
        return f"{self.schema}.{self.name}"

    def partition(self, day: date) -> str:
        """``openpanel.events[2026-03-04]``: the string an operator searches for."""
        return f"{self.table}[{day.isoformat()}]"

    def partitions(self, first: date, last: date) -> str:
        """``openpanel.events[2026-03-01..2026-03-04]``, or the partition where both are one day."""
        return self.partition(first) if first == last else f"{self.table}[{first}..{last}]"

    def of(self, instance: str) -> "Stream":
        """The same stream of another instance: another schema."""
        return replace(self, instance=instance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer of a paged read, proven well-formed and ready to be spooled.

    Attributes:
        number: position in the reading, from 1.
        of: pages the vendor announced for the whole day.
        rows: records in ``body``.
        announced: the vendor's total for the day as of this page; the last page of a reading counts.
        body: a JSON array with declared fields only, plus ``_extra`` where the vendor sent more.
        strangers: names of fields on this page that have no column.
        misfits: rows with something in ``_extra``.
        warnings: sentences for readers of the table, such as that the vendor cut a list.
        hashed_with: fingerprint of the key of the hashes; empty if nothing was hashed.
        rules: fingerprint of the rules for personal data that were applied; empty if there are none.
    """

    number: int
    of: int
    rows: int
    announced: int
    body: bytes | memoryview
    strangers: frozenset[str] = frozenset()
    misfits: int = 0
    warnings: tuple[str, ...] = ()
    hashed_with: str = ""
    rules: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one landing did; also a row of ``connector.landings``.

    Attributes:
        announced: the vendor's count of rows for the day. received: rows it sent, repeats included.
        landed: rows in the table for this day afterwards. duplicates: repeated rows that were dropped.
        replaced: rows of the day that were in the table before. misfits: rows with something in ``_extra``.
        requests, refused: HTTP requests sent, and how many of them the rate limit refused.
        bytes: bytes received. seconds: from the first request to the commit.
        lock_wait, lock_seconds: seconds waited for the warehouse's lock, and seconds it was held.
        forgotten: rows of forgotten people; received, and not landed.
        strangers: fields without a column. incremental: only newer rows were read.
        warnings: sentences about the day, such as a list that the vendor cut.
        sample: the first few landed rows as texts, without columns that name a person.
    """

    table: str
    day: date
    load_id: str
    announced: int
    received: int
    landed: int
    duplicates: int
    replaced: int
    misfits: int = 0
    requests: int = 0
    refused: int = 0
    bytes: int = 0
    seconds: float = 0.0
    lock_wait: float = 0.0
    lock_seconds: float = 0.0
    forgotten: int = 0
    strangers: frozenset[str] = frozenset()
    incremental: bool = False
    warnings: tuple[str, ...] = ()
    sample: tuple[Mapping[str, str | None], ...] = dataclasses.field(default=(), repr=False)


# Extra columns of tables that keep the history of a list.
SEEN = (
    Column(field="_first_seen", type="TIMESTAMPTZ", description="The first landing that found the row."),
    Column(field="_last_seen", type="TIMESTAMPTZ", description="The newest landing that found the row."),
    Column(field="_current", type="BOOLEAN", description="Whether the newest landing found it; false: gone since."),
)
