"""What processes share: locks, request budgets, the export ledger, Track's journals.

In files of one machine, which needs nothing, or in PostgreSQL, for several machines. ``place.py`` chooses; callers do
not know which it is.
"""
