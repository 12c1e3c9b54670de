"""A simulated Userpilot: its bulk export, the host of the exported files, and its lookups, in memory.

Built from the vendor's pages, read twice: as they stand, and as strictly or strangely as they allow. It holds no
client code and keeps nothing on disk; it has no realtime API, no import and no erasure by HTTP.
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
