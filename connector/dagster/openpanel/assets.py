"""Catalogue -> assets: get, spool, land, report. One day or a range of days, in the same few lines.

Anything beyond those four steps belongs below this layer, in code that knows no Dagster.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from connector.catalogue.openpanel import USUAL
from connector.dagster.checks import check_results, check_specs, executed_alone, selected
from connector.dagster.failures import failure
from connector.dagster.openpanel.lists import listed_results, listed_specs
from connector.dagster.reporting import (
    keep_receipts,
    progress_logger,
    receipt_sentence,
    report,
    sample_metadata,
    table_metadata,
)
from connector.dagster.resources import OpenPanelResource, WarehouseResource, one_timezone
from connector.dagster.runs import (
    ALLOW_DROP_TAG,
    INCREMENTAL_TAG,
    RETRIES,
    TABLE_TAG,
    TIMEZONE_TAG,
    Shared,
    days_of,
    is_on,
)
from connector.dagster.translator import ConnectorTranslator
from connector.errors import ConnectorError, RejectedError
from connector.stream import Receipt, Stream

if TYPE_CHECKING:
    from connector.sync import Reader

POOL = "openpanel_api"


def openpanel_assets(
    *,
    start_date: date,
    streams: Sequence[Stream] = USUAL,
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
        streams: entries of the catalogue, by default those that are landed without being asked for; see
            ``connector.openpanel.reports.config.streams`` for charts and funnels.
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
        translator=translator or ConnectorTranslator(),
        start_date=start_date,
        pool=pool,
        retry_policy=retry_policy,
        timezone=one_timezone(timezone, openpanel),
        backfill_policy=backfill_policy,
        openpanel=openpanel,
        warehouse=warehouse,
    )
    return [_landed_asset(stream.of(instance) if instance else stream, made) for stream in streams]


@dataclass(frozen=True, kw_only=True)
class _Made(Shared):
    """What all assets of one call share."""

    timezone: str
    backfill_policy: dg.BackfillPolicy | None
    openpanel: OpenPanelResource | None
    warehouse: WarehouseResource | None

    def policy(self, stream: Stream) -> dg.BackfillPolicy | None:
        if stream.days == "none":
            return None
        # One policy for all: Dagster warns about a job whose assets differ.
        return self.backfill_policy or dg.BackfillPolicy.single_run()


def _landed_asset(stream: Stream, made: _Made) -> dg.AssetsDefinition:
    key, spec = made.translator.key(stream), made.translator.spec(stream)

    @dg.multi_asset(
        name=f"{stream.schema}__{stream.name}",
        op_tags={TABLE_TAG: stream.table, TIMEZONE_TAG: made.timezone},
        specs=[made.warehouse.located(spec) if made.warehouse else spec],
        check_specs=[*check_specs(stream, key), *listed_specs(stream, key)],
        can_subset=True,  # its checks can be executed alone
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
        if not context.selected_asset_keys:
            yield from selected(context, executed_alone(stream, key, target.warehouse()))
            yield from selected(context, listed_results(stream, key, target))
            return
        receipts = _land(context, stream, source, target, made.timezone)
        report(context, stream, receipts, target)
        shown = sample_metadata(receipts) | table_metadata(stream, target) if stream.days == "none" else {}
        yield dg.MaterializeResult(asset_key=key, metadata=shown)
        yield from selected(context, check_results(stream, key, receipts, target.warehouse()))
        yield from selected(context, listed_results(stream, key, target))

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
                context.log.info(receipt_sentence(outcome))
                receipts.append(outcome)
    except ConnectorError as error:
        failed.append(error)
    except BaseException:  # cancelled: what has landed stays landed, and the UI should know
        keep_receipts(context, stream, receipts)
        raise
    if failed:
        keep_receipts(context, stream, receipts)
        raise failure(*failed) from None
    return receipts


def _outcomes(
    context: dg.AssetExecutionContext, stream: Stream, client: "Reader", target: WarehouseResource
) -> Iterator[Receipt | ConnectorError]:
    """A receipt or an error for every day, in order."""
    from connector.sync import sync_days

    today = datetime.now(UTC).date()
    days = [today] if stream.days == "none" else [date.fromisoformat(key) for key in context.partition_keys]
    return sync_days(
        client,
        stream,
        days,
        warehouse=target.warehouse(),
        spool_dir=target.spool_path,
        allow_drop=is_on(context, ALLOW_DROP_TAG),
        growing=[today] if is_on(context, INCREMENTAL_TAG) and stream.incremental else (),
        progress=partial(progress_logger, context, stream) if stream.counted else None,
    )
