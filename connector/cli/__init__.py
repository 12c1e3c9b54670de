"""The `connector` command: what Dagster does, for cron, Airflow and a terminal."""
