"""Exported files as JSON lines fit for their table: unpacked, proven to their end, every record looked at once.

DuckDB reads lines with explicit types several times faster than it can tell which fields a record has, so the looking
happens here, block by block, in the same strict pass that pages take (``rows.py``). Names of files mean nothing; what
a file is, its first bytes say. CSV is left to DuckDB, whose reader is as fast as it is strict.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from connector.errors import ContractError, TransientError
from connector.records.files import BLOCK, DAMAGED, LONGEST_RECORD, Bounded, File, unpacked
from connector.records.fit import healed, lines_reader, lines_slowly
from connector.redaction import excerpt
from connector.stream import Stream
from connector.system.files import private

# An array is one document, so it is held whole; exports are lines, and an array this long is no export of theirs.
LARGEST_ARRAY = 256 * 2**20


def fitted(files: Sequence[File], folder: Path, stream: Stream, *, where: str) -> list[Path]:
    """JSON files as files of lines holding only declared fields and ``_extra``, one each.

    A value that does not fit its column, and a field that has none, stand in ``_extra``. A number that was sent as a
    text is that number, an empty text is none.

    Raises:
        ContractError: a record is no JSON object, or has no time that could place it.
        TransientError: the disk is full.
    """
    made = []
    for file in files:
        target = folder / f"{file.path.name}.lines"
        try:
            with unpacked(file.path, where) as source, open(target, "wb", opener=private) as out:
                _fit(file, source, out.write, stream, where)
        except DAMAGED as fault:
            if isinstance(fault, OSError) and fault.errno:
                raise TransientError(
                    f"an exported file cannot be unpacked: {fault.strerror}",
                    where=where,
                    next_step="free space on the disk of SPOOL_DIR, then rerun; files that are there are kept.",
                ) from None
            raise ContractError(
                f"file {excerpt(file.path.name, 60)} is damaged: {excerpt(str(fault), 120)}",
                where=where,
                next_step="ask for a new export of these days; nothing was landed from this one.",
            ) from None
        made.append(target)
    return made


def _fit(file: File, source: Bounded, write: Callable[[bytes], object], stream: Stream, where: str) -> None:
    if file.kind == "array":
        write(lines_slowly(_records_of(source, file, where), stream, where))
        return
    reader = lines_reader(stream)
    for block in _blocks(source, where):
        write(block if _fits(reader, block) else lines_slowly(_records_in(healed(block), where), stream, where))


def _fits(reader: msgspec.json.Decoder[Any], block: bytes) -> bool:
    try:
        reader.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _blocks(source: Bounded, where: str) -> Iterator[bytes]:
    """Whole lines, a block at a time; the last line may lack its end."""
    rest = b""
    while piece := source.read(BLOCK):
        end = piece.rfind(b"\n") + 1
        if end:
            yield rest + piece[:end]
            rest = piece[end:]
        else:
            rest += piece
        if len(rest) > LONGEST_RECORD:
            raise ContractError(
                f"a record is longer than {LONGEST_RECORD // 2**20} MiB",
                where=where,
                next_step="nothing was landed; report the record to the vendor.",
            )
    if rest.strip():
        yield rest + b"\n"


def _records_in(block: bytes, where: str) -> Iterator[dict[str, msgspec.Raw]]:
    for line in block.split(b"\n"):
        if line.strip():
            try:
                line.decode()
                yield _RECORD(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
                raise _no_record(line, fault, where) from None


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
        document = healed(document)
        if b"\n" in document:  # a record that was indented would be several lines
            document = msgspec.json.format(document, indent=-1)
        return msgspec.json.decode(document, type=list[dict[str, msgspec.Raw]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise _no_record(document, fault, where) from None


def _no_record(text: bytes, fault: Exception, where: str) -> ContractError:
    return ContractError(
        f"the file holds something that is no record: {excerpt(str(fault), 120)}; it begins with "
        f"{excerpt(text[:200], 80)!r}",
        where=where,
        next_step="nothing was landed; ask for a new export; if it repeats, report this message.",
    )


_RECORD = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
