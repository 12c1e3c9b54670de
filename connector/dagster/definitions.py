"""Everything for the usual project in one call. Who wants less takes the builders one by one."""

import re
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from connector.catalogue.openpanel import EVENTS
from connector.catalogue.userpilot import EVENTS as EXPORTED_EVENTS
from connector.catalogue.userpilot import LOOKUPS
from connector.dagster.alerts import Tell, connector_alerts
from connector.dagster.choice import chosen, landed_streams, questions_of
from connector.dagster.models import models_definitions
from connector.dagster.openpanel.assets import openpanel_assets
from connector.dagster.openpanel.drift import openpanel_drift_sensor
from connector.dagster.openpanel.lists import openpanel_lists_schedule, snapshots_of
from connector.dagster.openpanel.schedules import INTRADAY, openpanel_intraday_schedule, openpanel_nightly_schedules
from connector.dagster.properties import property_checks
from connector.dagster.resources import OpenPanelResource, UserpilotResource, WarehouseResource, one_timezone
from connector.dagster.runs import name_of
from connector.dagster.translator import ConnectorTranslator
from connector.dagster.upkeep import maintain_schedule, prune_schedule
from connector.dagster.userpilot.assets import userpilot_assets
from connector.dagster.userpilot.export_sensor import userpilot_export_sensor
from connector.dagster.userpilot.schedules import userpilot_lookups_schedule, userpilot_nightly_export_schedule
from connector.errors import SettingsError
from connector.openpanel.reports.config import Questions, streams
from connector.privacy.policy import Privacy
from connector.settings import Environment, Settings, environment


def build_definitions(
    *,
    start_date: date | str | None = None,
    questions: Questions | Path | None = None,
    timezone: str = "",
    instance: str = "",
    translator: ConnectorTranslator | None = None,
    openpanel: OpenPanelResource | None = None,
    userpilot: UserpilotResource | None = None,
    warehouse: WarehouseResource | None = None,
    lookback_days: int | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    export_options: Mapping[str, Any] | None = None,
    reexport_days: int = 3,
    tell: Tell | None = None,
    models: bool | str = False,
) -> dg.Definitions:
    """Assets, jobs, schedules and sensors of one OpenPanel project and one Userpilot environment.

    Both load without any variable; what is missing is said by the run that needs it. Executor, loggers and resource
    keys of the code location are left to it. What schedules and sensors run are jobs of ours, which run in one process
    each; what people start by hand or as a backfill has the code location's executor.

    Args:
        start_date: the first partition; START_DATE if left out.
        questions: charts, funnels, dimensions and filters, or their YAML file; that of OPENPANEL_REPORTS if left out.
        timezone: the organization's; that of ``openpanel``, or OPENPANEL_TIMEZONE, if left out.
        instance: name of a second project, for its keys, schema and schedules, so that both can be merged.
        openpanel, userpilot, warehouse: resources; they are bound to the assets, so nothing of the caller's can clash.
        lookback_days: see :func:`openpanel_nightly_schedule`.
        backfill_policy: how many days one run of a backfill of OpenPanel takes; see :func:`openpanel_assets`.
        export_options: of every export of Userpilot, see :func:`userpilot_assets`.
        reexport_days: days before yesterday that are exported again every night.
        tell: called with every alert; see :func:`connector.dagster.alerts.connector_alerts`.
        models: also the package's dbt models; a text is their prefix, see :func:`models_definitions`.

    Raises:
        SettingsError: START_DATE is not a date, a chart asks for what the server does not know, timezones differ ...
    """
    Privacy.from_environment(environment())  # rules that cannot be kept are told when the code location loads
    shared: dict[str, Any] = {
        "start_date": start_date, "instance": instance, "translator": translator, "warehouse": warehouse
    }  # fmt: skip
    landed = dg.Definitions.merge(
        openpanel_definitions(
            questions=questions,
            timezone=timezone,
            openpanel=openpanel,
            lookback_days=lookback_days,
            backfill_policy=backfill_policy,
            **shared,
        ),
        userpilot_definitions(options=export_options, userpilot=userpilot, reexport_days=reexport_days, **shared),
    )
    parts = [landed, _upkeep(landed, instance, warehouse, tell)]
    if models:
        prefix = "" if models is True else models
        parts.append(models_definitions(prefix=prefix, streams=landed_streams(questions), **shared))
    return dg.Definitions.merge(*parts)


def _upkeep(
    found: dg.Definitions, instance: str, warehouse: WarehouseResource | None, tell: Tell | None
) -> dg.Definitions:
    """The nightly clean-up, maintenance, and alerts about the assets of one instance."""
    assets = [asset for asset in found.assets or () if isinstance(asset, dg.AssetsDefinition)]
    suffix = f"_{instance}" if instance else ""
    return dg.Definitions(
        schedules=[
            prune_schedule(name=f"connector_prune{suffix}", warehouse=warehouse),
            maintain_schedule(name=f"connector_maintain{suffix}", warehouse=warehouse),
        ],
        sensors=connector_alerts(assets, tell=tell, name=f"connector_alerts{suffix}", warehouse=warehouse),
    )


def openpanel_definitions(
    *,
    start_date: date | str | None = None,
    questions: Questions | Path | None = None,
    tables: Collection[str] = (),
    timezone: str = "",
    instance: str = "",
    translator: ConnectorTranslator | None = None,
    openpanel: OpenPanelResource | None = None,
    warehouse: WarehouseResource | None = None,
    lookback_days: int | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
) -> dg.Definitions:
    """One OpenPanel project alone; arguments as for :func:`build_definitions`.

    Args:
        tables: names of streams, such as ``events``; if left out, all except those that the report config does not ask
            for: charts and funnels without any, and what costs many requests.

    Raises:
        SettingsError: a table does not exist, START_DATE is not a date ...
    """
    env = environment()
    zone = one_timezone(timezone, openpanel)
    openpanel = (openpanel or OpenPanelResource()).in_timezone(zone)
    assets = openpanel_assets(
        start_date=_first_day(start_date, env),
        streams=chosen(streams(questions_of(questions, env)), tables),
        timezone=zone,
        instance=_fit(instance),
        translator=translator,
        openpanel=openpanel,
        warehouse=warehouse or WarehouseResource(),
        backfill_policy=backfill_policy,
    )
    events = [asset for asset in assets if name_of(asset) == EVENTS.name]
    prefix = f"openpanel_{instance}" if instance else "openpanel"
    schedules = openpanel_nightly_schedules(
        assets, name=f"{prefix}_nightly", lookback_days=lookback_days, warehouse=warehouse
    )
    if any(name_of(asset) in INTRADAY for asset in assets):
        schedules.append(openpanel_intraday_schedule(assets, name=f"{prefix}_intraday", warehouse=warehouse))
    if snapshots_of(assets):
        schedules.append(openpanel_lists_schedule(assets, name=f"{prefix}_lists", warehouse=warehouse))
    return dg.Definitions(
        assets=assets,
        asset_checks=property_checks(assets, instance=instance, warehouse=warehouse),
        schedules=schedules,
        sensors=[
            openpanel_drift_sensor(
                asset,
                EVENTS.of(instance) if instance else EVENTS,
                name=f"{prefix}_drift_sensor",
                openpanel=openpanel,
                warehouse=warehouse,
            )
            for asset in events
        ],
    )


def userpilot_definitions(
    *,
    start_date: date | str | None = None,
    options: Mapping[str, Any] | None = None,
    lookups: Collection[str] = (),
    instance: str = "",
    translator: ConnectorTranslator | None = None,
    userpilot: UserpilotResource | None = None,
    warehouse: WarehouseResource | None = None,
    reexport_days: int = 3,
) -> dg.Definitions:
    """One Userpilot environment alone; arguments as for :func:`build_definitions`.

    Args:
        options: of every export, see :func:`userpilot_assets`.
        lookups: names of lookups, such as ``flows``; all of them if left out.

    Raises:
        SettingsError: a lookup does not exist, START_DATE is not a date.
    """
    assets = userpilot_assets(
        start_date=_first_day(start_date, environment()),
        options=options,
        lookups=chosen(LOOKUPS, lookups),
        instance=_fit(instance),
        translator=translator,
        userpilot=userpilot,
        warehouse=warehouse,
    )
    prefix = f"userpilot_{instance}" if instance else "userpilot"
    return dg.Definitions(
        assets=assets,
        asset_checks=property_checks(assets, instance=instance, warehouse=warehouse),
        schedules=[
            userpilot_nightly_export_schedule(
                assets, name=f"{prefix}_nightly_export", lookback_days=reexport_days, warehouse=warehouse
            ),
            userpilot_lookups_schedule(assets, name=f"{prefix}_lookups", warehouse=warehouse),
        ],
        sensors=[
            userpilot_export_sensor(
                assets,
                EXPORTED_EVENTS.of(instance) if instance else EXPORTED_EVENTS,
                name=f"{prefix}_export_sensor",
                translator=translator,
                userpilot=userpilot,
                warehouse=warehouse,
            ),
        ],
    )


def _first_day(given: date | str | None, env: Environment) -> date:
    if given is None:
        return Settings.load(env).start_date
    return Environment({"start_date": given}).day("start_date", "") if isinstance(given, str) else given


def _fit(instance: str) -> str:
    """A name that may stand in asset keys, schemas and the names of schedules."""
    if not re.fullmatch(r"[a-z0-9_]*", instance):
        raise SettingsError(
            "instance", f"is {instance!r}", next_step="write small letters, digits and underscores, such as my_shop."
        )
    return instance
