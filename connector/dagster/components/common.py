"""What both components share: days, a warehouse, a translation, and what `dg scaffold defs` asks for."""

from datetime import date
from typing import Any

import dagster as dg
from dagster.components.utils.translation import ResolvedTranslationFn
from pydantic import BaseModel, Field

from connector.dagster.resources import WarehouseResource
from connector.dagster.translator import ConnectorTranslator
from connector.errors import SettingsError
from connector.stream import Stream


class LandingComponent(dg.Component, dg.Model, dg.Resolvable):
    """Fields of every component of this package; land nothing by itself."""

    start_date: str = Field(
        default="",
        pattern=r"^$|^\d{4}-\d{2}-\d{2}$",
        description="First partition, YYYY-MM-DD; START_DATE or 2024-01-01 if empty.",
    )
    instance: str = Field(
        default="",
        pattern=r"^[a-z0-9_]*$",
        description="Name of a second project: `shop` gives keys `<vendor>_shop/...` and a schema of that name.",
    )
    warehouse: str = Field(
        default="", description="A DuckDB file or a URL, such as of a lake; WAREHOUSE or warehouse.duckdb if empty."
    )
    lock_wait: float = Field(default=300.0, ge=0, description="Seconds to wait while others hold the warehouse.")
    spool_dir: str = Field(default="", description="Where files wait to be landed; SPOOL_DIR or .spool if empty.")
    personal_data: str = Field(
        default="",
        description="File of rules for personal data, relative to this one; CONNECTOR_PERSONAL_DATA if empty.",
    )
    hash_key_variable: str = Field(
        default="", description="Variable that holds the key of hashes; CONNECTOR_HASH_KEY if empty."
    )
    translation: ResolvedTranslationFn[Stream] = Field(
        default=None, description="Changes of every asset's key, group, owners, tags ...; `data` is the stream."
    )

    @property
    def first_day(self) -> date | None:
        """The first partition, if it is given here.

        Raises:
            SettingsError: there is no such day.
        """
        try:
            return date.fromisoformat(self.start_date) if self.start_date else None
        except ValueError:
            raise SettingsError(
                "start_date", f"is {self.start_date!r}, and there is no such day", next_step="write YYYY-MM-DD."
            ) from None

    def rules(self, context: dg.ComponentLoadContext) -> dict[str, Any]:
        """The fields of a resource that say what of a person's data is landed."""
        file = str(context.path / self.personal_data) if self.personal_data else ""
        return {"personal_data": file, "hash_key": variable(self.hash_key_variable)}

    @property
    def target(self) -> WarehouseResource:
        return WarehouseResource(database=self.warehouse, spool_dir=self.spool_dir, lock_wait=self.lock_wait)

    @property
    def translator(self) -> ConnectorTranslator:
        return _OfComponent(self)

    def get_asset_spec(self, stream: Stream) -> dg.AssetSpec:
        """How a stream appears in Dagster; override it in a subclass for what `translation` cannot say."""
        spec = ConnectorTranslator().spec(stream)
        return self.translation(spec, stream) if self.translation else spec


class _OfComponent(ConnectorTranslator):
    """A component's own idea of its assets."""

    def __init__(self, component: LandingComponent) -> None:
        self._component = component

    def spec(self, stream: Stream) -> dg.AssetSpec:
        return self._component.get_asset_spec(stream)

    def key(self, stream: Stream) -> dg.AssetKey:
        return self.spec(stream).key


class LandingParams(BaseModel):
    """Options of `dg scaffold defs`."""

    start_date: str = Field(default="2024-01-01", description="First partition, YYYY-MM-DD.")
    instance: str = Field(default="", description="Name of a second project.")


def variable(name: str) -> Any:
    """A resource's field that is read from a variable when it is needed; an empty name leaves the field empty."""
    return dg.EnvVar(name) if name else ""


def scaffold(request: "dg.ScaffoldRequest[Any]", **variables: str) -> None:
    """Write a component's YAML with what was given; a second project gets variables of its own names."""
    instance = request.params.instance
    attributes: dict[str, object] = {"start_date": request.params.start_date}
    if instance:
        attributes["instance"] = instance
        attributes |= {field: f"{name}_{instance.upper()}" for field, name in variables.items()}
    dg.scaffold_component(request, attributes)
