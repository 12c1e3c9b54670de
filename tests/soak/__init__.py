"""Attacks on the whole way from vendor to table: a matrix of faults, kills, concurrent runs, random schedules."""
