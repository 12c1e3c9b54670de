"""Spooled files become rows: each landing replaces what it covers in one transaction."""
