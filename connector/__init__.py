"""OpenPanel and Userpilot product analytics into DuckDB, landed whole by day.

The public names are listed in ``__init__.pyi`` only. Each is imported on first use, so that a code location that only
needs the catalogue does not load an HTTP client and a database.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
