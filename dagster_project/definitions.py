"""Everything Dagster shows, gathered once. Settings come from the environment; see the README's table."""

from connector.dagster import build_definitions

defs = build_definitions()
