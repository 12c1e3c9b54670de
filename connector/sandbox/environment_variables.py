"""The environment variables by which this package takes the sandbox for its vendors."""

from connector.sandbox.openpanel import READ
from connector.sandbox.userpilot import USERPILOT_KEY


def vendor_variables(*, openpanel: str = "", userpilot: str = "") -> dict[str, str]:
    """What a process needs to be told: names and values, of those vendors whose address is given.

    Args:
        openpanel: a URL as :func:`serve` gives it.
        userpilot: the first one of :func:`serve_userpilot`.
    """
    found: dict[str, str] = {}
    if openpanel:
        found |= {
            "OPENPANEL_API_URL": openpanel,
            "OPENPANEL_CLIENT_ID": READ.id,
            "OPENPANEL_CLIENT_SECRET": READ.secret or "",
            "OPENPANEL_PROJECT_ID": "demo",
        }
    if userpilot:
        found |= {"USERPILOT_API_URL": userpilot, "USERPILOT_API_KEY": USERPILOT_KEY}
    return found
