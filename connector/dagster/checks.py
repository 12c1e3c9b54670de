"""What is true of a landed day, as asset checks with a sentence that says what to do.

They run in the step that landed the days and look at the table itself, not at what the landing believes. Nothing is
repaired here.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from connector.receipts import day_facts, newest_day
from connector.stream import Receipt, Stream
from connector.warehouse import Warehouse

KEY, COUNT, SURPRISES, WHOLE = "key_is_unique", "vendor_count_matches", "nothing_unexpected", "nothing_cut"
RECENT = "newest_day_is_recent"
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
    if stream.walk == "pages":
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
    if stream.walk == "listings":
        specs.append(dg.AssetCheckSpec(WHOLE, asset=key, description="No list was cut by the vendor."))
    return specs


def check_results(
    stream: Stream, key: dg.AssetKey, receipts: Sequence[Receipt], warehouse: Warehouse
) -> Iterator[dg.AssetCheckResult]:
    """Results over all days of a run; the metadata names the days that fail."""
    facts = day_facts(warehouse, stream, [receipt.day for receipt in receipts])
    bad = [str(day) for day, fact in facts.items() if fact.rows != fact.keys or fact.keyless]
    yield _result(KEY, key, bad, "land these days again; if it repeats, the vendor reuses keys", blocking=True)
    names = sorted({name for receipt in receipts for name in receipt.strangers})
    odd = [str(day) for day, fact in facts.items() if fact.extras]
    yield _result(
        SURPRISES,
        key,
        odd,
        "read _extra of these days; a field that stays deserves a column in the catalogue",
        fields=", ".join(names),
    )
    if stream.walk == "pages":
        newest = newest_day(warehouse, stream)
        old = newest is None or newest < datetime.now(UTC).date() - timedelta(days=RECENT_DAYS)
        yield _result(
            RECENT,
            key,
            [f"newest row: {newest or 'none'}"] if old else [],
            "land the missing days, and see whether the nightly schedule is switched on",
        )
        moved = [
            f"{receipt.day}: {receipt.announced} announced, {facts[receipt.day].rows} rows, {receipt.duplicates} twins"
            for receipt in receipts
            if facts[receipt.day].rows + receipt.duplicates + receipt.forgotten != receipt.announced
        ]
        yield _result(COUNT, key, moved, "land these days again before you build on them", blocking=True)
    if stream.walk == "listings":
        cut = [f"{receipt.day}: {warning}" for receipt in receipts for warning in receipt.warnings]
        yield _result(WHOLE, key, cut, "narrow the list with filters, or take the numbers from openpanel.events")


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
