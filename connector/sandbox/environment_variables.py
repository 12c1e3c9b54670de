"""The environment variables that point this package at the sandbox."""

from connector.sandbox.openpanel import READ
from connector.sandbox.userpilot import USERPILOT_KEY


def vendor_variables(*, openpanel: str = "", userpilot: str = "") -> dict[str, str]:
    """Names and values of the environment variables, for the vendors whose address is given.

    Args:
        openpanel: the URL that :func:`serve` gives.
        userpilot: the first URL that :func:`serve_userpilot` gives.
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
