"""The dbt models that come with the package, in YAML."""

from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from connector.dagster.choice import landed_streams
from connector.dagster.components.common import LandingComponent
from connector.dagster.models import models_definitions


class ModelsParams(BaseModel):
    """Options of `dg scaffold defs`."""

    start_date: str = Field(default="2024-01-01", description="First partition, YYYY-MM-DD.")
    prefix: str = Field(default="", description="Begins the names of schemas, keys, groups and the sensor.")
    instance: str = Field(default="", description="Name of a second project.")


class _Scaffolder(dg.Scaffolder[ModelsParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[ModelsParams]:
        return ModelsParams

    def scaffold(self, request: "dg.ScaffoldRequest[Any]") -> None:
        dg.scaffold_component(request, request.params.model_dump(exclude_defaults=False))


@dg.scaffold_with(_Scaffolder)
class ConnectorModelsComponent(LandingComponent):
    """The package's dbt models below the landed tables, by day, with the sensor that builds what was landed.

    ``translation`` is that of the components that land: it names the assets that the models are below.
    """

    prefix: str = Field(
        default="",
        pattern=r"^([a-z][a-z0-9_]*)?$",
        description="Begins the names of schemas, keys, groups and the sensor: `product` gives product_marts/sessions.",
    )
    timezone: str = Field(default="", description="The organization's timezone; that of the landed tables if empty.")
    reports: str = Field(
        default="", description="The landed tables' file of charts and funnels; OPENPANEL_REPORTS if empty."
    )
    tables: list[str] = Field(
        default_factory=list, description="The tables that OpenPanel's component lands, if it names them."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Models and their sensor; nothing is parsed, and no warehouse is opened."""
        return models_definitions(
            start_date=self.first_day,
            prefix=self.prefix,
            instance=self.instance,
            timezone=self.timezone,
            translator=self.translator,
            warehouse=self.target,
            streams=landed_streams(context.path / self.reports if self.reports else None, self.tables),
        )
