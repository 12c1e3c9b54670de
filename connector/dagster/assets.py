"""Catalogue -> assets: get, spool, land, report. One day or a range of days, in the same few lines.

If a body here grows past those four verbs, something belongs below the wall.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import dagster as dg

from connector.dagster.checks import check_results, check_specs
from connector.dagster.failures import failure
from connector.dagster.picture import picture
from connector.dagster.preview import preview
from connector.dagster.resources import OpenPanelResource, WarehouseResource, one_timezone
from connector.dagster.translator import ConnectorTranslator
from connector.errors import ConnectorError, RejectedError
from connector.openpanel.streams import STREAMS
from connector.stream import Page, Receipt, Stream

# Three tries a partition, five a request: at most fifteen, and a minute or more between partition tries.
RETRIES = dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
# Aggregates wait for the vendor far longer than they are landed.
DAYS_AT_ONCE = 4
POOL = "openpanel_api"
ALLOW_DROP_TAG = "connector/allow_drop"
# On the op of every asset of ours, whatever a translator calls the asset: the table it lands.
TABLE_TAG = "connector/table"
# Likewise: the timezone of the organization it is of.
TIMEZONE_TAG = "connector/timezone"
# Set by the intraday schedule: read only what is newer than the landed rows.
INCREMENTAL_TAG = "connector/incremental"
PROGRESS_EVERY = 5.0


def table_of(asset: dg.AssetsDefinition) -> str:
    """The table an asset of ours lands, whatever a translator calls the asset."""
    return asset.node_def.tags.get(TABLE_TAG) or ".".join(asset.key.path)


def name_of(asset: dg.AssetsDefinition) -> str:
    """The name of its stream, such as ``events``."""
    return table_of(asset).rpartition(".")[2]


def days_of(stream: Stream, start_date: date, timezone: str) -> dg.DailyPartitionsDefinition | None:
    """A stream's days from ``start_date`` to today; today is included because it can be refreshed all day long."""
    if stream.days == "none":
        return None
    zone = timezone if stream.days == "local" else "UTC"
    return dg.DailyPartitionsDefinition(start_date=start_date.isoformat(), timezone=zone, end_offset=1)


def openpanel_assets(
    *,
    start_date: date,
    streams: Sequence[Stream] = STREAMS,
    timezone: str = "",
    instance: str = "",
    translator: ConnectorTranslator | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    openpanel: OpenPanelResource | None = None,
    warehouse: WarehouseResource | None = None,
    pool: str = POOL,
    retry_policy: dg.RetryPolicy | None = RETRIES,
) -> list[dg.AssetsDefinition]:
    """One asset per stream, partitioned by day where the stream has days.

    Args:
        start_date: the first partition.
        streams: entries of the catalogue; see :func:`connector.openpanel.streams.streams` for charts and funnels.
        timezone: the organization's; insights, charts and funnels have its days. If left out, that of the resource, or
            of OPENPANEL_TIMEZONE, or UTC.
        instance: name of a second project; ``shop`` gives keys ``openpanel_shop/events``.
        translator: overrides keys, groups, owners, tags.
        backfill_policy: how many days one run of a backfill takes; all of a contiguous range by default, which is
            also what ``dg launch --partition-range`` asks for. Days land one by one, and those that fail do not keep
            the others from landing. With ``dg.BackfillPolicy.multi_run(1)`` every day is a run of its own.
        openpanel, warehouse: given here, the assets need no resources in ``Definitions`` and two projects cannot
            clash; left out, they are taken from the resource keys ``openpanel`` and ``warehouse``.
        pool: the concurrency pool all assets of this client id share.
        retry_policy: for transient errors; anything else fails at once.

    Raises:
        SettingsError: the resource has another timezone than the one that is given here.
    """
    made = _Made(
        translator or ConnectorTranslator(),
        start_date,
        one_timezone(timezone, openpanel),
        backfill_policy,
        openpanel,
        warehouse,
        pool,
        retry_policy,
    )
    return [_landed_asset(stream.of(instance) if instance else stream, made) for stream in streams]


@dataclass(frozen=True)
class _Made:
    """What all assets of one call share."""

    translator: ConnectorTranslator
    start_date: date
    timezone: str
    backfill_policy: dg.BackfillPolicy | None
    openpanel: OpenPanelResource | None
    warehouse: WarehouseResource | None
    pool: str
    retry_policy: dg.RetryPolicy | None

    def policy(self, stream: Stream) -> dg.BackfillPolicy | None:
        if stream.days == "none":
            return None
        # One policy for all: Dagster warns about a job whose assets differ.
        return self.backfill_policy or dg.BackfillPolicy.single_run()


def _landed_asset(stream: Stream, made: _Made) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=f"{stream.schema}__{stream.name}",
        op_tags={TABLE_TAG: stream.table, TIMEZONE_TAG: made.timezone},
        specs=[made.translator.spec(stream)],
        check_specs=check_specs(stream, made.translator.key(stream)),
        partitions_def=days_of(stream, made.start_date, made.timezone),
        backfill_policy=made.policy(stream),
        retry_policy=made.retry_policy,
        pool=made.pool,
        required_resource_keys={
            key for key, given in (("openpanel", made.openpanel), ("warehouse", made.warehouse)) if given is None
        },
    )
    def _asset(context: dg.AssetExecutionContext) -> Iterable[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        source: OpenPanelResource = made.openpanel or context.resources.openpanel
        target: WarehouseResource = made.warehouse or context.resources.warehouse
        receipts = _land(context, stream, source, target, made.timezone)
        if stream.days != "none":
            pictures = pictures_of(stream, [receipt.day for receipt in receipts], target)
            for receipt in receipts:
                numbers = pictures.get(receipt.day, {}) | _of_day(receipt)
                context.add_asset_metadata(numbers, asset_key=context.asset_key, partition_key=receipt.day.isoformat())
        yield dg.MaterializeResult(asset_key=made.translator.key(stream), metadata=_of_run(stream, receipts))
        yield from check_results(stream, made.translator.key(stream), receipts, target.warehouse())

    return _asset


def _land(
    context: dg.AssetExecutionContext,
    stream: Stream,
    source: OpenPanelResource,
    target: WarehouseResource,
    timezone: str,
) -> list[Receipt]:
    """Land every day of this run; a day that fails does not keep the others from landing."""
    receipts: list[Receipt] = []
    failed: list[ConnectorError] = []
    try:
        with source.in_timezone(timezone).client() as client:
            for outcome in _outcomes(context, stream, client, target):
                if isinstance(outcome, ConnectorError):
                    context.log.warning(str(outcome))
                    failed.append(outcome)
                    if isinstance(outcome, RejectedError):  # the settings, or the vendor's word: the same for every day
                        break
                    continue
                context.log.info(_sentence(outcome))
                receipts.append(outcome)
    except ConnectorError as error:
        failed.append(error)
    except BaseException:  # cancelled: what has landed stays landed, and the UI should know
        _keep(context, stream, receipts)
        raise
    if failed:
        _keep(context, stream, receipts)
        raise failure(*failed) from None
    return receipts


def _outcomes(
    context: dg.AssetExecutionContext, stream: Stream, client: Any, target: WarehouseResource
) -> Iterator[Receipt | ConnectorError]:
    """A receipt or an error for every day, in order; aggregates a few days at a time, on one request budget."""
    from connector.ahead import ahead
    from connector.sync import sync_day

    warehouse, spool_dir = target.warehouse(), target.spool_path
    allow_drop, incremental = is_on(context, ALLOW_DROP_TAG), is_on(context, INCREMENTAL_TAG)
    today = datetime.now(UTC).date()

    def land(day: date) -> Receipt | ConnectorError:
        try:
            return sync_day(
                client,
                stream,
                day,
                warehouse=warehouse,
                spool_dir=spool_dir,
                allow_drop=allow_drop,
                incremental=incremental and stream.walk == "pages" and day == today,
                progress=_progress(context, stream, day) if stream.walk == "pages" else None,
            )
        except ConnectorError as error:
            return error

    days = [today] if stream.days == "none" else [date.fromisoformat(key) for key in context.partition_keys]
    at_once = 1 if stream.walk == "pages" else DAYS_AT_ONCE
    yield from ahead((partial(land, day) for day in days), at_once=at_once) if at_once > 1 else map(land, days)


def _keep(context: dg.AssetExecutionContext, stream: Stream, receipts: Sequence[Receipt]) -> None:
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
    from connector.receipts import hours_of_days

    if stream.walk not in ("pages", "export"):
        return {}
    found = hours_of_days(target.warehouse(), stream, days)
    return {day: {"the day": dg.MetadataValue.md(picture(hours))} for day, hours in found.items()}


def is_on(context: dg.AssetExecutionContext, tag: str) -> bool:
    """Whether a run carries a tag that says yes."""
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


def _of_run(stream: Stream, receipts: Sequence[Receipt]) -> dict[str, Any]:
    if stream.days == "none":
        return {key: value for receipt in receipts for key, value in _of_day(receipt).items() if "partition" not in key}
    return {
        "days in run": len(receipts),
        "rows in run": sum(receipt.landed for receipt in receipts),
        "requests in run": sum(receipt.requests for receipt in receipts),
    }
