"""One OpenPanel project in YAML."""

from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from dagster.components.resolved.core_models import (
    MultiRunBackfillPolicyModel,
    SingleRunBackfillPolicyModel,
    resolve_backfill_policy,
)
from pydantic import Field

from connector.dagster.components.common import LandingComponent, LandingParams, scaffold, variable
from connector.dagster.definitions import openpanel_definitions
from connector.dagster.resources import OpenPanelResource

_VARIABLES = {
    "client_id_variable": "OPENPANEL_CLIENT_ID",
    "client_secret_variable": "OPENPANEL_CLIENT_SECRET",
    "project_id_variable": "OPENPANEL_PROJECT_ID",
}

# As in the YAML of Dagster's own components: `type: multi_run`, and how many partitions a run takes.
_BackfillPolicy = Annotated[
    dg.BackfillPolicy | None,
    dg.Resolver(
        resolve_backfill_policy, model_field_type=SingleRunBackfillPolicyModel | MultiRunBackfillPolicyModel | None
    ),
]


class _Scaffolder(dg.Scaffolder[LandingParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[LandingParams]:
        return LandingParams

    def scaffold(self, request: "dg.ScaffoldRequest[Any]") -> None:
        scaffold(request, **_VARIABLES)


@dg.scaffold_with(_Scaffolder)
class OpenPanelComponent(LandingComponent):
    """Lands one OpenPanel project: events, insights, charts and funnels by day, with its schedules and drift sensor."""

    client_id_variable: str = Field(default="OPENPANEL_CLIENT_ID", description="Variable that holds the client id.")
    client_secret_variable: str = Field(
        default="OPENPANEL_CLIENT_SECRET", description="Variable that holds the client secret."
    )
    project_id_variable: str = Field(
        default="OPENPANEL_PROJECT_ID", description="Variable that holds the project id; not read if project_id is set."
    )
    project_id: str = Field(default="", description="The project's id.")
    api_url: str = Field(default="", description="Base URL; OPENPANEL_API_URL or the hosted service if empty.")
    timezone: str = Field(default="", description="The organization's timezone; OPENPANEL_TIMEZONE or UTC if empty.")
    reports: str = Field(
        default="", description="File of charts and funnels, relative to this one; OPENPANEL_REPORTS if empty."
    )
    tables: list[str] = Field(
        default_factory=list,
        description="Tables to land, such as events; if empty, all but those for which the reports file has to ask.",
    )
    lookback_days: int | None = Field(default=None, ge=0, description="Days before yesterday landed every night.")
    backfill_policy: _BackfillPolicy = Field(
        default=None,
        description="How many days one run of a backfill takes, such as `type: multi_run` with "
        "`max_partitions_per_run: 7`; all of a contiguous range if left out.",
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, schedules and the drift sensor; nothing is asked of the vendor, and no secret is read."""
        return openpanel_definitions(
            start_date=self.first_day,
            questions=context.path / Path(self.reports) if self.reports else None,
            tables=self.tables,
            timezone=self.timezone,
            instance=self.instance,
            translator=self.translator,
            openpanel=OpenPanelResource(
                api_url=self.api_url,
                client_id=variable(self.client_id_variable),
                client_secret=variable(self.client_secret_variable),
                project_id=self.project_id or variable(self.project_id_variable),
                **self.rules(context),
            ),
            warehouse=self.target,
            lookback_days=self.lookback_days,
            backfill_policy=self.backfill_policy,
        )
