"""One Userpilot environment in YAML."""

from typing import Any

import dagster as dg
from pydantic import Field

from connector.dagster.components.common import LandingComponent, LandingParams, scaffold, variable
from connector.dagster.definitions import userpilot_definitions
from connector.dagster.resources import UserpilotResource


class _Scaffolder(dg.Scaffolder[LandingParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[LandingParams]:
        return LandingParams

    def scaffold(self, request: "dg.ScaffoldRequest[Any]") -> None:
        scaffold(request, api_key_variable="USERPILOT_API_KEY")


@dg.scaffold_with(_Scaffolder)
class UserpilotComponent(LandingComponent):
    """Lands one Userpilot environment: exports asked for, waited on by a sensor and landed by day, and the lookups."""

    api_key_variable: str = Field(default="USERPILOT_API_KEY", description="Variable that holds the API key.")
    api_url: str = Field(default="", description="Base URL; USERPILOT_API_URL or the hosted service if empty.")
    lookups: list[str] = Field(default_factory=list, description="Lookups to land, such as flows; all if empty.")
    export: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of every export: event_type, user_id, company_id, segment_id, exclusions, format, emails.",
    )
    reexport_days: int = Field(
        default=3, ge=0, description="Days before yesterday that are exported again every night."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, schedules and the export sensor; nothing is asked of the vendor, and no secret is read."""
        return userpilot_definitions(
            start_date=self.first_day,
            options=self.export,
            lookups=self.lookups,
            instance=self.instance,
            translator=self.translator,
            userpilot=UserpilotResource(
                api_url=self.api_url, api_key=variable(self.api_key_variable), **self.rules(context)
            ),
            warehouse=self.target,
            reexport_days=self.reexport_days,
        )
