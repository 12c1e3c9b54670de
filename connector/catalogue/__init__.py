"""Every table and column as data: the vendors' streams, and the connector's own tables."""
