"""Everything Dagster shows, gathered once. Settings come from the environment; see docs/settings.md."""

import dagster as dg

from connector.dagster import build_definitions
from dagster_project.dbt import models

# A choice of this deployment, for what people start by hand: the work waits for the network, not for cores, and a
# process for each step would cost more than the step. The connector sets no executor for a code location.
defs = dg.Definitions.merge(build_definitions(), models(), dg.Definitions(executor=dg.in_process_executor))
