"""The `connector` command: the same verbs as in Dagster, for cron, Airflow and a terminal."""
