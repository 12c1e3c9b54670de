"""Simulated vendors: small HTTP servers that demos run on and that tests check our client against.

They are built from contracts and recorded answers, never from our client, so that a mistake in the client is not
repeated here. For the same reason this package imports nothing else of ours.
"""

from connector.sandbox.environment_variables import vendor_variables
from connector.sandbox.faults import Fault, Faults
from connector.sandbox.messages import Answer, Request
from connector.sandbox.openpanel import READ, ROOT, WRITE, Client, OpenPanel, event_id
from connector.sandbox.openpanel.sample import sample_day
from connector.sandbox.people import Company, Person, companies, people
from connector.sandbox.server import run, serve
from connector.sandbox.userpilot import USERPILOT_KEY, USERPILOT_KEY_WITHOUT_PLAN, Userpilot, World, serve_userpilot

__all__ = [
    "READ",
    "ROOT",
    "USERPILOT_KEY",
    "USERPILOT_KEY_WITHOUT_PLAN",
    "WRITE",
    "Answer",
    "Client",
    "Company",
    "Fault",
    "Faults",
    "OpenPanel",
    "Person",
    "Request",
    "Userpilot",
    "World",
    "companies",
    "event_id",
    "people",
    "run",
    "sample_day",
    "serve",
    "serve_userpilot",
    "vendor_variables",
]
