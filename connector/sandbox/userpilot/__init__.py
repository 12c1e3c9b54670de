"""A simulated Userpilot in memory: its bulk export, the host of the exported files, and its lookups.

It is built from the vendor's pages in two readings: literally, and as strictly or strangely as the text allows. It
contains no client code and writes nothing to disk. It has no realtime API, no import and no erasure by HTTP.
"""

from connector.sandbox.userpilot.behaviour import DOCUMENTED, ODD, World
from connector.sandbox.userpilot.jobs import Job
from connector.sandbox.userpilot.vendor import (
    USERPILOT_KEY,
    USERPILOT_KEY_WITHOUT_PLAN,
    Userpilot,
    serve_userpilot,
)

__all__ = [
    "DOCUMENTED",
    "ODD",
    "USERPILOT_KEY",
    "USERPILOT_KEY_WITHOUT_PLAN",
    "Job",
    "Userpilot",
    "World",
    "serve_userpilot",
]
