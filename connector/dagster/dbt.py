"""dbt models as assets below the landed tables: built day by day after a landing, whenever that is and whatever day.

Importing this module imports dbt, so no other module of the package imports it. It takes a prepared manifest and
parses nothing. Which days a model rebuilds is decided by the models (``sql/macros/days_to_build.sql``).
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._check import CheckError
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtProject,
    dbt_assets,
)

from connector.catalogue.dbt_sources import PACKAGE
from connector.catalogue.openpanel import EVENTS
from connector.catalogue.openpanel import STREAMS as OPENPANEL
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.catalogue.userpilot import STREAMS as USERPILOT
from connector.dagster.conditions import after_any
from connector.dagster.dbt_run import Dbt, ModelRun
from connector.dagster.failures import as_dagster_failure
from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import PROJECT_TAG, RETRIES, TIMEZONE_TAG, asset_job, days_of
from connector.dagster.translator import ConnectorTranslator
from connector.dagster.views import BY_DAY, fingerprint_of, is_standing_view, view_is_out_of_date
from connector.errors import SettingsError
from connector.settings import environment
from connector.stream import Stream
from connector.warehouse.sql import quoted

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

CATALOGUE = (*OPENPANEL, *USERPILOT)
POOL = "dbt"
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
        """That of the run; a view of ours has nothing to do while its definition holds."""
        if self._condition is not None and is_standing_view(dbt_resource_props):
            return self._condition & view_is_out_of_date()
        return self._condition

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        if is_standing_view(node):
            spec = spec.replace_attributes(code_version=fingerprint_of(manifest, unique_id))
        if node["resource_type"] == "model" and "marts" in node["fqn"]:
            return spec.replace_attributes(
                freshness_policy=dg.FreshnessPolicy.cron(
                    deadline_cron=FRESH_AT, lower_bound_delta=timedelta(hours=9), timezone="UTC"
                )
            )
        return spec


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
    streams: Collection[Stream] | None = None,
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
        timezone: the organization's; that of the code location's landed tables, or OPENPANEL_TIMEZONE, if left out.
        translator: a class, made once with each condition.
        landed_by: names the assets of the landed tables; the translator that was given to ``build_definitions``.
        streams: what is landed; a view of another table is no asset. The whole catalogue if left out.
        automatic: False leaves out automation conditions.
        dbt_executable: the dbt to run.
        keep_artifacts: False removes what a run of dbt writes below the project with the run.
        pool: the concurrency pool of both runs.
        retry_policy: of a build that failed, for instance because the warehouse was kept locked.
    """
    target, names = warehouse or WarehouseResource(), landed_by or ConnectorTranslator()
    build = _Build(
        known=of_instance(at_warehouse(_read(manifest), target), instance, names, prefix),
        client=_dbt(project_dir, profiles_dir or project_dir, dbt_executable),
        target=target,
        names=names,
        instance=instance,
        prefix=prefix,
        timezone=timezone,
        keep_artifacts=keep_artifacts,
        streams=CATALOGUE if streams is None else tuple(streams),
    )
    by_day, whole = build.conditions(translator) if automatic else (None, None)
    shared = {"pool": pool, "retry_policy": retry_policy, "op_tags": {PROJECT_TAG: str(project_dir)}}
    return [
        build.by_day(translator(by_day), start_date, shared),
        build.whole(translator(whole), shared),
    ]


def _dbt(project: Path, profiles: Path, executable: str) -> Dbt:
    return Dbt(project_dir=str(project), profiles_dir=str(profiles), dbt_executable=executable)


def _of_nothing(manifest: Mapping[str, Any], landed: Sequence[Stream]) -> list[str]:
    """Selectors of our views that show nothing: of a table that is not landed, and read by no model."""
    absent = {(one.vendor, one.name) for one in CATALOGUE} - {(one.vendor, one.name) for one in landed}
    sources = {
        name
        for name, one in manifest["sources"].items()
        if one["package_name"] == PACKAGE and (one["source_name"], one["name"]) in absent
    }
    models = {name: one for name, one in manifest["nodes"].items() if one["resource_type"] == "model"}
    read = {above for one in models.values() for above in one["depends_on"]["nodes"]}
    return sorted(
        f"fqn:{'.'.join(one['fqn'])}"
        for name, one in models.items()
        if name not in read and (above := set(one["depends_on"]["nodes"])) and above <= sources
    )


def _read(manifest: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    return document


@dataclass(frozen=True)
class _Build:
    """The dbt project of one instance, and how its models are built."""

    known: Mapping[str, Any]
    client: Dbt
    target: WarehouseResource
    names: ConnectorTranslator
    instance: str
    prefix: str
    timezone: str
    keep_artifacts: bool
    streams: tuple[Stream, ...]

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

    def conditions(
        self, translator: type[ModelTranslator]
    ) -> tuple[dg.AutomationCondition[Any], dg.AutomationCondition[Any]]:
        """When models are built by day, and when those are that are built whole."""
        events = [self.names.key(stream.of(self.instance)) for stream in (EVENTS, EXPORTED)]
        by_day, (days, tables) = after_any(events), self.read_whole(translator)
        return by_day, after_any([*days, *tables], partitioned_with=events, first=(days[0], by_day))

    def read_whole(self, translator: type[ModelTranslator]) -> tuple[list[dg.AssetKey], list[dg.AssetKey]]:
        """Models by day and landed tables that models built whole read; both ask for a build. Views need none.

        A model by day that no other reads asks for nothing, and need not be looked at in every tick.
        """
        models = {name: node for name, node in self.known["nodes"].items() if node["resource_type"] == "model"}
        whole = {name: node for name, node in models.items() if BY_DAY not in node["tags"]}
        days, tables = dict[str, None](), dict[str, None]()
        waiting = [one for one in whole.values() if one["config"]["materialized"] != "view"]
        for node in waiting:
            for name in node["depends_on"]["nodes"]:
                if name in self.known["sources"]:
                    tables[name] = None
                elif name in whole and whole[name] not in waiting:
                    waiting.append(whole[name])
                elif name in models and name not in whole:
                    days[name] = None
        key = translator(None).get_asset_key
        # Where none is read, because those that read them are switched off, any of them serves.
        days = days or dict.fromkeys(name for name in models if name not in whole)
        return [key(models[name]) for name in days], [key(self.known["sources"][name]) for name in tables]

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
            variables = {**self.variables, **self.zone.variables(context)}
            yield from self._run(context, variables, days)

        return _by_day.map_asset_specs(self.target.located)

    def whole(self, translator: ModelTranslator, shared: Mapping[str, Any]) -> dg.AssetsDefinition:
        @dbt_assets(
            manifest=self.known,
            select="fqn:*",
            exclude=" ".join([f"tag:{BY_DAY}", *_of_nothing(self.known, self.streams)]),
            name=self.named("models_whole"),
            dagster_dbt_translator=translator,
            **shared,
        )
        def _whole(context: dg.AssetExecutionContext) -> Iterator[Any]:
            variables = {**self.variables, **self.zone.variables(context)}
            yield from self._run(context, variables, {})

        return _whole.map_asset_specs(self.target.located)

    def _run(
        self, context: dg.AssetExecutionContext, variables: Mapping[str, str], days: Mapping[str, str]
    ) -> Iterator[Any]:
        kept = Path(self.client.project_dir).absolute() / "target" if self.keep_artifacts else None
        parsed = kept or self.target.spool_path / "models"
        run = ModelRun(self.client, self.known, self.target.warehouse(), kept, parsed)
        yield from run.build(context, variables, days)


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


def model_job(assets: Sequence[dg.AssetsDefinition], *, name: str = "models") -> "UnresolvedAssetJobDefinition":
    """All models, for people to start: of the days they choose, and those that look at all days.

    What :func:`model_sensor` asks for are runs without a job: Dagster lets no automation condition name one.
    """
    return asset_job(name, assets, "Builds the models of the chosen days, and those that look at all days.")


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
