"""Redaction: a text from outside as it may be shown, in one short line without secrets."""

import re
from functools import cache

# JSON may escape the slashes of a link with backslashes.
_SIGNED_QUERY = re.compile(r"(https?:(?:\\?/){2}[^\s\"'<>?]+)\?[^\s\"'<>]+")
_SIGNATURE = re.compile(r"(?i)\b(x-amz-[a-z-]+|signature|sig|awsaccesskeyid|key-pair-id)(=|%3d)[^&\s\"'<>]+")
# Secrets, which are never shown. Those below 8 characters are cut only as whole words, because inside other words they
# would make messages unreadable. Those below 4 are not cut: they occur everywhere.
_SECRETS: set[str] = set()
_CUT_INSIDE_WORDS, _SHORTEST_SECRET = 8, 4
# Without one of these characters, a message holds no escaped text.
_ESCAPES = re.compile(r"[\\%]")


def conceal(secret: str) -> None:
    """Cut this text out of everything that :func:`excerpt` returns from now on: a vendor may echo what we sent.

    It is also cut in the escaped forms of JSON, URLs and Python's repr.
    """
    secret = secret.strip()  # an error that repeats it may leave out a trailing newline
    if len(secret) >= _SHORTEST_SECRET:
        _SECRETS.add(secret)


def _without_secrets(text: str) -> str:
    escaped = _ESCAPES.search(text)
    for secret in tuple(_SECRETS):
        if escaped or len(secret) < _CUT_INSIDE_WORDS:
            text = _escaped_forms(secret).sub("[cut]", text)
        else:
            text = text.replace(secret, "[cut]")
    return text


@cache  # built on first use, because compiling one takes milliseconds
def _escaped_forms(secret: str) -> re.Pattern[str]:
    pattern = "".join(map(_escaped_char, re.findall(r"\\+|[^\\]", secret)))
    return re.compile(pattern if len(secret) >= _CUT_INSIDE_WORDS else rf"(?<![\w-]){pattern}(?![\w-])")


def _escaped_char(chars: str) -> str:
    r"""A pattern for one character in every form: plain or behind backslashes, ``%2F``, ``\u002f``, ``\x2f``, ``\n``.

    JSON inside JSON is escaped twice: backslashes double, and a percent sign becomes ``%25``. A run of backslashes is
    handled as one piece. Handled one by one, each could be the escape of the next, and matching would take forever.
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
    """A text from outside in one line of at most ``limit`` characters, without our secrets and presigned links.

    Control characters would let a vendor, or the author of an event name, forge lines in our logs. The query of a
    presigned link works like a password.
    """
    if isinstance(text, bytes):
        text = text[: limit * 8].decode("utf-8", "replace")
    text = _without_secrets(text)
    text = _SIGNATURE.sub(r"\1\2[cut]", _SIGNED_QUERY.sub(r"\1?[cut]", text))
    if not text.isprintable():  # control characters, unpaired surrogates, marks that change the writing direction
        text = "".join(char if char.isprintable() else " " for char in text)
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"
