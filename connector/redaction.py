"""What may be shown of a text that came from outside: one line, short, without secrets."""

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
