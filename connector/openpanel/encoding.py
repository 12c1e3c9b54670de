"""How texts must be written in an address so that every server generation reads them as meant."""

import json
import re
from urllib.parse import quote

from connector.errors import RejectedError

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


def as_is(sent: str) -> str | None:
    """A number or a boolean that :func:`quoted` put in quotes, without them; None for any other text.

    Servers before 2026-04-09 rewrite nothing and take the quotes for a part of the text. Later ones answer such a text
    without quotes with 400, so one of the two is understood and none is misunderstood.
    """
    bare = sent[1:-1] if sent[:1] == sent[-1:] == '"' else ""
    return bare if _REWRITTEN.fullmatch(bare) else None


def segment(value: str) -> str:
    """A text as one step of a path.

    Raises:
        RejectedError: it is ``.`` or ``..``, which whoever reads an address takes for a step up, however it is spelt.
    """
    if value in (".", ".."):
        raise RejectedError(
            f"{value!r} can be no part of an address",
            where="openpanel",
            next_step="check OPENPANEL_PROJECT_ID, and the names in the file of OPENPANEL_REPORTS.",
        )
    return quote(value, safe="")
