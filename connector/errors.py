"""Every way the connector can fail, named by what the caller should do next.

* ConnectorError
  x TransientError      wait and ask again
    + IncompleteError   the day arrived, but not whole; the old day is still in place
    + BusyError         another process holds the warehouse longer than we were told to wait
    + InProgressError   the vendor is still working on what we asked for; nothing is lost, ask again later
  x RejectedError       a rerun gets the same answer: credentials, plan or parameters
    + SettingsError     the answer is known before the first request: a setting is missing or malformed
  x ContractError       the answer is not of the promised shape: a person should look
    + SuddenDropError   the day shrank in a way that looks like a fault of the source

This room holds no policy: who retries what is decided where the retry happens.
"""

import re
from functools import cache

# A JSON text may write a link's slashes with backslashes.
_SIGNED_QUERY = re.compile(r"(https?:(?:\\?/){2}[^\s\"'<>?]+)\?[^\s\"'<>]+")
_SIGNATURE = re.compile(r"(?i)\b(x-amz-[a-z-]+|signature|sig|awsaccesskeyid|key-pair-id)(=|%3d)[^&\s\"'<>]+")
# Texts that are never shown, whoever sends them back to us. Below 8 characters only as whole words, as they would cut
# others in two; below 4 they would cut half of every message.
_CONCEALED: set[str] = set()
_CONCEALED_ANYWHERE, _SHORTEST_CONCEALED = 8, 4
# A message that holds none of these spells everything plainly.
_ESCAPES = re.compile(r"[\\%]")


def conceal(secret: str) -> None:
    """From now on this text is cut out of everything that :func:`excerpt` shows: a vendor may echo what we sent.

    As it is, and as JSON, an address or Python's repr would spell it.
    """
    secret = secret.strip()  # an error that repeats it may leave out the newline at its end
    if len(secret) >= _SHORTEST_CONCEALED:
        _CONCEALED.add(secret)


def _without_secrets(text: str) -> str:
    escaped = _ESCAPES.search(text)
    for secret in tuple(_CONCEALED):
        if escaped or len(secret) < _CONCEALED_ANYWHERE:
            text = _spellings(secret).sub("[cut]", text)
        else:
            text = text.replace(secret, "[cut]")
    return text


@cache  # made when it is first needed: compiling one takes milliseconds
def _spellings(secret: str) -> re.Pattern[str]:
    anywhere = "".join(map(_spelt, re.findall(r"\\+|[^\\]", secret)))
    return re.compile(anywhere if len(secret) >= _CONCEALED_ANYWHERE else rf"(?<![\w-]){anywhere}(?![\w-])")


def _spelt(chars: str) -> str:
    r"""One character in every spelling: plain or behind backslashes, ``%2F``, ``\u002f``, ``\x2f``, ``\n``.

    Escaped again, as in a JSON text within another, backslashes double and a percent sign becomes ``%25``. Backslashes
    in a row are one piece: each could be the escape of the next, and to try them all would take for ever.
    """
    char, times = chars[0], len(chars)
    utf8, utf16 = char.encode("utf-8", "surrogatepass"), char.encode("utf-16-be", "surrogatepass")
    escaped = (
        "".join(rf"(?i:%(?:25){{0,2}}{byte:02x})" for byte in utf8),
        "".join(rf"(?i:\\{{1,4}}u{utf16[at : at + 2].hex()})" for at in range(0, len(utf16), 2)),
        "".join(rf"(?i:\\{{1,4}}x{byte:02x})" for byte in utf8),
    )
    plain = rf"\\{{{times},{4 * times}}}" if char == "\\" else r"\\{0,4}" + re.escape(char)
    short = {" ": r"\+", "\n": r"\\{1,4}n", "\r": r"\\{1,4}r", "\t": r"\\{1,4}t"}.get(char)
    return f"(?:{'|'.join([plain, *(f'(?:{way}){{{times}}}' for way in escaped), *([short] if short else [])])})"


def excerpt(text: str | bytes, limit: int = 300) -> str:
    """What may be shown of something a vendor sent: one line, at most ``limit`` characters, no secrets of ours.

    Control characters would let a vendor (or whoever typed an event name) forge lines in our logs; the query of a
    presigned link is a password.
    """
    if isinstance(text, bytes):
        text = text[: limit * 8].decode("utf-8", "replace")
    text = _without_secrets(text)
    text = _SIGNATURE.sub(r"\1\2[cut]", _SIGNED_QUERY.sub(r"\1?[cut]", text))
    if not text.isprintable():  # control characters, halves of a pair, marks that turn the reading direction
        text = "".join(char if char.isprintable() else " " for char in text)
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


class ConnectorError(Exception):
    """What went wrong, where, and what to do next; the three parts every message of ours has.

    Attributes:
        what: the fact, with the received and the valid value.
        where: the string an operator searches for, such as ``openpanel.events[2026-03-04]``.
        next_step: one instruction.
    """

    def __init__(self, what: str, *, where: str, next_step: str) -> None:
        self.what, self.where, self.next_step = excerpt(what, 700), excerpt(where), excerpt(next_step, 700)
        super().__init__(f"{self.where}: {self.what} Next: {self.next_step}")

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return isinstance(self, TransientError)


class TransientError(ConnectorError):
    """The same request may succeed later: network, overload, rate limit.

    Attributes:
        unsent: it is certain that the vendor took nothing: no connection was made, or the rate limit refused.
    """

    def __init__(self, what: str, *, where: str, next_step: str, unsent: bool = False) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.unsent = unsent


class IncompleteError(TransientError):
    """A day was read, but cannot be proven whole; what was landed before is still in place.

    Attributes:
        announced: rows the vendor said the day has.
        received: rows that can be trusted.
    """

    def __init__(self, *, where: str, announced: int, received: int, because: str = "") -> None:
        super().__init__(
            f"the vendor announced {announced} rows and sent {received}{': ' + because if because else ''}.",
            where=where,
            next_step="rerun the partition; if it repeats, rows still arrive for this day: widen the lookback.",
        )
        self.announced, self.received = announced, received


class BusyError(TransientError):
    """Another process kept the warehouse locked for longer than the wait we were given."""


class InProgressError(TransientError):
    """The vendor is still working on what we asked for; it is remembered, so asking again goes on where this ended."""


class RejectedError(ConnectorError):
    """The vendor understood the request and refused it; asking again changes nothing.

    Attributes:
        status: HTTP status of the refusal, None where no request was needed to know.
    """

    def __init__(self, what: str, *, where: str, next_step: str, status: int | None = None) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.status = status


class SettingsError(RejectedError):
    """A setting is missing or malformed; the message names the variable."""

    def __init__(self, variable: str, problem: str, *, next_step: str) -> None:
        super().__init__(f"{variable} {problem}.", where="settings", next_step=next_step)
        self.variable = variable


class ContractError(ConnectorError):
    """The answer is not of the shape the vendor promised; nothing was landed from it."""


class SuddenDropError(ContractError):
    """A day that had rows came back empty or far smaller; the landed rows are still in place."""

    def __init__(self, *, where: str, landed: int, received: int) -> None:
        super().__init__(
            f"the day holds {landed} landed rows and the vendor now sends {received}.",
            where=where,
            next_step="look at the vendor's own count for this day; if the drop is real, land the day once more "
            "with --allow-drop (command line) or the run tag connector/allow_drop: true (Dagster).",
        )
        self.landed, self.received = landed, received
