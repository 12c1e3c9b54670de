"""A rule about personal data: a place in the records of a stream, and what happens there.

A rule that cannot work is refused when it is read, with what is possible instead.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from connector.errors import SettingsError
from connector.redaction import excerpt
from connector.stream import Stream

EXTRA = "_extra"  # no folded name has an underscore
Segments = tuple[str, ...]

_PATH = re.compile(r"[^\s.\x00-\x1f\x7f][^.\x00-\x1f\x7f]*(\.[^.\x00-\x1f\x7f]+)*")
_BREAKS = {ord(char): None for char in "_- "}


@dataclass(frozen=True)
class Rule:
    """One rule: its place (segments, of which the first is a column), and whether to drop or hash there.

    Attributes:
        anywhere: the path may be at any depth.
    """

    path: Segments
    act: Literal["drop", "hash"]
    anywhere: bool = False


def folded(name: str) -> str:
    """One form for names that differ in case and word breaks: ``firstName``, ``first name``, ``first_name``."""
    return name.lower().translate(_BREAKS)


def segments(name: str) -> Segments:
    """``profile.firstName`` as folded names, of which the first is a column."""
    return tuple(folded(part) for part in name.split("."))


def checked(body: object, stream: Stream, where: str) -> Iterator[Rule]:
    """The rules of a file for one stream.

    Raises:
        SettingsError: names the path, and what is possible instead.
    """
    for act, paths in mapping(body, where).items():
        if act not in ("drop", "hash"):
            raise SettingsError(f"{where}.{excerpt(str(act), 40)}", "is not known", next_step="write drop or hash.")
        if not isinstance(paths, list | tuple):
            raise SettingsError(f"{where}.{act}", "is not a list", next_step="write a list of columns and paths.")
        for path in paths:
            yield _rule(path, act, stream, f"{where}.{act}")


def _rule(path: object, act: Literal["drop", "hash"], stream: Stream, where: str) -> Rule:
    shown = excerpt(str(path), 60)
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise SettingsError(
            where, f"holds {shown!r}, which is no path", next_step="write column, column.member or **.member."
        )
    if path.startswith("**."):
        rest = segments(path[3:])
        if "*" in rest or "**" in rest:
            raise SettingsError(where, f"holds {shown!r}", next_step="behind **. write names only.")
        return Rule(rest, act, anywhere=True)
    first, *inner = segments(path)
    if "**" in (first, *inner) or first == "*":
        raise SettingsError(where, f"holds {shown!r}", next_step="write ** in front only, as in **.email.")
    if path.startswith("_extra.") and inner:
        return Rule((EXTRA, *inner), act)
    column = next((one for one in stream.columns if folded(one.name) == first), None)
    if column is None:
        raise SettingsError(
            where,
            f"holds {shown!r}, and {stream.table} has no column {path.split('.')[0]}",
            next_step=f"use one of {', '.join(one.name for one in stream.columns)}; for a field that the catalogue "
            f"does not know write _extra.{path}.",
        )
    is_key = column.name in (*stream.primary_key, stream.replication_key)
    if inner and column.type != "JSON":
        raise SettingsError(
            where,
            f"holds {shown!r}, and {column.name} is {column.type}, which has no members",
            next_step="drop it whole.",
        )
    if act == "drop" and is_key:
        raise SettingsError(
            where,
            f"holds {shown!r}, which is part of the key: without it rows cannot be told apart",
            next_step="hash it instead." if column.type == "VARCHAR" else "leave it out.",
        )
    if act == "hash" and not inner and column.type not in ("VARCHAR", "JSON", "VARCHAR[]"):
        raise SettingsError(
            where,
            f"holds {shown!r}, a {column.type} that cannot hold a hash",
            next_step="leave it out." if is_key else "drop it instead.",
        )
    return Rule((first, *inner), act)


def mapping(body: object, where: str) -> Mapping[Any, Any]:
    """The part of a rules file that must be a mapping.

    Raises:
        SettingsError: it is not.
    """
    if not isinstance(body, Mapping):
        raise SettingsError(
            where, f"is {type(body).__name__}", next_step="write vendor.table: {drop: [...], hash: [...]}."
        )
    return body
