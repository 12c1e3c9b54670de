"""Userpilot: its catalogue, its export jobs and its client. Nothing here knows OpenPanel, DuckDB or Dagster."""
