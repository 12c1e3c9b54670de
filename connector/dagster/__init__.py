"""The Dagster side: resources, asset and schedule builders, and one call for the usual project.

Nothing below this folder imports Dagster; nothing in it speaks HTTP or SQL.
"""

from connector.dagster.alerts import Alert, connector_alerts
from connector.dagster.definitions import build_definitions, openpanel_definitions, userpilot_definitions
from connector.dagster.failures import as_dagster_failure
from connector.dagster.models import models_definitions
from connector.dagster.openpanel.assets import openpanel_assets
from connector.dagster.openpanel.drift import openpanel_drift_sensor
from connector.dagster.openpanel.lists import openpanel_lists_schedule
from connector.dagster.openpanel.schedules import (
    openpanel_intraday_schedule,
    openpanel_nightly_schedule,
    openpanel_nightly_schedules,
)
from connector.dagster.openpanel.track import track_asset
from connector.dagster.resources import OpenPanelResource, UserpilotResource, WarehouseResource
from connector.dagster.translator import ConnectorTranslator
from connector.dagster.upkeep import maintain_schedule, prune_schedule
from connector.dagster.userpilot.assets import userpilot_assets
from connector.dagster.userpilot.export_sensor import userpilot_export_sensor
from connector.dagster.userpilot.schedules import userpilot_lookups_schedule, userpilot_nightly_export_schedule

__all__ = [
    "Alert",
    "ConnectorTranslator",
    "OpenPanelResource",
    "UserpilotResource",
    "WarehouseResource",
    "as_dagster_failure",
    "build_definitions",
    "connector_alerts",
    "maintain_schedule",
    "models_definitions",
    "openpanel_assets",
    "openpanel_definitions",
    "openpanel_drift_sensor",
    "openpanel_intraday_schedule",
    "openpanel_lists_schedule",
    "openpanel_nightly_schedule",
    "openpanel_nightly_schedules",
    "prune_schedule",
    "track_asset",
    "userpilot_assets",
    "userpilot_definitions",
    "userpilot_export_sensor",
    "userpilot_lookups_schedule",
    "userpilot_nightly_export_schedule",
]
