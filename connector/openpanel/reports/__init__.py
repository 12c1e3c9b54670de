"""Insights, charts and funnels: the report config, reading the answers, placing chart points in days."""
