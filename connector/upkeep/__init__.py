"""Upkeep of an installation: doctor, prune and forget, one function each for the command line and Dagster."""
