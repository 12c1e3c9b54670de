"""What is true of a landed day, as asset checks with a sentence that says what to do.

They look at the table itself, not at what the landing believes: in the step that landed the days, and when a person
executes them alone, over the days that were landed last. Nothing is repaired here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from connector.nights import listed
from connector.openpanel.reports.config import questions_of
from connector.stream import Receipt, Stream
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import (
    TWO_NIGHTS,
    DayFacts,
    current_facts,
    day_facts,
    first_landing,
    names_landed,
    newest_day,
    newest_receipts,
)

KEY, COUNT, SURPRISES, WHOLE = "key_is_unique", "vendor_count_matches", "nothing_unexpected", "nothing_cut"
RECENT, ASKED = "newest_day_is_recent", "every_question_was_asked"
STANDS, TOLD_APART = "landed_rows_are_there", "keys_are_told_apart"
# Yesterday is landed during the night; the day before it is the newest until then.
RECENT_DAYS = 2
BLOCKING = {KEY, COUNT, STANDS}
# Executed alone, checks look at so many days of a table.
NEWEST = 30


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
    if questions_of(stream):
        specs.append(
            dg.AssetCheckSpec(
                ASKED, asset=key, description=f"Every one of the configured {stream.name} was asked and has rows."
            )
        )
    return specs


def check_results(
    stream: Stream, key: dg.AssetKey, receipts: Sequence[Receipt], warehouse: Warehouse
) -> Iterator[dg.AssetCheckResult]:
    """Results over all days of some receipts; the metadata names the days that fail, and has numbers that plot."""
    facts = day_facts(warehouse, stream, [receipt.day for receipt in receipts])
    yield _unique(key, facts)
    yield _surprises(key, facts, {name for receipt in receipts for name in receipt.strangers})
    if stream.counted:
        yield _recent(stream, key, warehouse)
        apart = {
            receipt.day: receipt.announced - facts[receipt.day].rows - receipt.duplicates - receipt.forgotten
            for receipt in receipts
        }
        moved = [
            f"{receipt.day}: {receipt.announced} announced, {facts[receipt.day].rows} rows, {receipt.duplicates} twins"
            for receipt in receipts
            if apart[receipt.day]
        ]
        yield _result(
            COUNT,
            key,
            moved,
            f"{_of_days(facts)}: rows and dropped twins are what the vendor announced.",
            "land these days again before you build on them",
            {"rows": _rows(facts), "vendor minus landed": sum(apart.values()), "partition": listed(facts)},
        )
    if stream.may_be_cut:
        cut = [f"{receipt.day}: {warning}" for receipt in receipts for warning in receipt.warnings]
        yield _result(
            WHOLE,
            key,
            cut,
            f"{_of_days(facts)}: no list was cut by the vendor.",
            "narrow the list with filters, or take the numbers from openpanel.events",
            {"lists cut": len(cut), "partition": listed(facts)},
        )
    if questions_of(stream):
        yield _asked(stream, key, warehouse)


def _asked(stream: Stream, key: dg.AssetKey, warehouse: Warehouse) -> dg.AssetCheckResult:
    configured = questions_of(stream)
    never = sorted(set(configured) - names_landed(warehouse, stream, stream.name.removesuffix("s")))
    return _result(
        ASKED,
        key,
        never,
        f"All {len(configured)} configured {stream.name} have rows.",
        "land days again: what was configured since the last landing is not in them, and an event that never happened "
        "has no rows",
        {"configured": len(configured), "never asked": len(never)},
    )


def lookup_check_specs(stream: Stream, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The one check of a list."""
    return [
        dg.AssetCheckSpec(
            KEY, asset=key, description=f"Every current row has its {stream.primary_key[0]}, and no two share one."
        )
    ]


def lookup_check_results(stream: Stream, key: dg.AssetKey, warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
    """Its result over all current rows."""
    facts = current_facts(warehouse, stream)
    yield _result(
        KEY,
        key,
        [f"{facts.rows} current rows, {facts.keys} keys"] if facts.rows != facts.keys or facts.keyless else [],
        f"{facts.rows:,} current rows, each with a key of its own.",
        "land the list again; if it repeats, the vendor reuses ids",
        {"rows": facts.rows},
    )


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
    yield _result(
        STANDS,
        key,
        gone,
        f"{_of_days(facts)}: the rows that were landed are there.",
        "land these days again before you build on them",
        {"rows": _rows(facts), "landed minus there": sum(landed.values()) - _rows(facts), "partition": listed(facts)},
    )
    shared = [f"{day}: {fact.rows - fact.keys}" for day, fact in facts.items() if fact.rows != fact.keys]
    yield _result(
        TOLD_APART,
        key,
        shared,
        f"{_of_days(facts)}, each with a key of its own.",
        "rows of one key that differ are kept, both are real; count rows, not keys, on these days",
        {"rows that share a key": sum(fact.rows - fact.keys for fact in facts.values()), "partition": listed(facts)},
    )
    yield _surprises(key, facts, strangers)
    yield _recent(stream, key, warehouse)


def executed_alone(
    stream: Stream, key: dg.AssetKey, warehouse: Warehouse, *, from_files: bool = False
) -> Iterator[dg.AssetCheckResult]:
    """Results over the days that were landed last, from their receipts."""
    receipts = newest_receipts(warehouse, stream, most=NEWEST)
    if from_files:
        return file_check_results(stream, key, {one.day: one.landed for one in receipts}, (), warehouse)
    return check_results(stream, key, receipts, warehouse)


def selected(
    context: dg.AssetExecutionContext, results: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """The results of the checks that a run is to evaluate."""
    wanted = {key.name for key in context.selected_asset_check_keys}
    return (result for result in results if result.check_name in wanted)


def _unique(key: dg.AssetKey, facts: Mapping[date, DayFacts]) -> dg.AssetCheckResult:
    return _result(
        KEY,
        key,
        [str(day) for day, fact in facts.items() if fact.rows != fact.keys or fact.keyless],
        f"{_of_days(facts)}, each with a key of its own.",
        "land these days again; if it repeats, the vendor reuses keys",
        {
            "rows": _rows(facts),
            "rows without a key of their own": _rows(facts) - _keys(facts),
            "partition": listed(facts),
        },
    )


def _surprises(key: dg.AssetKey, facts: Mapping[date, DayFacts], strangers: Iterable[str]) -> dg.AssetCheckResult:
    extras = sum(fact.extras for fact in facts.values())
    return _result(
        SURPRISES,
        key,
        [str(day) for day, fact in facts.items() if fact.extras],
        f"{_of_days(facts)}, and every field has its column.",
        "read _extra of these days; a field that stays deserves a column in the catalogue",
        {
            "rows with extras": extras,
            "share with extras": extras / max(_rows(facts), 1),
            "fields": ", ".join(sorted(set(strangers))),
            "partition": listed(facts),
        },
    )


def _recent(stream: Stream, key: dg.AssetKey, warehouse: Warehouse) -> dg.AssetCheckResult:
    """Until two nights had their chance, how old the first days are is the choice of who landed them."""
    newest, today = newest_day(warehouse, stream), datetime.now(UTC).date()
    begun = first_landing(warehouse, stream)
    is_new = begun is None or datetime.now(UTC) - begun < TWO_NIGHTS
    is_old = newest is None or newest < today - timedelta(days=RECENT_DAYS)
    return _result(
        RECENT,
        key,
        [f"newest row: {newest or 'none'}"] if is_old and not is_new else [],
        f"The newest landed row is of {newest}."
        if newest and not is_old
        else "This table was landed for the first time less than two nights ago.",
        "land the missing days, and see whether the nightly schedule is switched on",
        {"days old": (today - newest).days} if newest else {},
    )


def _of_days(facts: Mapping[date, DayFacts]) -> str:
    return f"{_rows(facts):,} rows on {len(facts)} {'day' if len(facts) == 1 else 'days'}"


def _rows(facts: Mapping[date, DayFacts]) -> int:
    return sum(fact.rows for fact in facts.values())


def _keys(facts: Mapping[date, DayFacts]) -> int:
    return sum(fact.keys - fact.keyless for fact in facts.values())


def _result(
    name: str, key: dg.AssetKey, failing: Sequence[str], well: str, what_to_do: str, about: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """One result: a sentence, numbers that plot, and the partitions it is about.

    Args:
        failing: what fails, one text each.
        well: the sentence if nothing does.
        about: numbers and texts; empty texts are left out.
    """
    shown: dict[str, Any] = dict(about)
    if failing:
        shown |= {"what to do": what_to_do, "days": "; ".join(failing[:20])}
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=not failing,
        severity=dg.AssetCheckSeverity.ERROR if name in BLOCKING else dg.AssetCheckSeverity.WARN,
        description=f"{len(failing)} to look at: {what_to_do}." if failing else well,
        metadata={name: value for name, value in shown.items() if value != ""},
    )
