"""How texts and lists must be written in a query so that every server generation reads them as meant."""

import json
import re

_REWRITTEN = re.compile(r"-?\d+(\.\d+)?|true|false")


def quoted(value: str) -> str:
    """A text as the server will read it as text: it turns ``123``, ``true`` and JSON into values before validating."""
    try:
        json.loads(value)
    except ValueError:
        rewritten = bool(_REWRITTEN.fullmatch(value))
    else:
        rewritten = True
    return json.dumps(value) if rewritten else value
