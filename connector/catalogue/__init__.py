"""Every table and column as data: what each vendor can be asked for, and what the connector writes about itself."""
