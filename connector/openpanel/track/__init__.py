"""Sends rows of the warehouse to OpenPanel's Track API."""
