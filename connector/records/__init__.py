"""Fits every record to its table: a value without a column goes into `_extra`."""
