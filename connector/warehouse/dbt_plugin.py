"""dbt's way into a lake: ``plugins: [{module: connector.warehouse.dbt_plugin}]`` in profiles.yml.

dbt-duckdb opens a DuckDB in memory; this attaches the lake that WAREHOUSE names, with the connector's own extensions,
options and secrets, so the profile needs none. It holds what the catalogue needs to be held while dbt builds.
"""

import atexit
from contextlib import ExitStack
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from connector.settings import Settings
from connector.warehouse.connection import Warehouse
from connector.warehouse.sql import quoted


class Plugin(BasePlugin):
    """Attaches the lake to dbt's DuckDB, and makes its names the default of every cursor."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        self._warehouse = Warehouse(Settings.load().warehouse)
        self._held = ExitStack()
        atexit.register(self._held.close)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        self._held.enter_context(self._warehouse.lent_to(conn))

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        # The models name landed tables by schema and table alone.
        cursor.execute(f"use {quoted(self._warehouse.catalog)}")
