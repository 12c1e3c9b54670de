"""The members of a JSON object, with nothing lost where a key stands in it twice.

JSON leaves open what a repeated key means, and readers take the last value. So do we. The values before it are kept as
a list beside it, under :func:`repeated` of the key. That name has no column, so the list lands in ``_extra``.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

_SUFFIX = " (repeated)"
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_RAWS = msgspec.json.Decoder(list[msgspec.Raw]).decode
_BLANKS = " \t\r\n"
# Numbers stay texts: they are only skipped, and Python refuses to read one of more than 4,300 digits.
_SKIPPING = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)


def repeated(key: str) -> str:
    """Where the earlier values of a repeated key stand: ``user_id (repeated)``."""
    return key + _SUFFIX


def unrepeated(name: str) -> str:
    """The key whose earlier values stand under this name; any other name as it is."""
    return name.removesuffix(_SUFFIX)


def members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """An object's members; each value keeps its spelling.

    Raises:
        msgspec.DecodeError: it is no object.
    """
    found = _MEMBERS(raw)
    return found if is_whole(found, raw) else _told_apart(_pairs(bytes(raw).decode()))


def objects(body: bytes | memoryview) -> list[dict[str, msgspec.Raw]]:
    """The members of each object in an array.

    Raises:
        msgspec.DecodeError: it is no array of objects.
    """
    found = _OBJECTS(body)
    return found if is_whole(found, body) else [members(raw) for raw in _RAWS(body)]


def is_whole(found: Any, raw: bytes | memoryview | msgspec.Raw) -> bool:
    """Whether what was read says all that was sent, so that no key came twice; False also where that is not certain.

    A value that a repeated key replaced is missing from the length of what is written again.
    """
    written = msgspec.json.encode(found)
    return len(written) == len(memoryview(raw)) or len(_compact(written)) == len(_compact(bytes(raw)))


def _compact(text: bytes) -> bytes:
    return msgspec.json.format(text, indent=-1)


def document(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """For ``json``'s ``object_pairs_hook``: the same rule for documents that are read as Python values."""
    found: dict[str, Any] = {}
    earlier: dict[str, list[Any]] = {}
    for key, value in pairs:
        if key in found:
            earlier.setdefault(repeated(key), []).append(found[key])
        found[key] = value
    # A record may hold a field of that name itself.
    return found | {name: [*([found[name]] if name in found else []), *values] for name, values in earlier.items()}


def _told_apart(pairs: Iterable[tuple[str, msgspec.Raw]]) -> dict[str, msgspec.Raw]:
    return {
        name: msgspec.Raw(msgspec.json.encode(value)) if isinstance(value, list) else value
        for name, value in document(pairs).items()
    }


def _pairs(text: str) -> Iterable[tuple[str, msgspec.Raw]]:
    """Every key of an object with its value, in the order they were sent. The text was proven to be an object."""
    at = _after_blanks(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _SKIPPING.raw_decode(text, at)
        start = _after_blanks(text, _after_blanks(text, at) + 1)
        _, end = _SKIPPING.raw_decode(text, start)
        yield key, msgspec.Raw(text[start:end].encode())
        at = _after_blanks(text, end)
        if text[at] == ",":
            at = _after_blanks(text, at + 1)


def _after_blanks(text: str, at: int) -> int:
    while text[at] in _BLANKS:
        at += 1
    return at
