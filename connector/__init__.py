"""OpenPanel and Userpilot product analytics into DuckDB, landed whole by day.

The public names, found where they live when they are first used: a code location that only needs the catalogue does
not pay for an HTTP client and a database.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector.errors import (
        BusyError,
        ConnectorError,
        ContractError,
        IncompleteError,
        InProgressError,
        RejectedError,
        SettingsError,
        SuddenDropError,
        TransientError,
    )
    from connector.frames import frame
    from connector.landing import land, land_newer
    from connector.openpanel.client import OpenPanel
    from connector.openpanel.settings import OpenPanelSettings
    from connector.openpanel.streams import EVENTS
    from connector.privacy import Privacy
    from connector.settings import Settings
    from connector.spool import Spool
    from connector.stream import Column, Page, Receipt, Stream, Window
    from connector.sync import sync_day
    from connector.userpilot.client import Userpilot
    from connector.userpilot.lookups import sync_lookup
    from connector.userpilot.settings import UserpilotSettings
    from connector.userpilot.streams import LOOKUPS
    from connector.userpilot.sync import Exports
    from connector.warehouse import Warehouse

_ROOMS = {
    "errors": (
        "BusyError",
        "ConnectorError",
        "ContractError",
        "IncompleteError",
        "InProgressError",
        "RejectedError",
        "SettingsError",
        "SuddenDropError",
        "TransientError",
    ),
    "frames": ("frame",),
    "landing": ("land", "land_newer"),
    "openpanel.client": ("OpenPanel",),
    "openpanel.settings": ("OpenPanelSettings",),
    "openpanel.streams": ("EVENTS",),
    "privacy": ("Privacy",),
    "settings": ("Settings",),
    "spool": ("Spool",),
    "stream": ("Column", "Page", "Receipt", "Stream", "Window"),
    "sync": ("sync_day",),
    "userpilot.client": ("Userpilot",),
    "userpilot.lookups": ("sync_lookup",),
    "userpilot.settings": ("UserpilotSettings",),
    "userpilot.streams": ("LOOKUPS",),
    "userpilot.sync": ("Exports",),
    "warehouse": ("Warehouse",),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "EVENTS",
    "LOOKUPS",
    "BusyError",
    "Column",
    "ConnectorError",
    "ContractError",
    "Exports",
    "InProgressError",
    "IncompleteError",
    "OpenPanel",
    "OpenPanelSettings",
    "Page",
    "Privacy",
    "Receipt",
    "RejectedError",
    "Settings",
    "SettingsError",
    "Spool",
    "Stream",
    "SuddenDropError",
    "TransientError",
    "Userpilot",
    "UserpilotSettings",
    "Warehouse",
    "Window",
    "frame",
    "land",
    "land_newer",
    "sync_day",
    "sync_lookup",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'connector' has no attribute {name!r}")
    return getattr(import_module(f"connector.{_WHERE[name]}"), name)
