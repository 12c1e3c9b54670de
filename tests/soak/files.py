"""Ways in which a file of an export is odd: what is done to its bytes, and what is promised then.

Each leaves the vendor's rows of the asked days what they are; where a file can be read in one way only, exactly these
land. A row that is added lies outside the asked days, or in no day at all.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Kind:
    """What is done to the lines of a file, and how the landing ends: with the rows, or with an error.

    Attributes:
        undated: the rest lands once rows without a usable time may be left out.
        blank_is_none: empty and missing are one, as in every CSV.
    """

    spoil: Callable[[bytes], bytes]
    outcome: Literal["exact", "told"]
    undated: bool = False
    blank_is_none: bool = False


def spoiled(content: bytes, kind: str) -> bytes:
    """A packed file of an export with the fault in it."""
    return gzip.compress(KINDS[kind].spoil(gzip.decompress(content)))


def _row(text: bytes, more: str) -> bytes:
    """A row like the file's first one, with other members behind its own."""
    first = text.split(b"\n", 1)[0] if text.strip() else b'{"event_type":"track","inserted_at":"2026-03-03T00:00:00Z"}'
    return first.strip()[:-1] + b"," + more.encode() + b"}\n"


def _cells(text: bytes) -> bytes:
    """The same rows as CSV."""
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    names = list(dict.fromkeys(["inserted_at", *(name for row in rows for name in row)]))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_cell(row.get(name)) for name in names] for row in rows])
    return out.getvalue().encode()


def _cell(value: object) -> object:
    return "" if value is None else json.dumps(value) if isinstance(value, dict | list) else value


def _no_time(time: str) -> Kind:
    return Kind(lambda text: text + _row(text, f'"inserted_at":"{time}"'), "told", undated=True)


KINDS = {
    "a key twice in a record": Kind(
        lambda text: text + _row(text, '"user_id":"other","inserted_at":"2020-01-01T00:00:00Z"'), "exact"
    ),
    "a day that does not exist": _no_time("2026-02-29"),
    "a second that does not exist": _no_time("2026-03-03T10:00:60Z"),
    "a time at infinity": _no_time("infinity"),
    "a mark in the middle of a file": Kind(lambda text: MARK + text.replace(b"\n", b"\n" + MARK, 1), "exact"),
    "blank lines, and CRLF": Kind(lambda text: b"\n \n" + text.replace(b"\n", b"\r\n") + b"\n\n", "exact"),
    "two records on a line": Kind(lambda text: text + 2 * _row(text, '"x":1').strip() + b"\n", "told"),
    "lines that end in CR": Kind(lambda text: (text + 2 * _row(text, '"x":1')).replace(b"\n", b"\r"), "told"),
    "latin-1": Kind(lambda text: text + _row(text, '"x":"#"').replace(b"#", b"\xe9"), "told"),
    "a cut record": Kind(lambda text: text + _row(text, '"x":"y"')[:-4], "told"),
    "CSV with blank lines": Kind(lambda text: b"\n" + _cells(text) + b"\n\n", "exact", blank_is_none=True),
    "CSV with both ends of lines": Kind(
        lambda text: _cells(text).replace(b"\n", b"\r\n", 1) + b"\r\n", "exact", blank_is_none=True
    ),
    "CSV with too few cells": Kind(lambda text: _cells(text) + b"2026-03-03\n", "told"),
    "CSV with its header twice": Kind(lambda text: _cells(text) + _cells(text).split(b"\n", 1)[0] + b"\n", "told"),
    "CSV that is cut": Kind(lambda text: _cells(text) + b'2026-03-03,"x', "told"),
    "CSV in latin-1": Kind(lambda text: _cells(text) + b"2026-03-03,\xe9\n", "told"),
}
