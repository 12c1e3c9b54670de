"""Settings and secrets -> connector objects. Code locations load without any of them; a run says what is missing.

A field left empty is read from the environment when a run needs it, so a secret is never part of the code location's
snapshot. ``dg.EnvVar`` works too; a plain string would be visible in the UI and is meant for tests.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import Field

from connector.errors import SettingsError
from connector.openpanel.settings import OpenPanelSettings
from connector.settings import Environment, Settings, environment
from connector.userpilot.settings import UserpilotSettings
from connector.warehouse.connection import At, Connection, Warehouse

# Loading definitions needs no HTTP: clients are imported when a run or a tick makes one.
if TYPE_CHECKING:
    from connector.openpanel.client import OpenPanel
    from connector.userpilot.client import Userpilot

# Enough to tell environments apart, and too little to find out what it was made of.
FINGERPRINT = 16


class OpenPanelResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One OpenPanel project. Empty fields come from OPENPANEL_API_URL, _CLIENT_ID, _CLIENT_SECRET, _PROJECT_ID."""

    api_url: str = Field(default="", description="Base URL; OPENPANEL_API_URL if empty.")
    client_id: str = Field(default="", description="A read or root client; OPENPANEL_CLIENT_ID if empty.")
    client_secret: str = Field(default="", description="Use dg.EnvVar; OPENPANEL_CLIENT_SECRET if empty.")
    project_id: str = Field(default="", description="OPENPANEL_PROJECT_ID if empty.")
    timezone: str = Field(
        default="", description="The organization's timezone; the builder's, OPENPANEL_TIMEZONE or UTC if empty."
    )
    personal_data: str = Field(default="", description="File of rules; CONNECTOR_PERSONAL_DATA if empty.")
    hash_key: str = Field(default="", description="Use dg.EnvVar; CONNECTOR_HASH_KEY if empty.")

    def client(self) -> "OpenPanel":
        """A client; close it, or use it as a context manager."""
        from connector.openpanel.client import OpenPanel

        return OpenPanel.from_settings(self.settings())

    def in_timezone(self, timezone: str) -> "OpenPanelResource":
        """This resource with the timezone whose days the assets have.

        Raises:
            SettingsError: it has another timezone.
        """
        zone = one_timezone(timezone, self)
        return self if self.timezone else self.model_copy(update={"timezone": zone})

    def settings(self) -> OpenPanelSettings:
        """This resource's fields over the environment's variables, validated.

        Raises:
            SettingsError: names the variable that is missing or malformed.
        """
        given = {
            "OPENPANEL_API_URL": self.api_url,
            "OPENPANEL_CLIENT_ID": self.client_id,
            "OPENPANEL_CLIENT_SECRET": self.client_secret,
            "OPENPANEL_PROJECT_ID": self.project_id,
            "OPENPANEL_TIMEZONE": self.timezone,
            "CONNECTOR_PERSONAL_DATA": self.personal_data,
            "CONNECTOR_HASH_KEY": self.hash_key,
        }
        return OpenPanelSettings.load(_over_environment(given))


class UserpilotResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One Userpilot environment. Empty fields come from USERPILOT_API_URL and USERPILOT_API_KEY."""

    api_url: str = Field(default="", description="Base URL; USERPILOT_API_URL if empty.")
    api_key: str = Field(default="", description="Use dg.EnvVar; USERPILOT_API_KEY if empty.")
    personal_data: str = Field(default="", description="File of rules; CONNECTOR_PERSONAL_DATA if empty.")
    hash_key: str = Field(default="", description="Use dg.EnvVar; CONNECTOR_HASH_KEY if empty.")

    def client(self) -> "Userpilot":
        """A client; close it, or use it as a context manager."""
        from connector.userpilot.client import Userpilot

        return Userpilot.from_settings(self.settings())

    def fingerprint(self) -> str:
        """Which environment this is, in a few characters that tell neither the key nor the address.

        Raises:
            SettingsError: names the variable that is missing or malformed.
        """
        settings = self.settings()
        key = settings.api_key.reveal().encode()
        return hmac.new(key, f"environment {settings.api_url}".encode(), hashlib.sha256).hexdigest()[:FINGERPRINT]

    def settings(self) -> UserpilotSettings:
        """This resource's fields over the environment's variables, validated.

        Raises:
            SettingsError: names the variable that is missing or malformed.
        """
        given = {
            "USERPILOT_API_URL": self.api_url,
            "USERPILOT_API_KEY": self.api_key,
            "CONNECTOR_PERSONAL_DATA": self.personal_data,
            "CONNECTOR_HASH_KEY": self.hash_key,
        }
        return UserpilotSettings.load(_over_environment(given))


class WarehouseResource(DuckDBResource):
    """A DuckDBResource that waits for the warehouse's lock, closes after errors, and can open read-only.

    Attributes:
        database: a file path or a URL, as WAREHOUSE has it; WAREHOUSE if empty.
        spool_dir: where files wait before they are landed; SPOOL_DIR if empty.
        lock_wait: seconds to wait for other processes.
    """

    database: str = Field(default="", description="A DuckDB file or a URL; WAREHOUSE or warehouse.duckdb if empty.")
    spool_dir: str = Field(default="", description="Staged files before they are landed; SPOOL_DIR if empty.")
    lock_wait: float = Field(default=300.0, description="Seconds to wait while another process holds the file.")

    def warehouse(self) -> Warehouse:
        """The connector's own handle: opened late, closed early."""
        return Warehouse(self.url, lock_wait=self.lock_wait)

    @property
    def url(self) -> str:
        """What names the warehouse. May hold a password, so it is never shown."""
        return self._settings().warehouse

    def fingerprint(self) -> str:
        """Which warehouse this is, for a run's tag: its name and a few characters; empty while settings are wrong."""
        with suppress(SettingsError):
            warehouse = self.warehouse()
            return f"{warehouse.catalog}-{hashlib.sha256(warehouse.url.encode()).hexdigest()[:8]}"
        return ""

    def located(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """A table's spec with where it is: its name with the database in front, and the warehouse.

        While the settings cannot be read, the spec stays as it is: a code location loads without any variable.
        """
        table = str(spec.metadata.get("dagster/table_name", ""))
        with suppress(SettingsError):
            warehouse = self.warehouse()
            name = f"{warehouse.catalog}.{table}" if table.count(".") == 1 else table
            where = {"dagster/table_name": name, "dagster/uri": warehouse.uri, "dagster/storage_kind": "duckdb"}
            return spec.merge_attributes(metadata=where)
        return spec

    @property
    def spool_path(self) -> Path:
        return self._settings().spool_dir

    @contextmanager
    def get_connection(self) -> Iterator[Connection]:
        """A connection that may write, as users of DuckDBResource expect it; keep the block short."""
        with self.warehouse().write() as connection:
            yield connection

    @contextmanager
    def get_reader(self, at: At | None = None) -> Iterator[Connection]:
        """A connection that only reads; many may read at once.

        Args:
            at: a moment, or the number of a snapshot: the warehouse as it was then. Lakes only.
        """
        with self.warehouse().read(at=at) as connection:
            yield connection

    def _settings(self) -> Settings:
        return Settings.load(_over_environment({"WAREHOUSE": self.database, "SPOOL_DIR": self.spool_dir}))


def one_timezone(given: str, openpanel: OpenPanelResource | None) -> str:
    """The organization's timezone: as a builder or the resource was given it, else OPENPANEL_TIMEZONE, else UTC.

    Raises:
        SettingsError: the two were given different ones, or one that does not exist.
    """
    said = []
    for name, value in (("timezone", given), ("OpenPanelResource.timezone", openpanel.timezone if openpanel else "")):
        if text := _looked_up(value, environment()):
            said.append(Environment({name: text}).timezone(name, ""))
    if len(set(said)) > 1:
        raise SettingsError(
            "timezone",
            f"is {said[0]!r} for the assets, and {said[1]!r} in their OpenPanelResource",
            next_step="give it once: to the builder, to the resource, or as OPENPANEL_TIMEZONE.",
        )
    return said[0] if said else environment().timezone("OPENPANEL_TIMEZONE", "UTC")


def _looked_up(value: str, env: Environment) -> str:
    """A field's text; of an ``EnvVar`` the value of its variable."""
    return env.text(value.env_var_name) if isinstance(value, dg.EnvVar) else value


def _over_environment(given: dict[str, str]) -> Environment:
    """The environment with what the fields hold; an ``EnvVar`` in a field is looked up now, and only now.

    Raises:
        SettingsError: an ``EnvVar`` names a variable that is not set.
    """
    env = environment()
    held = {name: _looked_up(value, env) for name, value in given.items()}
    return Environment({**env.values, **{name: value for name, value in held.items() if value}})
