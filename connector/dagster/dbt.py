"""dbt models as assets below the landed tables: built day by day after a landing, whenever that is and whatever day.

Importing this module imports dbt, so no other module of the package imports it. It takes a prepared manifest and
parses nothing. Which days a model rebuilds is decided by the models (``sql/macros/days_to_build.sql``).
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._check import CheckError
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtCliInvocation,
    DbtCliResource,
    DbtProject,
    dbt_assets,
)

from connector.catalogue.openpanel import EVENTS
from connector.catalogue.openpanel import STREAMS as OPENPANEL
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.catalogue.userpilot import LOOKUPS
from connector.catalogue.userpilot import STREAMS as USERPILOT
from connector.dagster.failures import as_dagster_failure
from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import RETRIES, TIMEZONE_TAG, days_of
from connector.dagster.translator import ConnectorTranslator
from connector.errors import SettingsError
from connector.settings import environment
from connector.stream import Stream
from connector.warehouse.connection import Warehouse
from connector.warehouse.sql import literal, quoted

POOL = "dbt"
PACKAGE = "openpanel_userpilot"
# Models of one day carry this tag; all others are built whole.
BY_DAY = "by_day"
# Every model whose rows belong to a day says so in this column.
DAY = "day"
# Morning reports read the marts at nine; a mart is stale when its last build is older than that night.
FRESH_AT = "0 9 * * *"


class ModelTranslator(DagsterDbtTranslator):
    """Schema and name are the key; marts say when they are stale. Override it like any dbt translator.

    Args:
        condition: when a model is built by itself; None leaves that to schedules and people.
    """

    def __init__(self, condition: dg.AutomationCondition[Any] | None = None) -> None:
        # Tests are checks of their models. Source tests stay dbt's: a check on a landed table that dbt yields would
        # exempt dbt from waiting for the landing's own blocking checks.
        super().__init__(
            DagsterDbtTranslatorSettings(
                enable_asset_checks=True, enable_source_tests_as_checks=False, enable_duplicate_source_asset_keys=True
            )
        )
        self._condition = condition

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Of a table that another's asset lands: that asset."""
        meta = (dbt_resource_props.get("config") or {}).get("meta") or {}
        if "landed_by" in meta:
            return dg.AssetKey(meta["landed_by"])
        return super().get_asset_key(dbt_resource_props)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        schema = (dbt_resource_props.get("config") or {}).get("schema")
        return schema or super().get_group_name(dbt_resource_props)

    def get_automation_condition(self, dbt_resource_props: Mapping[str, Any]) -> dg.AutomationCondition[Any] | None:
        return self._condition

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        if node["resource_type"] == "model" and "marts" in node["fqn"]:
            return spec.replace_attributes(
                freshness_policy=dg.FreshnessPolicy.cron(
                    deadline_cron=FRESH_AT, lower_bound_delta=timedelta(hours=9), timezone="UTC"
                )
            )
        return spec


def after_any(
    updated: Sequence[dg.AssetKey], *, partitioned_with: Sequence[dg.AssetKey] = ()
) -> dg.AutomationCondition[Any]:
    """Build when one of these was landed or built, be it today's partition or one of last year.

    Dagster's ``eager`` looks at the newest partition only, so what a lookback or a backfill lands would stop above the
    models. Every model of a run gets the same condition: one run builds all of them, also those of a vendor that was
    not landed and has not been seen yet. Nothing starts while one of them is being written, nor while a blocking check
    of one says that its day is not whole.

    Args:
        updated: assets whose update asks for a build.
        partitioned_with: more assets to wait for while they are written.
    """

    def any_of(keys: Sequence[dg.AssetKey], condition: dg.AutomationCondition[Any]) -> dg.AutomationCondition[Any]:
        return reduce(or_, (dg.AutomationCondition.asset_matches(key, condition) for key in keys))

    # Asked for in this very tick counts as being written: else what is built below is built now and once more after.
    written = dg.AutomationCondition.in_progress() | dg.AutomationCondition.will_be_requested()
    failed = dg.AutomationCondition.any_checks_match(dg.AutomationCondition.check_failed(), blocking_only=True)
    landed = any_of(updated, dg.AutomationCondition.newly_updated())
    return (
        # Not since_last_handled: it forgets what was landed while a build that began before it was under way. And a
        # request is known one tick later: what landed between the two came after it, and asks for the next one.
        landed.since((dg.AutomationCondition.newly_requested() & ~landed) | dg.AutomationCondition.initial_evaluation())
        & ~any_of([*updated, *partitioned_with], written)
        & ~any_of(updated, failed)
        & ~dg.AutomationCondition.in_progress()
    ).with_label("landed since it was built")


def model_assets(
    *,
    project_dir: Path,
    manifest: Path,
    start_date: date,
    profiles_dir: Path | None = None,
    warehouse: WarehouseResource | None = None,
    instance: str = "",
    prefix: str = "",
    timezone: str = "",
    translator: type[ModelTranslator] = ModelTranslator,
    landed_by: ConnectorTranslator | None = None,
    automatic: bool = True,
    dbt_executable: str = "dbt",
    keep_artifacts: bool = True,
    pool: str = POOL,
    retry_policy: dg.RetryPolicy | None = RETRIES,
) -> list[dg.AssetsDefinition]:
    """The models by day, and those that are built whole because a day is not their grain.

    Args:
        project_dir: where ``dbt_project.yml`` lies.
        manifest: ``manifest.json`` of a ``dbt parse`` of the project.
        start_date: the first partition, as for the landed tables.
        profiles_dir: where ``profiles.yml`` lies; the project's folder if left out.
        warehouse: where the models are, for counting rows; the WAREHOUSE variable if left out.
        instance: name of a second project; the models hang below its landings, and their keys, groups and schemas carry
            its name (``marts_shop``). A model of your own that reads ours is of one instance: give it a dbt project.
        prefix: begins the names of schemas, keys and groups: ``product`` gives ``product_marts/sessions``.
        timezone: the organization's. If left out, that of the landed OpenPanel tables in the same code location, or
            OPENPANEL_TIMEZONE of the run.
        translator: a class, made once with each condition.
        landed_by: names the assets of the landed tables; the translator that was given to ``build_definitions``.
        automatic: False leaves out automation conditions.
        dbt_executable: the dbt to run.
        keep_artifacts: keep what a run of dbt writes, below the project; False removes it with the run.
        pool: the concurrency pool of both runs.
        retry_policy: of a build that failed, for instance because the warehouse was kept locked.
    """
    target, names = warehouse or WarehouseResource(), landed_by or ConnectorTranslator()
    build = _Build(
        known=of_instance(
            at_warehouse(json.loads(manifest.read_text(encoding="utf-8")), target), instance, names, prefix
        ),
        client=DbtCliResource(
            project_dir=str(project_dir), profiles_dir=str(profiles_dir or project_dir), dbt_executable=dbt_executable
        ),
        target=target,
        names=names,
        instance=instance,
        prefix=prefix,
        timezone=timezone,
        keep_artifacts=keep_artifacts,
    )
    landed = [names.key(stream.of(instance)) for stream in (EVENTS, EXPORTED)]
    lookups = [names.key(stream.of(instance)) for stream in LOOKUPS]
    whole = after_any([*build.days(translator), *lookups], partitioned_with=landed) if automatic else None
    shared = {"pool": pool, "retry_policy": retry_policy}
    return [
        build.by_day(translator(after_any(landed) if automatic else None), start_date, shared),
        build.whole(translator(whole), shared),
    ]


@dataclass(frozen=True)
class _Build:
    """The dbt project of one instance, and how its models are built."""

    known: Mapping[str, Any]
    client: DbtCliResource
    target: WarehouseResource
    names: ConnectorTranslator
    instance: str
    prefix: str
    timezone: str
    keep_artifacts: bool

    def named(self, name: str) -> str:
        """A name in Dagster, between the prefix and the instance."""
        return "_".join(part for part in (self.prefix, name, self.instance) if part)

    @property
    def variables(self) -> dict[str, str]:
        """The dbt variables that name the schemas; none for the default instance without a prefix."""
        prefix = {"schema_prefix": self.prefix} if self.prefix else {}
        if not self.instance:
            return prefix
        schemas = {f"{stream.vendor}_schema": stream.of(self.instance).schema for stream in (EVENTS, EXPORTED)}
        return {**prefix, **schemas, "instance": self.instance}

    @property
    def zone(self) -> "_Zone":
        return _Zone(self.timezone, {self.names.key(stream.of(self.instance)): stream for stream in OPENPANEL})

    def days(self, translator: type[ModelTranslator]) -> list[dg.AssetKey]:
        """Asset keys of the models by day."""
        models = (node for node in self.known["nodes"].values() if node["resource_type"] == "model")
        return [translator(None).get_asset_key(node) for node in models if BY_DAY in node["tags"]]

    def by_day(self, translator: ModelTranslator, start_date: date, shared: Mapping[str, Any]) -> dg.AssetsDefinition:
        @dbt_assets(
            manifest=self.known,
            select=f"tag:{BY_DAY}",
            name=self.named("models_by_day"),
            partitions_def=days_of(EVENTS, start_date, "UTC"),
            backfill_policy=dg.BackfillPolicy.single_run(),
            dagster_dbt_translator=translator,
            **shared,
        )
        def _by_day(context: dg.AssetExecutionContext) -> Iterator[Any]:
            days = {"min_date": context.partition_keys[0], "max_date": context.partition_keys[-1]}
            variables = {**self.variables, **days, **self.zone.variables(context)}
            yield from self._build(context, variables)

        return _by_day

    def whole(self, translator: ModelTranslator, shared: Mapping[str, Any]) -> dg.AssetsDefinition:
        @dbt_assets(
            manifest=self.known,
            select="fqn:*",
            exclude=f"tag:{BY_DAY}",
            name=self.named("models_whole"),
            dagster_dbt_translator=translator,
            **shared,
        )
        def _whole(context: dg.AssetExecutionContext) -> Iterator[Any]:
            variables = {**self.variables, **self.zone.variables(context)}
            yield from self._build(context, variables)

        return _whole

    def _build(self, context: dg.AssetExecutionContext, variables: Mapping[str, str]) -> Iterator[Any]:
        if self.keep_artifacts:
            yield from _build(context, self.client, variables, self.target.warehouse())
            return
        with tempfile.TemporaryDirectory(prefix="connector-models-") as folder:
            yield from _build(context, self.client, variables, self.target.warehouse(), Path(folder))


@dataclass(frozen=True)
class _Zone:
    """The organization's timezone: as the models were given it, and as the landings that they read have it."""

    given: str
    landings: Mapping[dg.AssetKey, Stream]

    def variables(self, context: dg.AssetExecutionContext) -> dict[str, str]:
        """The dbt variable; none if OPENPANEL_TIMEZONE says the same, which the models read by themselves.

        Raises:
            dagster.Failure: the landings count days in another timezone than the models were given.
        """
        landed = self._landed(context)
        with as_dagster_failure():
            if self.given and (others := {zone for stream, zone in landed if stream.days == "local"} - {self.given}):
                raise SettingsError(
                    "timezone",
                    f"is {self.given!r} for the models, and {min(others)!r} for the tables they read",
                    next_step="leave it out in model_assets, which takes the one of the tables.",
                )
            of_run = environment().timezone("OPENPANEL_TIMEZONE", "UTC")
        zone = self.given or next((zone for _, zone in landed if zone != of_run), "")
        return {"openpanel_timezone": zone} if zone else {}

    def _landed(self, context: dg.AssetExecutionContext) -> list[tuple[Stream, str]]:
        try:
            assets = context.repository_def.assets_defs_by_key
        except CheckError:  # a run of dg.materialize has no code location
            return []
        return [
            (stream, zone)
            for key, stream in self.landings.items()
            if (asset := assets.get(key)) and asset.is_executable and (zone := asset.node_def.tags.get(TIMEZONE_TAG))
        ]


def model_sensor(
    assets: Sequence[dg.AssetsDefinition], *, name: str = "models_sensor", every_seconds: int = 15
) -> dg.SensorDefinition:
    """Evaluates the models' conditions; runs without a click, or late days would wait for one."""
    return dg.AutomationConditionSensorDefinition(
        name,
        target=dg.AssetSelection.assets(*(key for asset in assets for key in asset.keys)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=every_seconds,
        description="Builds the models of every day that was landed, and then those that look at all days.",
    )


def at_warehouse(manifest: dict[str, Any], target: WarehouseResource) -> dict[str, Any]:
    """The manifest as if it had been parsed for this warehouse: DuckDB names a database after its file."""
    name = target.warehouse().catalog
    for node in (*manifest["nodes"].values(), *manifest["sources"].values()):
        old = node.get("database")
        if node.get("relation_name"):
            node["relation_name"] = node["relation_name"].replace(quoted(old), quoted(name), 1)
        node["database"] = name
    return manifest


def of_instance(
    manifest: dict[str, Any], instance: str, names: ConnectorTranslator, prefix: str = ""
) -> dict[str, Any]:
    """The manifest as if it had been parsed for this instance, each landed table's asset by the name it has in Dagster.

    It is prepared once; ``sql/dbt_project.yml`` says the same of the schemas when a run parses with these variables.
    """
    streams: dict[tuple[str, ...], Stream] = {
        (schema, entry.name): entry.of(instance)
        for entry in (*OPENPANEL, *USERPILOT)
        for schema in (entry.schema, entry.of(instance).schema)
    }
    for source in manifest["sources"].values():
        meta = source["config"].get("meta") or {}
        by = meta.get("landed_by") or meta.get("dagster", {}).get("asset_key") or []
        stream = streams.get(tuple(by))
        if stream is None:
            continue
        if source["schema"] == by[0]:
            _move(source, stream.schema)
        path = list(names.key(stream).path)
        if "landed_by" in meta:
            meta["landed_by"] = path
        else:
            meta["dagster"]["asset_key"] = path
    for node in manifest["nodes"].values():
        is_ours = node["package_name"] == PACKAGE and node["resource_type"] == "model"
        # A schema that the caller's project configures is the caller's, in a run as well.
        if is_ours and node["config"]["schema"] == node["fqn"][1]:
            node["config"]["schema"] = _around(node["config"]["schema"], prefix, instance)
            _move(node, _around(node["schema"], prefix, instance))
    return manifest


def _around(schema: str, prefix: str, instance: str) -> str:
    return "_".join(part for part in (prefix, schema, instance) if part)


def _move(node: dict[str, Any], schema: str) -> None:
    """Into another schema."""
    if node.get("relation_name"):
        node["relation_name"] = node["relation_name"].replace(f".{quoted(node['schema'])}.", f".{quoted(schema)}.", 1)
    node["schema"] = schema


def _build(
    context: dg.AssetExecutionContext,
    client: DbtCliResource,
    variables: Mapping[str, str],
    warehouse: Warehouse,
    target_path: Path | None = None,
) -> Iterator[Any]:
    """Run and test the selected models; report rows, columns and lineage when dbt has let go of the warehouse."""
    arguments = ["build", "--exclude-resource-type", "unit_test", "--vars", json.dumps(variables)]
    # A test that looks at several models runs when all of them were built: others may not exist yet.
    arguments += ["--indirect-selection", "cautious"]
    with _named(warehouse):
        invocation = client.cli(arguments, context=context, target_path=target_path)
        _stay_in_memory(invocation.adapter)
        try:
            events = list(invocation.stream().fetch_column_metadata())
        finally:
            _let_go(invocation.adapter)
    counts = _rows(warehouse, invocation, context)
    for event in events:
        key = context.asset_key_for_output(event.output_name) if isinstance(event, dg.Output) else None
        if key in counts:
            total, by_day = counts[key]
            if not by_day:
                event = event.with_metadata({**event.metadata, "dagster/row_count": total})
            for day, rows in by_day.items():
                context.add_asset_metadata(
                    {"dagster/partition_row_count": rows}, asset_key=key, partition_key=day.isoformat()
                )
        yield event


def _rows(
    warehouse: Warehouse, invocation: DbtCliInvocation, context: dg.AssetExecutionContext
) -> dict[dg.AssetKey, tuple[int, dict[date, int]]]:
    """Rows of each selected model: of each day of this run where rows have a day, else of all."""
    days = [date.fromisoformat(key) for key in context.partition_keys] if context.has_partition_key_range else []
    if not days and context.has_partition_key:
        days = [date.fromisoformat(context.partition_key)]
    found: dict[dg.AssetKey, tuple[int, dict[date, int]]] = {}
    with warehouse.read() as connection:
        for node in invocation.manifest["nodes"].values():
            is_model = node["resource_type"] == "model"
            key = invocation.dagster_dbt_translator.get_asset_key(node) if is_model else None
            if key is None or key not in context.selected_asset_keys:
                continue
            table = f"{quoted(node['schema'])}.{quoted(node['alias'])}"
            if days and DAY in node["columns"]:
                rows = connection.execute(
                    f"select {DAY}, count(*) from {table} where list_contains({literal(days)}, {DAY}) group by {DAY}"
                ).fetchall()
                found[key] = (0, dict.fromkeys(days, 0) | dict(rows))
            else:
                row = connection.execute(f"select count(*) from {table}").fetchone()
                found[key] = (row[0] if row else 0, {})
    return found


@contextmanager
def _named(warehouse: Warehouse) -> Iterator[None]:
    """The profile reads WAREHOUSE, and dbt runs in the project's folder, where a relative path is another file."""
    with warehouse.building() as variables:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _stay_in_memory(adapter: Any) -> None:
    """For columns and lineage dagster-dbt opens the profile's path read-only, and of ``:memory:`` it makes a file."""
    credentials = getattr(getattr(adapter, "config", None), "credentials", None)
    if Path(getattr(credentials, "path", "")).name == ":memory:":
        credentials.path = ":memory:"  # type: ignore[union-attr]
        credentials.config_options.pop("access_mode", None)  # type: ignore[union-attr]


def _let_go(adapter: Any) -> None:
    """Close the connection that reading columns opened in this process; the next landing here needs the file."""
    if adapter is None:
        return
    manager = adapter.connections
    adapter.cleanup_connections()
    environment = manager._ENV  # dbt-duckdb keeps it for the life of the process and offers no other way
    manager.close_all_connections()
    if environment is not None:
        environment.close()
