"""Userpilot bulk exports: the request, the state machine of a job, its ledger and its files."""
