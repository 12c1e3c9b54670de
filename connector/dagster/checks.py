"""What is true of a landed day, as asset checks with a sentence that says what to do.

They run in the step that landed the days and look at the table itself, not at what the landing believes. Nothing is
repaired here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from connector.stream import Receipt, Stream
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import DayFacts, day_facts, newest_day

KEY, COUNT, SURPRISES, WHOLE = "key_is_unique", "vendor_count_matches", "nothing_unexpected", "nothing_cut"
RECENT = "newest_day_is_recent"
STANDS, TOLD_APART = "landed_rows_are_there", "keys_are_told_apart"
# Yesterday is landed during the night; the day before it is the newest until then.
RECENT_DAYS = 2


def check_specs(stream: Stream, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of one stream. Those that would make a model wrong are blocking."""
    specs = [
        dg.AssetCheckSpec(
            KEY,
            asset=key,
            blocking=True,
            description=f"Every row has its key ({', '.join(stream.primary_key)}), and no two rows share one.",
        ),
        dg.AssetCheckSpec(
            SURPRISES, asset=key, description="No row holds a field or a value that the catalogue has no column for."
        ),
    ]
    if stream.counted:
        specs.append(
            dg.AssetCheckSpec(
                RECENT,
                asset=key,
                description=f"The newest landed row is at most {RECENT_DAYS} days old, whatever ran last.",
            )
        )
        specs.append(
            dg.AssetCheckSpec(
                COUNT, asset=key, blocking=True, description="Rows and dropped twins are what the vendor announced."
            )
        )
    if stream.may_be_cut:
        specs.append(dg.AssetCheckSpec(WHOLE, asset=key, description="No list was cut by the vendor."))
    return specs


def check_results(
    stream: Stream, key: dg.AssetKey, receipts: Sequence[Receipt], warehouse: Warehouse
) -> Iterator[dg.AssetCheckResult]:
    """Results over all days of a run; the metadata names the days that fail."""
    facts = day_facts(warehouse, stream, [receipt.day for receipt in receipts])
    bad = [str(day) for day, fact in facts.items() if fact.rows != fact.keys or fact.keyless]
    yield _result(KEY, key, bad, "land these days again; if it repeats, the vendor reuses keys", blocking=True)
    yield _surprises(key, facts, {name for receipt in receipts for name in receipt.strangers})
    if stream.counted:
        yield _recent(stream, key, warehouse)
        moved = [
            f"{receipt.day}: {receipt.announced} announced, {facts[receipt.day].rows} rows, {receipt.duplicates} twins"
            for receipt in receipts
            if facts[receipt.day].rows + receipt.duplicates + receipt.forgotten != receipt.announced
        ]
        yield _result(COUNT, key, moved, "land these days again before you build on them", blocking=True)
    if stream.may_be_cut:
        cut = [f"{receipt.day}: {warning}" for receipt in receipts for warning in receipt.warnings]
        yield _result(WHOLE, key, cut, "narrow the list with filters, or take the numbers from openpanel.events")


def file_check_specs(stream: Stream, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a stream that is landed from files whose vendor counts nothing."""
    return [
        dg.AssetCheckSpec(
            STANDS, asset=key, blocking=True, description="Every day holds the rows that its landing says it landed."
        ),
        dg.AssetCheckSpec(
            TOLD_APART,
            asset=key,
            description=f"No two rows share a key ({', '.join(stream.primary_key)}) and differ in the rest.",
        ),
        dg.AssetCheckSpec(
            SURPRISES, asset=key, description="No row holds a field or a value that the catalogue has no column for."
        ),
        dg.AssetCheckSpec(
            RECENT,
            asset=key,
            description=f"The newest landed row is at most {RECENT_DAYS} days old, whatever ran last.",
        ),
    ]


def file_check_results(
    stream: Stream, key: dg.AssetKey, landed: Mapping[date, int], strangers: Iterable[str], warehouse: Warehouse
) -> Iterator[dg.AssetCheckResult]:
    """Results over all days of a run.

    Args:
        landed: rows of each day, as its landing counted them.
        strangers: undeclared fields that were seen.
    """
    facts = day_facts(warehouse, stream, sorted(landed))
    gone = [f"{day}: {rows} landed, {facts[day].rows} there" for day, rows in landed.items() if facts[day].rows != rows]
    yield _result(STANDS, key, gone, "land these days again before you build on them", blocking=True)
    shared = [f"{day}: {fact.rows - fact.keys}" for day, fact in facts.items() if fact.rows != fact.keys]
    yield _result(
        TOLD_APART,
        key,
        shared,
        "rows of one key that differ are kept, both are real; count rows, not keys, on these days",
    )
    yield _surprises(key, facts, strangers)
    yield _recent(stream, key, warehouse)


def _surprises(key: dg.AssetKey, facts: Mapping[date, DayFacts], strangers: Iterable[str]) -> dg.AssetCheckResult:
    return _result(
        SURPRISES,
        key,
        [str(day) for day, fact in facts.items() if fact.extras],
        "read _extra of these days; a field that stays deserves a column in the catalogue",
        fields=", ".join(sorted(set(strangers))),
    )


def _recent(stream: Stream, key: dg.AssetKey, warehouse: Warehouse) -> dg.AssetCheckResult:
    newest = newest_day(warehouse, stream)
    old = newest is None or newest < datetime.now(UTC).date() - timedelta(days=RECENT_DAYS)
    return _result(
        RECENT,
        key,
        [f"newest row: {newest or 'none'}"] if old else [],
        "land the missing days, and see whether the nightly schedule is switched on",
    )


def _result(
    name: str, key: dg.AssetKey, failing: Sequence[str], what_to_do: str, *, blocking: bool = False, **more: Any
) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {"what to do": what_to_do, "days": "; ".join(failing[:20])} if failing else {}
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=not failing,
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        description=f"{len(failing)} to look at: {what_to_do}." if failing else None,
        metadata=metadata | {key: value for key, value in more.items() if value},
    )
