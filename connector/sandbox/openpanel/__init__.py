"""A simulated OpenPanel: one server with the manners of the real one, in memory.

Built from recorded answers of the published server and from its documentation, so that it can judge a client. It
holds no client code, keeps nothing on disk and answers no dashboard.
"""

from connector.sandbox.openpanel.auth import READ, ROOT, WRITE
from connector.sandbox.openpanel.store import Client, Event, Group, Organisation, Profile, Project
from connector.sandbox.openpanel.timestamps import event_id
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
