"""The DuckDB file: opening it, waiting for its lock, SQL text, the connector's own tables, reading frames."""
