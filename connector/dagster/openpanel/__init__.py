"""OpenPanel in Dagster: assets, schedules, the drift sensor, Track."""
