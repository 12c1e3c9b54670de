"""Writes texts into an address so that every server version reads them as texts."""

import json
import re
from urllib.parse import quote

from connector.errors import RejectedError

_REWRITTEN = re.compile(r"-?\d+(\.\d+)?|true|false")


def quoted(value: str) -> str:
    """A text, in quotes if needed: the server turns ``123``, ``true`` and JSON into values before it validates."""
    try:
        json.loads(value)
    except ValueError:
        rewritten = bool(_REWRITTEN.fullmatch(value))
    else:
        rewritten = True
    return json.dumps(value) if rewritten else value


def as_is(sent: str) -> str | None:
    """A number or a boolean without the quotes that :func:`quoted` added; None for any other text.

    Servers before 2026-04-09 rewrite nothing and read the quotes as part of the text. Later ones answer 400 to such a
    text without quotes. So every server understands exactly one of the two forms.
    """
    bare = sent[1:-1] if sent[:1] == sent[-1:] == '"' else ""
    return bare if _REWRITTEN.fullmatch(bare) else None


def segment(value: str) -> str:
    """A text as one segment of a path.

    Raises:
        RejectedError: it is ``.`` or ``..``, which HTTP clients and proxies resolve even if it is escaped.
    """
    if value in (".", ".."):
        raise RejectedError(
            f"{value!r} can be no part of an address",
            where="openpanel",
            next_step="check OPENPANEL_PROJECT_ID, and the names in the file of OPENPANEL_REPORTS.",
        )
    return quote(value, safe="")
