"""OpenPanel and Userpilot product analytics into DuckDB, landed whole by day."""

from connector.errors import (
    BusyError,
    ConnectorError,
    ContractError,
    IncompleteError,
    RejectedError,
    SettingsError,
    SuddenDropError,
    TransientError,
)
from connector.landing import land, land_newer
from connector.openpanel.client import OpenPanel
from connector.openpanel.settings import OpenPanelSettings
from connector.openpanel.streams import EVENTS
from connector.settings import Settings
from connector.spool import Spool
from connector.stream import Column, Page, Receipt, Stream, Window
from connector.sync import sync_day
from connector.warehouse import Warehouse

__all__ = [
    "EVENTS",
    "BusyError",
    "Column",
    "ConnectorError",
    "ContractError",
    "IncompleteError",
    "OpenPanel",
    "OpenPanelSettings",
    "Page",
    "Receipt",
    "RejectedError",
    "Settings",
    "SettingsError",
    "Spool",
    "Stream",
    "SuddenDropError",
    "TransientError",
    "Warehouse",
    "Window",
    "land",
    "land_newer",
    "sync_day",
]
