"""Everything Dagster shows, gathered once. Settings come from the environment; see the README's table."""

import dagster as dg

from connector.dagster import build_definitions
from dagster_project.dbt import models

defs = dg.Definitions.merge(build_definitions(), models())
