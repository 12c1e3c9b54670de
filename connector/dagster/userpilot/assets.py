"""Exports as assets: one that asks and ends in seconds, one that lands, and a list asset for every lookup.

No run waits: the sensor in ``export_sensor.py`` does. What was asked for is written to the event log, where every
launcher can read it; the file ledger below the spool is for what happens between two lines of that log.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import msgspec
from pydantic import Field

from connector.catalogue.userpilot import EVENTS, LOOKUPS
from connector.dagster.checks import (
    executed_alone,
    file_check_results,
    file_check_specs,
    lookup_check_results,
    lookup_check_specs,
    selected,
)
from connector.dagster.failures import as_dagster_failure, failure
from connector.dagster.reporting import pictures_of, rows_as_table, table_metadata
from connector.dagster.resources import UserpilotResource, WarehouseResource
from connector.dagster.runs import ALLOW_DROP_TAG, ALLOW_UNDATED_TAG, RETRIES, TABLE_TAG, Shared, days_of, is_on
from connector.dagster.translator import ConnectorTranslator
from connector.dagster.userpilot.export_log import (
    GAVE_UP,
    JOB_TAG,
    LANDED,
    LOST,
    REQUEST_TAG,
    REQUESTED,
    line,
    request_key,
)
from connector.errors import ContractError, InProgressError, RejectedError, SettingsError, SuddenDropError, UndatedError
from connector.nights import ranges
from connector.stream import Receipt, Stream
from connector.userpilot.exports.job import Job
from connector.userpilot.exports.request import Options, Request

if TYPE_CHECKING:
    from connector.landing.days_from_files import RangeReceipt
    from connector.userpilot.client import Userpilot
    from connector.userpilot.exports.run import Exports

__all__ = ["JOB_TAG", "POOL", "REQUEST_TAG", "ExportConfig", "userpilot_assets"]

POOL = "userpilot_api"
# How long a run that was started by hand waits in place.
PATIENCE = 3600.0


class ExportConfig(dg.Config):
    """What an export holds besides its days; empty means what the assets were made with. See docs/export.md."""

    event_type: list[str] = Field(default_factory=list)
    user_id: list[str] = Field(default_factory=list)
    company_id: list[str] = Field(default_factory=list)
    segment_id: str = ""
    exclusions: bool = False
    format: str = ""
    emails: list[str] = Field(default_factory=list)
    job: str = Field(default="", description="Set by the export sensor: the export that the run is about, as JSON.")


def userpilot_assets(
    *,
    start_date: date,
    options: Mapping[str, Any] | None = None,
    lookups: Sequence[Stream] = LOOKUPS,
    instance: str = "",
    translator: ConnectorTranslator | None = None,
    userpilot: UserpilotResource | None = None,
    warehouse: WarehouseResource | None = None,
    patience: float = PATIENCE,
    pool: str = POOL,
    retry_policy: dg.RetryPolicy | None = RETRIES,
) -> list[dg.AssetsDefinition]:
    """The request for an export, the landed events, and the lookups.

    Args:
        start_date: the first partition.
        options: of every export: event_type, user_id, company_id, segment_id, exclusions, format, emails. A run's
            configuration overrides them one by one.
        lookups: entries of the catalogue.
        instance: name of a second environment; ``shop`` gives keys ``userpilot_shop/events``.
        translator: overrides keys, groups, owners, tags.
        userpilot, warehouse: resources; they are bound to the assets, so nothing of the caller's can clash.
        patience: seconds a landing that was started by hand waits for its export.
        pool: the concurrency pool all assets of this key share.
        retry_policy: for transient errors; anything else fails at once.

    Raises:
        RejectedError: an option does not exist.
    """
    made = _Made(
        translator=translator or ConnectorTranslator(),
        start_date=start_date,
        pool=pool,
        retry_policy=retry_policy,
        options=Options.of(options or {}),
        events=EVENTS.of(instance) if instance else EVENTS,
        userpilot=userpilot or UserpilotResource(),
        warehouse=warehouse or WarehouseResource(),
        patience=patience,
    )
    streams = [stream.of(instance) if instance else stream for stream in lookups]
    return [_request_asset(made), _events_asset(made), *(_lookup_asset(stream, made) for stream in streams)]


@dataclass(frozen=True, kw_only=True)
class _Made(Shared):
    """What all assets of one call share."""

    options: Options
    events: Stream
    userpilot: UserpilotResource
    warehouse: WarehouseResource
    patience: float

    @property
    def partitions(self) -> dg.DailyPartitionsDefinition | None:
        return days_of(self.events, self.start_date, "UTC")

    @property
    def request_key(self) -> dg.AssetKey:
        return request_key(self.translator, self.events)

    def exports(self, client: "Userpilot") -> "Exports":
        from connector.userpilot.exports.run import Exports

        return Exports(client, self.warehouse.spool_path, stream=self.events)

    def log(self, context: dg.AssetExecutionContext, stage: str, job: Job, sentence: str = "") -> None:
        """Write a line of the ledger into the event log, in the name of this environment."""
        context.log_event(line(self.request_key, self.userpilot.fingerprint(), stage, job, sentence))


def _request_asset(made: _Made) -> dg.AssetsDefinition:
    key = made.request_key

    @dg.multi_asset(
        name=f"{made.events.schema}__export_job",
        op_tags={TABLE_TAG: f"{made.events.schema}.export_job"},
        specs=[
            dg.AssetSpec(
                key,
                description="Asking for an export: one job for every contiguous range of days. The run ends as soon as "
                "the vendor has accepted it; the sensor waits for the files and requests the landing.\n\nA run that "
                "finds the one export slot taken materializes nothing; the sensor asks again when it is free.",
                group_name=made.translator.group(made.events),
                owners=list(made.translator.owners(made.events)),
                kinds={made.events.vendor},
                skippable=True,
            )
        ],
        partitions_def=made.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=made.retry_policy,
        pool=made.pool,
    )
    def _asset(context: dg.AssetExecutionContext, config: ExportConfig) -> Iterable[dg.MaterializeResult[None]]:
        options = _options(made.options, config)
        metadata: dict[str, Any] = {}
        with as_dagster_failure(), made.userpilot.client() as client:
            exports = made.exports(client)
            for wanted in _wanted(context, options, config.job):
                try:
                    job = exports.ask(wanted.request, attempts=wanted.attempts, halved=wanted.halved)
                except ContractError as error:  # failed too often: the sensor lets go of it
                    made.log(context, GAVE_UP, wanted, f"{error.what} {error.next_step}")
                    raise
                for other in exports.open_halves(wanted.request):
                    if other.request != job.request:
                        made.log(context, REQUESTED, other)
                made.log(context, REQUESTED, job)
                context.log.info(job.sentence(datetime.now(UTC)))
                if job.job_id:
                    metadata |= {"job id": job.job_id, "requested at": str(job.started)}
                    metadata["asked for"] = dg.MetadataValue.json(_shown(job.request))
        if metadata:
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)

    return _asset


def _wanted(context: dg.AssetExecutionContext, options: Options, given: str) -> list[Job]:
    """Jobs to ask for: what the sensor says, else one for every contiguous range of the run's days."""
    if given:
        return [msgspec.json.decode(given, type=Job)]
    today = datetime.now(UTC).date()
    return [
        Job(request=Request.checked(first, last, options, today=today))
        for first, last in ranges(date.fromisoformat(key) for key in context.partition_keys)
    ]


def _options(usual: Options, config: ExportConfig) -> Options:
    given = {name: value for name, value in config.model_dump(exclude={"job"}).items() if value}
    return Options.of({**msgspec.to_builtins(usual), **given})


def _shown(request: Request) -> dict[str, Any]:
    """What was asked for, without the people who are written to."""
    body = request.body()
    if "emails" in body:
        body["emails"] = f"{len(body['emails'])} recipients"
    return body


def _events_asset(made: _Made) -> dg.AssetsDefinition:
    stream = made.events
    key = made.translator.key(stream)
    spec = made.warehouse.located(made.translator.spec(stream)).merge_attributes(deps=[made.request_key])

    @dg.multi_asset(
        name=f"{stream.schema}__{stream.name}",
        op_tags={TABLE_TAG: stream.table},
        specs=[spec],
        check_specs=file_check_specs(stream, key),
        can_subset=True,  # its checks can be executed alone
        partitions_def=made.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=made.retry_policy,
        pool=made.pool,
    )
    def _asset(
        context: dg.AssetExecutionContext, config: ExportConfig
    ) -> Iterable[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        warehouse = made.warehouse.warehouse()
        if not context.selected_asset_keys:
            yield from selected(context, executed_alone(stream, key, warehouse, from_files=True))
            return
        receipts = list(_landed(context, made, config))
        _report_days(context, made, receipts)
        yield dg.MaterializeResult(asset_key=key)
        landed = {day.day: day.landed for receipt in receipts for day in receipt.days}
        strangers = {name for receipt in receipts for name in receipt.strangers}
        yield from selected(context, file_check_results(stream, key, landed, strangers, warehouse))

    return _asset


def _landed(context: dg.AssetExecutionContext, made: _Made, config: ExportConfig) -> Iterator["RangeReceipt"]:
    """Receipts of every export this run lands; per-day numbers are reported as they come."""
    from connector.userpilot.exports.run import LostError

    allowed = {"allow_drop": is_on(context, ALLOW_DROP_TAG), "allow_undated": is_on(context, ALLOW_UNDATED_TAG)}
    with as_dagster_failure(), made.userpilot.client() as client:
        exports, job = made.exports(client), None
        try:
            for job in _wanted(context, _options(made.options, config), config.job):
                jobs = [job] if config.job else exports.wait(job.request, patience=made.patience, tell=_say(context))
                for job in jobs:  # what the handlers below report is the job at hand
                    receipt = exports.land(job, warehouse=made.warehouse.warehouse(), tell=_say(context), **allowed)
                    made.log(context, LANDED, job, f"landed {receipt.landed:,} rows")
                    _report(context, receipt)
                    yield receipt
        except InProgressError as error:
            remembered = exports.ledger.job(job.request.id) if job else None
            if remembered and remembered.job_id:
                made.log(context, REQUESTED, remembered)  # from here the sensor waits
            raise failure(error, retry=False) from None  # the sensor goes on
        except (RejectedError, SuddenDropError, UndatedError) as error:
            if job and not isinstance(error, SettingsError):  # asking again gets the same answer: the sensor lets go
                made.log(context, GAVE_UP, job, f"{error.what} {error.next_step}")
            raise
        except LostError as error:
            if job:
                made.log(context, LOST, job, error.what)
            raise failure(error, retry=False) from None  # the sensor asks for the days again


def _say(context: dg.AssetExecutionContext) -> Callable[[str], None]:
    last = 0.0

    def tell(sentence: str) -> None:
        nonlocal last
        if time.monotonic() - last > 5.0:
            last = time.monotonic()
            context.log.info(sentence)

    return tell


def _report(context: dg.AssetExecutionContext, receipt: "RangeReceipt") -> None:
    """What the whole export was, in the run's log: it belongs to none of its days."""
    context.log.info(
        f"{receipt.table} landed whole: {receipt.landed:,} rows on {len(receipt.days)} days from {receipt.files} files "
        f"of job {receipt.job_id} ({receipt.duplicates} duplicates dropped, {receipt.outside:,} rows of other days "
        f"left out), {receipt.bytes / 1e6:.1f} MB, {receipt.seconds:.1f} s, locked {receipt.lock_seconds:.2f} s"
    )


def _report_days(context: dg.AssetExecutionContext, made: _Made, receipts: Sequence["RangeReceipt"]) -> None:
    """The numbers and the picture of every day that was asked for."""
    asked = set(context.partition_keys)
    landed = [(receipt, day) for receipt in receipts for day in receipt.days if day.day.isoformat() in asked]
    pictures = pictures_of(made.events, [day.day for _, day in landed], made.warehouse)
    table = table_metadata(made.events, made.warehouse)
    for receipt, day in landed:
        numbers = pictures.get(day.day, {}) | {
            "dagster/partition_row_count": day.landed,
            "received": day.received,
            "duplicates": day.duplicates,
            "rows replaced": day.replaced,
            "rows with extras": day.misfits,
            "load id": receipt.load_id,
            "job id": receipt.job_id,
        }
        if day.forgotten:
            numbers["rows of forgotten people"] = day.forgotten
        if day is max((one for one in receipt.days if one.landed), key=lambda one: one.day, default=None):
            numbers["preview"] = dg.MetadataValue.md(rows_as_table(receipt.sample))  # its rows are of this day
        if receipt.warnings:
            numbers["warnings"] = "; ".join(receipt.warnings)
        if receipt.strangers and day.misfits:
            numbers["undeclared fields"] = ", ".join(sorted(receipt.strangers))
        context.add_asset_metadata(numbers | table, asset_key=context.asset_key, partition_key=day.day.isoformat())


def _lookup_asset(stream: Stream, made: _Made) -> dg.AssetsDefinition:
    key = made.translator.key(stream)

    @dg.multi_asset(
        name=f"{stream.schema}__{stream.name}",
        op_tags={TABLE_TAG: stream.table},
        specs=[made.warehouse.located(made.translator.spec(stream))],
        check_specs=lookup_check_specs(stream, key),
        can_subset=True,  # its check can be executed alone
        retry_policy=made.retry_policy,
        pool=made.pool,
    )
    def _asset(context: dg.AssetExecutionContext) -> Iterable[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        from connector.userpilot.lookups import sync_lookup

        warehouse = made.warehouse.warehouse()
        if context.selected_asset_keys:
            with as_dagster_failure(), made.userpilot.client() as client:
                receipts = sync_lookup(client, stream, warehouse=warehouse, spool_dir=made.warehouse.spool_path)
            yield dg.MaterializeResult(
                asset_key=key, metadata=_of_lookup(receipts) | table_metadata(stream, made.warehouse)
            )
        yield from selected(context, lookup_check_results(stream, key, warehouse))

    return _asset


def _of_lookup(receipts: Sequence[Receipt]) -> dict[str, Any]:
    """What one look at a list found."""
    if not receipts:
        return {"current rows": 0, "note": "this account does not have it"}
    first, *inner = receipts
    metadata: dict[str, Any] = {
        "current rows": first.landed,
        "known before": first.replaced,
        "rows with extras": first.misfits,
        "requests": first.requests,
        "preview": dg.MetadataValue.md(rows_as_table(first.sample)),
    }
    metadata |= {f"rows in {receipt.table}": receipt.landed for receipt in inner}
    if first.strangers:
        metadata["undeclared fields"] = ", ".join(sorted(first.strangers))
    if first.warnings:
        metadata["warnings"] = "; ".join(first.warnings)
    return metadata
