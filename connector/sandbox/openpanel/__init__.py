"""A simulated OpenPanel: one server in memory that behaves like the real one.

It is built from recorded answers of the published server and from its documentation. It contains no client code,
writes nothing to disk and has no dashboard.
"""

from connector.sandbox.openpanel.auth import READ, ROOT, WRITE
from connector.sandbox.openpanel.store import Client, Event, Group, Organisation, Profile, Project, event_id
from connector.sandbox.openpanel.vendor import OpenPanel

__all__ = [
    "READ",
    "ROOT",
    "WRITE",
    "Client",
    "Event",
    "Group",
    "OpenPanel",
    "Organisation",
    "Profile",
    "Project",
    "event_id",
]
