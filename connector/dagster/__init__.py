"""The Dagster side: resources, asset and schedule builders, and one call for the usual project.

Nothing below this folder imports Dagster; nothing in it speaks HTTP or SQL.
"""

from connector.dagster.assets import openpanel_assets
from connector.dagster.definitions import build_definitions
from connector.dagster.drift import openpanel_drift_sensor
from connector.dagster.failures import as_dagster_failure
from connector.dagster.resources import OpenPanelResource, WarehouseResource
from connector.dagster.schedules import openpanel_intraday_schedule, openpanel_nightly_schedule
from connector.dagster.track import track_asset
from connector.dagster.translator import ConnectorTranslator

__all__ = [
    "ConnectorTranslator",
    "OpenPanelResource",
    "WarehouseResource",
    "as_dagster_failure",
    "build_definitions",
    "openpanel_assets",
    "openpanel_drift_sensor",
    "openpanel_intraday_schedule",
    "openpanel_nightly_schedule",
    "track_asset",
]
