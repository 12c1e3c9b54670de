"""The `connector` command: what Dagster does, for cron, Airflow and a terminal."""

from connector.cli.main import main

__all__ = ["main"]
