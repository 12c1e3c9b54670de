"""OpenPanel: its catalogue and its client. Nothing here knows Userpilot, DuckDB or Dagster."""
