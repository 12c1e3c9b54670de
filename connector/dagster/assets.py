"""Catalogue -> assets: get, spool, land, report. One day or a range of days, in the same few lines.

If a body here grows past those four verbs, something belongs below the wall.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from connector.dagster.failures import failure
from connector.dagster.preview import preview
from connector.dagster.resources import OpenPanelResource, WarehouseResource
from connector.dagster.translator import ConnectorTranslator
from connector.errors import ConnectorError, TransientError
from connector.openpanel.streams import STREAMS
from connector.stream import Page, Receipt, Stream

# Three tries a partition, five a request: at most fifteen, and a minute or more between partition tries.
RETRIES = dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
# A week a run: small enough to be repeated without regret, large enough not to pay a process start for every day.
DAYS_A_RUN = 7
POOL = "openpanel_api"
ALLOW_DROP_TAG = "connector/allow_drop"
# Set by the intraday schedule: read only what is newer than the landed rows.
INCREMENTAL_TAG = "connector/incremental"
PROGRESS_EVERY = 5.0


def daily(start_date: date) -> dg.DailyPartitionsDefinition:
    """UTC days from ``start_date`` to today; today is included because it can be refreshed all day long."""
    return dg.DailyPartitionsDefinition(start_date=start_date.isoformat(), timezone="UTC", end_offset=1)


def openpanel_assets(
    *,
    start_date: date,
    streams: Sequence[Stream] = STREAMS,
    instance: str = "",
    translator: ConnectorTranslator | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    openpanel: OpenPanelResource | None = None,
    warehouse: WarehouseResource | None = None,
    pool: str = POOL,
    retry_policy: dg.RetryPolicy = RETRIES,
) -> list[dg.AssetsDefinition]:
    """One asset per stream, partitioned by UTC day.

    Args:
        start_date: the first partition.
        streams: entries of the catalogue.
        instance: name of a second project; ``shop`` gives keys ``openpanel_shop/events``.
        translator: overrides keys, groups, owners, tags.
        backfill_policy: how many days one run of a backfill takes; a week by default. With
            ``dg.BackfillPolicy.single_run()`` a year is one run, with ``multi_run(1)`` every day is one.
        openpanel, warehouse: given here, the assets need no resources in ``Definitions`` and two projects cannot
            clash; left out, they are taken from the resource keys ``openpanel`` and ``warehouse``.
        pool: the concurrency pool all assets of this client id share.
        retry_policy: for transient errors; anything else fails at once.
    """
    translator = translator or ConnectorTranslator()
    return [
        _landed_asset(
            stream.of(instance) if instance else stream,
            daily(start_date),
            translator,
            backfill_policy or dg.BackfillPolicy.multi_run(max_partitions_per_run=DAYS_A_RUN),
            openpanel,
            warehouse,
            pool,
            retry_policy,
        )
        for stream in streams
    ]


def _landed_asset(
    stream: Stream,
    days: dg.DailyPartitionsDefinition,
    translator: ConnectorTranslator,
    backfill_policy: dg.BackfillPolicy,
    openpanel: OpenPanelResource | None,
    warehouse: WarehouseResource | None,
    pool: str,
    retry_policy: dg.RetryPolicy,
) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=f"{stream.schema}__{stream.name}",
        specs=[translator.spec(stream)],
        partitions_def=days,
        backfill_policy=backfill_policy,
        retry_policy=retry_policy,
        pool=pool,
        required_resource_keys={
            key for key, given in (("openpanel", openpanel), ("warehouse", warehouse)) if given is None
        },
    )
    def _asset(context: dg.AssetExecutionContext) -> Iterable[dg.MaterializeResult[None]]:
        source: OpenPanelResource = openpanel or context.resources.openpanel
        target: WarehouseResource = warehouse or context.resources.warehouse
        receipts = _land_days(context, stream, source, target)
        yield dg.MaterializeResult(asset_key=translator.key(stream), metadata=_of_run(receipts))

    return _asset


def _land_days(
    context: dg.AssetExecutionContext, stream: Stream, source: OpenPanelResource, target: WarehouseResource
) -> list[Receipt]:
    """Land every day of this run; a day that fails for now does not keep the others from landing."""
    from connector.sync import sync_day

    receipts: list[Receipt] = []
    failed: list[ConnectorError] = []
    allow_drop = _is_on(context, ALLOW_DROP_TAG)
    incremental = _is_on(context, INCREMENTAL_TAG)
    try:
        warehouse, spool_dir = target.warehouse(), target.spool_path
        with source.client() as client:
            for key in context.partition_keys:
                day = date.fromisoformat(key)
                try:
                    receipt = sync_day(
                        client,
                        stream,
                        day,
                        warehouse=warehouse,
                        spool_dir=spool_dir,
                        allow_drop=allow_drop,
                        incremental=incremental and day == datetime.now(UTC).date(),
                        progress=_progress(context, stream, day),
                    )
                except TransientError as error:
                    context.log.warning(str(error))
                    failed.append(error)
                    continue
                context.log.info(_sentence(receipt))
                context.add_asset_metadata(_of_day(receipt), asset_key=context.asset_key, partition_key=key)
                receipts.append(receipt)
    except ConnectorError as error:
        failed.append(error)
    if failed:
        _keep(context, receipts)
        raise failure(failed[-1]) from None
    return receipts


def _keep(context: dg.AssetExecutionContext, receipts: Sequence[Receipt]) -> None:
    """Days of a failed run that did land are shown as landed: only the others need another run."""
    for receipt in receipts:
        context.log_event(
            dg.AssetMaterialization(
                context.asset_key,
                partition=receipt.day.isoformat(),
                metadata={"dagster/partition_row_count": receipt.landed, "load id": receipt.load_id},
            )
        )


def _is_on(context: dg.AssetExecutionContext, tag: str) -> bool:
    return context.run.tags.get(tag, "").lower() in {"1", "true", "yes"}


def _progress(context: dg.AssetExecutionContext, stream: Stream, day: date) -> Callable[[Page], None]:
    """Say every few seconds how far a long day is: page, rows, rows per second, time left."""
    started = last = time.monotonic()
    rows = 0

    def tell(page: Page) -> None:
        nonlocal last, rows
        rows += page.rows
        now = time.monotonic()
        if now - last >= PROGRESS_EVERY:
            last = now
            rate = rows / (now - started)
            left = max(page.announced - rows, 0) / rate if rate else 0.0
            context.log.info(
                f"{stream.partition(day)}: page {page.number}/{page.of}, {rows:,} of {page.announced:,} rows, "
                f"{rate:,.0f} rows/s, about {left:.0f} s left"
            )

    return tell


def _sentence(receipt: Receipt) -> str:
    how = "refreshed" if receipt.incremental else "landed whole"
    return (
        f"{receipt.table}[{receipt.day}] {how}: {receipt.landed:,} rows ({receipt.duplicates} duplicates dropped, "
        f"{receipt.replaced:,} replaced), {receipt.requests} requests, {receipt.bytes / 1e6:.1f} MB, "
        f"{receipt.seconds:.1f} s"
    )


def _of_day(receipt: Receipt) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": receipt.landed,
        "announced by vendor": receipt.announced,
        "vendor count minus landed": receipt.announced - receipt.landed - receipt.duplicates,
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
    if receipt.strangers:
        metadata["undeclared fields"] = ", ".join(sorted(receipt.strangers))
    return metadata


def _of_run(receipts: Sequence[Receipt]) -> dict[str, Any]:
    return {
        "days in run": len(receipts),
        "rows in run": sum(receipt.landed for receipt in receipts),
        "requests in run": sum(receipt.requests for receipt in receipts),
    }
