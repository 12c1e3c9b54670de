"""What a landing shows in Dagster: metadata of a day and of a run, the picture, the preview, progress."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from connector.dagster.picture import picture
from connector.dagster.resources import WarehouseResource
from connector.meter import Pace
from connector.redaction import excerpt
from connector.stream import Page, Receipt, Stream


def keep_receipts(context: dg.AssetExecutionContext, stream: Stream, receipts: Sequence[Receipt]) -> None:
    """Days of a failed run that did land are shown as landed: only the others need another run."""
    for receipt in receipts if stream.days != "none" else ():
        context.log_event(
            dg.AssetMaterialization(
                context.asset_key,
                partition=receipt.day.isoformat(),
                metadata={"dagster/partition_row_count": receipt.landed, "load id": receipt.load_id},
            )
        )


def pictures_of(stream: Stream, days: Sequence[date], target: WarehouseResource) -> dict[date, dict[str, Any]]:
    """A picture of each day as metadata, for streams whose rows have an hour."""
    from connector.warehouse.coverage import hours_of_days

    if not stream.hourly:
        return {}
    found = hours_of_days(target.warehouse(), stream, days)
    return {day: {"the day": dg.MetadataValue.md(picture(hours))} for day, hours in found.items()}


def progress_logger(context: dg.AssetExecutionContext, stream: Stream, day: date) -> Callable[[Page], None]:
    """Say every few seconds how far a long day is: page, rows, rows per second, time left."""
    pace = Pace(stream.partition(day))

    def tell(page: Page) -> None:
        if sentence := pace.sentence(page):
            context.log.info(sentence)

    return tell


def receipt_sentence(receipt: Receipt) -> str:
    how = "refreshed" if receipt.incremental else "landed whole"
    return (
        f"{receipt.table}[{receipt.day}] {how}: {receipt.landed:,} rows ({receipt.duplicates} duplicates dropped, "
        f"{receipt.replaced:,} replaced), {receipt.requests} requests, {receipt.bytes / 1e6:.1f} MB, "
        f"{receipt.seconds:.1f} s"
    )


def day_metadata(receipt: Receipt) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": receipt.landed,
        "announced by vendor": receipt.announced,
        "vendor count minus landed": receipt.announced - receipt.landed - receipt.duplicates - receipt.forgotten,
        "duplicates": receipt.duplicates,
        "rows replaced": receipt.replaced,
        "rows with extras": receipt.misfits,
        "requests": receipt.requests,
        "refusals": receipt.refused,
        "bytes": receipt.bytes,
        "seconds": round(receipt.seconds, 3),
        "lock wait seconds": round(receipt.lock_wait, 3),
        "lock held seconds": round(receipt.lock_seconds, 3),
        "load id": receipt.load_id,
        "preview": dg.MetadataValue.md(preview(receipt)),
    }
    if receipt.forgotten:
        metadata["rows of forgotten people"] = receipt.forgotten
    if receipt.warnings:
        metadata["warnings"] = "; ".join(receipt.warnings)
    if receipt.strangers:
        metadata["undeclared fields"] = ", ".join(sorted(receipt.strangers))
    return metadata


def report(
    context: dg.AssetExecutionContext, stream: Stream, receipts: Sequence[Receipt], target: WarehouseResource
) -> None:
    """Each day's numbers and picture at its partition; what the whole run did in the run's log alone."""
    if stream.days == "none":
        return
    pictures, table = pictures_of(stream, [receipt.day for receipt in receipts], target), table_metadata(stream, target)
    for receipt in receipts:
        numbers = pictures.get(receipt.day, {}) | day_metadata(receipt) | table
        context.add_asset_metadata(numbers, asset_key=context.asset_key, partition_key=receipt.day.isoformat())
    if len(receipts) > 1:
        context.log.info(
            f"{stream.table}: {len(receipts)} days landed in this run, {sum(one.landed for one in receipts):,} rows, "
            f"{sum(one.requests for one in receipts)} requests, {sum(one.bytes for one in receipts) / 1e6:.1f} MB"
        )


def table_metadata(stream: Stream, target: WarehouseResource) -> dict[str, Any]:
    """What is true of the whole table, whatever day was landed: its rows."""
    from connector.warehouse.coverage import row_count

    return {"dagster/row_count": row_count(target.warehouse(), stream)}


def sample_metadata(receipts: Sequence[Receipt]) -> dict[str, Any]:
    """What a sample shows: it belongs to no partition."""
    return {
        key: value for receipt in receipts for key, value in day_metadata(receipt).items() if "partition" not in key
    }


WIDTH = 40


def preview(receipt: Receipt) -> str:
    """The receipt's sample as a table; a sentence where the day has no rows."""
    return rows_as_table(receipt.sample)


def rows_as_table(sample: Sequence[Mapping[str, str | None]]) -> str:
    """Rows as a Markdown table; a sentence where there are none."""
    if not sample:
        return "no rows on this day"
    columns = list(sample[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in sample]
    return "\n".join(lines)


def _cell(value: str | None) -> str:
    return "" if value is None else excerpt(value, WIDTH).replace("|", "\\|").replace("<", "&lt;")
