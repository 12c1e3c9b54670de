"""Userpilot in Dagster: assets, schedules, the export sensor and the export log."""
