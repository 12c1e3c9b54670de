"""Rows of the warehouse sent back to OpenPanel through its Track API."""
