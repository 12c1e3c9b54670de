"""Exported files as JSON lines fit for their table: unpacked, proven to their end, every record looked at once.

DuckDB reads lines with explicit types several times faster than it can tell which fields a record has, so the looking
happens here, block by block, in the same strict pass that pages take (``rows.py``). Names of files mean nothing; what
a file is, its first bytes say. CSV is left to DuckDB, whose reader is as fast as it is strict.
"""

import contextlib
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import msgspec
from isal import igzip, isal_zlib

from connector.disk import private
from connector.errors import ContractError, TransientError, excerpt
from connector.rows import healed, lines_reader, lines_slowly
from connector.stream import Stream

GZIP = b"\x1f\x8b"
# What some write before a text in UTF-8; to a reader of JSON it is damage.
BOM = b"\xef\xbb\xbf"
# What a file may unpack to. Lines of events pack to a tenth or a thirtieth; blanks, the worst there is, to a
# thousandth. A small file may be anything; one of 10 MB that unpacks to a disk full is no export.
MOST_UNPACKED, MOST_RATIO, ANY_RATIO = 64 * 2**30, 300, 256 * 2**20
LONGEST_RECORD = 16 * 2**20
# What is looked at at once. The looking builds objects several times this size, and once they outgrow the processor's
# cache it costs three times as much.
BLOCK = 256 * 2**10
# What a compressed file that is damaged or ends early raises.
DAMAGED: tuple[type[Exception], ...] = (EOFError, OSError, cast("type[Exception]", isal_zlib.error))
# An array is one document, so it is held whole; exports are lines, and an array this long is no export of theirs.
LARGEST_ARRAY = 256 * 2**20


@dataclass(frozen=True)
class File:
    """What a file turned out to be; files that are alike are read together.

    Attributes:
        names: of the columns of a CSV file, in order.
    """

    path: Path
    kind: Literal["lines", "array", "csv", "empty"]
    packed: bool
    names: tuple[str, ...] = ()

    def like(self, other: "File") -> bool:
        if self.is_json and other.is_json:
            return True
        return (self.kind, self.packed, self.names) == (other.kind, other.packed, other.names)

    @property
    def is_json(self) -> bool:
        return self.kind in ("lines", "array")


class Bounded:
    """A stream that ends with an error before it fills a disk."""

    def __init__(self, stream: BinaryIO, path: Path, where: str) -> None:
        size = path.stat().st_size
        self._stream, self._path, self._where, self._size = stream, path, where, size
        self._left = self._most = min(MOST_UNPACKED, max(ANY_RATIO, size * MOST_RATIO))

    def read(self, size: int) -> bytes:
        return self._counted(self._stream.read(size))

    def readline(self, size: int) -> bytes:
        return self._counted(self._stream.readline(size))

    def _counted(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            raise ContractError(
                f"file {excerpt(self._path.name, 60)} has {self._size} bytes and unpacks to more than "
                f"{self._most // 2**20} MiB",
                where=self._where,
                next_step="nothing was landed; if the days are really so large, ask for fewer at a time; if not, "
                "report it to the vendor: no export unpacks like this.",
            )
        return piece


@contextlib.contextmanager
def unpacked(path: Path, where: str) -> Iterator[Bounded]:
    """A file's content behind its byte order mark, if it has one; every member of it if it is compressed.

    Raises:
        ContractError: while it is read, when more comes than a file of this size may hold.
    """
    opener = cast("Callable[[Path, str], BinaryIO]", igzip.open if is_packed(path) else open)
    with opener(path, "rb") as stream:
        if stream.read(len(BOM)) != BOM:
            stream.seek(0)
        yield Bounded(stream, path, where)


def looked_at(path: Path, where: str) -> File:
    """Compressed or not, lines, array or CSV, by the first bytes.

    Raises:
        ContractError: it cannot be read.
    """
    packed = is_packed(path)
    try:
        with unpacked(path, where) as stream:
            line = b"\n"
            while line and not line.strip():
                line = stream.readline(LONGEST_RECORD)
    except DAMAGED as fault:
        raise ContractError(
            f"file {excerpt(path.name, 60)} cannot be read: {excerpt(str(fault), 120)}",
            where=where,
            next_step="rerun: it is fetched again.",
        ) from None
    line = line.strip()
    if not line:
        return File(path, "empty", packed)
    if line.startswith((b"[", b"{")):
        return File(path, "array" if line.startswith(b"[") else "lines", packed)
    try:
        names = next(csv.reader([line.decode("utf-8", "replace")]), [])
    except csv.Error as fault:
        raise ContractError(
            f"file {excerpt(path.name, 60)} begins with neither JSON nor a line of CSV: {excerpt(str(fault), 80)}",
            where=where,
            next_step="nothing was landed; ask for a new export; if it repeats, report this message.",
        ) from None
    return File(path, "csv", packed, tuple(names))


def check_header(names: Sequence[str], path: Path, where: str) -> None:
    """Every column of a CSV file can be told from the others, by DuckDB, too, which knows no case.

    Raises:
        ContractError: two are called the same, or one is called nothing: cells would be lost, or a rule miss them.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name.lower())
        if not name or other is not None:
            alike = f"{excerpt(str(other), 40)!r} and {excerpt(name, 40)!r}"
            what = f"two columns called {alike}" if name else "a column without a name"
            raise ContractError(
                f"CSV file {excerpt(path.name, 60)} has {what}",
                where=where,
                next_step="nothing was landed; ask for json, which is the default: its records have no such columns.",
            )
        seen[name.lower()] = name


def is_packed(path: Path) -> bool:
    with open(path, "rb") as raw:
        return raw.read(2) == GZIP


def prove_whole(file: Path, where: str, *, end_told: bool = True) -> None:
    """A compressed file ends where its compression says, with the checksum it says; others need only hold something.

    Args:
        end_told: whether the host told where the file ends; if not, a plain file has to end as files of its kind do.

    Raises:
        TransientError: it ends early, is damaged, or is a web page; the file is removed, so that it is fetched again.
        ContractError: it unpacks to far more than any export does.
    """
    packed = is_packed(file)
    # A page that a proxy sends instead of a file, as a table of one column without rows, would land as nothing.
    if not packed and (start := _start(file)) and start != b"<" and (end_told or _ends(file, start)):
        return
    with contextlib.suppress(*DAMAGED), unpacked(file, where) as stream:
        while packed and stream.read(BLOCK):
            pass
        if packed:
            return
    file.unlink()
    raise TransientError(
        f"file {excerpt(file.name, 60)} is damaged, ends early, or is a web page",
        where=where,
        next_step="rerun: it is fetched again; if it persists, ask for a new export.",
    )


def _start(path: Path) -> bytes:
    """The first character of a plain file, blanks aside if there is anything else; nothing of an empty file."""
    with open(path, "rb") as raw:
        head = raw.read(4096).removeprefix(BOM)
    return head.lstrip()[:1] or head[:1]


def _ends(path: Path, start: bytes) -> bool:
    """A plain file's last line is complete. An array may do without: a cut one is no JSON, which is noticed later."""
    with open(path, "rb") as raw:
        raw.seek(max(0, path.stat().st_size - 64))
        tail = raw.read()
    return tail.endswith(b"\n") or (start == b"[" and tail.rstrip().endswith(b"]"))


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
