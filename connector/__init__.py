"""OpenPanel and Userpilot product analytics into DuckDB, landed whole by day.

The public names stand in ``__init__.pyi``, once. Each is imported when it is first used: a code location that only
needs the catalogue does not pay for an HTTP client and a database.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
