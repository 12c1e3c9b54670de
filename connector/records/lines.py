"""Exported files as JSON lines fit for their table: unpacked, proven to their end, every record looked at once.

DuckDB reads lines with explicit types several times faster than it can tell which fields a record has, so the looking
happens here, block by block, in the same strict pass that pages take (``fit.py``). Names of files mean nothing; what
a file is, its first bytes say. CSV is left to DuckDB, whose reader is as fast as it is strict.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from connector.errors import ContractError, TransientError
from connector.records.files import BLOCK, BOM, DAMAGED, LONGEST_RECORD, Bounded, File, not_utf8, unpacked
from connector.records.fit import healed, lines_reader, lines_slowly
from connector.records.members import members, objects
from connector.redaction import excerpt
from connector.stream import Stream
from connector.system.files import private

# An array is one document, so it is held whole; exports are lines, and an array this long is no export of theirs.
LARGEST_ARRAY = 256 * 2**20


def fitted(files: Sequence[File], folder: Path, stream: Stream, *, where: str, slowly: bool = False) -> list[Path]:
    """JSON files as files of lines holding only declared fields and ``_extra``, one each.

    A value that does not fit its column, and a field that has none, stand in ``_extra``. A number that was sent as a
    text is that number, an empty text is none.

    Args:
        slowly: every record is looked into, also those that the strict pass lets through.

    Raises:
        ContractError: a record is no JSON object; the message names the file and the line.
        TransientError: the disk is full.
    """
    made = []
    for file in files:
        target = folder / f"{file.path.name}.lines"
        try:
            with unpacked(file.path, where) as source, open(target, "wb", opener=private) as out:
                _fit(file, source, out.write, _Reading(stream, where, slowly))
        except DAMAGED as fault:
            raise damaged(file.path, fault, where) from None
        made.append(target)
    return made


def damaged(path: Path, fault: Exception, where: str) -> ContractError | TransientError:
    """What is said of a file that cannot be unpacked: the disk is full, or the file is broken."""
    if isinstance(fault, OSError) and fault.errno:
        return TransientError(
            f"an exported file cannot be unpacked: {fault.strerror}",
            where=where,
            next_step="free space on the disk of SPOOL_DIR, then rerun; files that are there are kept.",
        )
    return ContractError(
        f"file {excerpt(path.name, 60)} is damaged: {excerpt(str(fault), 120)}",
        where=where,
        next_step="ask for a new export of these days; nothing was landed from this one.",
    )


@dataclass(frozen=True)
class _Reading:
    """How files are read: for which stream, and whether every record is looked into."""

    stream: Stream
    where: str
    slowly: bool


def _fit(file: File, source: Bounded, write: Callable[[bytes], object], how: _Reading) -> None:
    if file.kind == "array":
        write(lines_slowly(_records_of(source, file, how.where), how.stream))
        return
    reader = lines_reader(how.stream)
    for start, block in _blocks(source, file, how.where):
        if not how.slowly and _fits(reader, block):
            write(block)
            continue
        try:
            write(lines_slowly((record for _, record in _records_in(healed(block))), how.stream))
        except _NotARecordError as wrong:
            before = _lines_before(file, start, how.where)
            raise _no_record(file, f"line {before + wrong.line}", wrong, how.where) from None


def records_of(file: File, where: str) -> Iterator[tuple[str, dict[str, msgspec.Raw]]]:
    """Every record of a JSON file, with the place at which it stands: ``line 3``, or ``record 3`` of an array."""
    with unpacked(file.path, where) as source:
        if file.kind == "array":
            for number, record in enumerate(_records_of(source, file, where), start=1):
                yield f"record {number}", record
            return
        before = 0
        for _, block in _blocks(source, file, where):
            for line, record in _records_in(healed(block)):
                yield f"line {before + line}", record
            before += block.count(b"\n")


def _fits(reader: msgspec.json.Decoder[Any], block: bytes) -> bool:
    try:
        reader.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _blocks(source: Bounded, file: File, where: str) -> Iterator[tuple[int, bytes]]:
    """Whole lines, a block at a time, and where each block begins; the last line may lack its end."""
    rest, start = b"", 0
    while piece := source.read(BLOCK):
        end = piece.rfind(b"\n") + 1
        if end:
            yield start, rest + piece[:end]
            start += len(rest) + end
            rest = piece[end:]
        else:
            rest += piece
        if len(rest) > LONGEST_RECORD:
            raise ContractError(
                f"file {excerpt(file.path.name, 60)}, line {_lines_before(file, start, where) + 1}: a record is longer "
                f"than {LONGEST_RECORD // 2**20} MiB",
                where=where,
                next_step="nothing was landed; report the record to the vendor.",
            )
    if rest.strip():
        yield start, rest + b"\n"


def _lines_before(file: File, start: int, where: str) -> int:
    """How many lines end before a place in a file. Counted again: nothing is counted while all goes well."""
    lines = 0
    with unpacked(file.path, where) as source:
        while start > 0 and (piece := source.read(min(start, BLOCK))):
            lines += piece.count(b"\n")
            start -= len(piece)
    return lines


class _NotARecordError(Exception):
    """A line of a block is no JSON object."""

    def __init__(self, line: int, text: bytes, said: str) -> None:
        super().__init__(said)
        self.line, self.text = line, text


def _records_in(block: bytes) -> Iterator[tuple[int, dict[str, msgspec.Raw]]]:
    for number, line in enumerate(block.split(b"\n"), start=1):
        # Files that were put together may have a mark before any of their lines.
        text = line.removeprefix(BOM)
        if text.strip():
            try:
                text.decode()
                yield number, members(text)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
                raise _NotARecordError(number, text, _said(text, fault)) from None


def _said(text: bytes, fault: Exception) -> str:
    """What is wrong with a line, in words that help."""
    if isinstance(fault, UnicodeDecodeError):
        return not_utf8(text, fault)
    if "trailing characters" in str(fault) and text.lstrip()[:1] == b"{":
        between = ", with a carriage return between them" if b"\r" in text.strip() else ""
        return f"two records stand on one line{between}"
    return str(fault)


def _records_of(source: Bounded, file: File, where: str) -> list[dict[str, msgspec.Raw]]:
    document = source.read(LARGEST_ARRAY + 1)
    if len(document) > LARGEST_ARRAY:
        raise ContractError(
            f"file {excerpt(file.path.name, 60)} is one array of more than {LARGEST_ARRAY // 2**20} MiB",
            where=where,
            next_step="ask for fewer days at a time.",
        )
    try:
        document.decode()
        healthy = healed(document)
        # A record that was indented would be several lines.
        return objects(msgspec.json.format(healthy, indent=-1) if b"\n" in healthy else healthy)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        wrong = _NotARecordError(1, document, _said(document, fault))
        raise _no_record(file, _place(document, fault), wrong, where) from None


def _place(document: bytes, fault: Exception) -> str:
    """Where in an array its reader stopped."""
    said = str(fault)
    if isinstance(fault, UnicodeDecodeError):
        return _line_of(document, fault.start)
    if byte := re.search(r"\(byte (\d+)\)", said):
        return _line_of(document, int(byte[1]))
    if "truncated" in said:
        return _line_of(document, len(document.rstrip()))
    record = re.search(r"`\$\[(\d+)\]", said)
    return f"record {int(record[1]) + 1}" if record else "the one record that it is"


def _line_of(document: bytes, at: int) -> str:
    before = document.count(b"\n", 0, at)
    return f"line {before + 1}"


def _no_record(file: File, place: str, wrong: _NotARecordError, where: str) -> ContractError:
    return ContractError(
        f"file {excerpt(file.path.name, 60)}, {place}, holds something that is no record: {excerpt(str(wrong), 120)}; "
        f"it begins with {excerpt(wrong.text[:200], 80)!r}",
        where=where,
        next_step="nothing was landed; ask for a new export; if it repeats, report this message.",
    )
