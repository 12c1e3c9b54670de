"""Looks at an exported file before it is read: packing, kind, header, and whether it is whole."""

import contextlib
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from isal import igzip, isal_zlib

from connector.errors import ContractError, TransientError
from connector.redaction import excerpt

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
# In the csv module's own words, which differ a little between Python versions.
_WRONG = {
    "unexpected end of data": "a quoted cell begins that never ends",
    "expected after": "a quoted cell ends, and more text follows before the comma",
    "new-line character": "a carriage return stands outside quotes where no line ends",
    "field larger": f"a cell is longer than {LONGEST_RECORD // 2**20} MiB, or a quoted cell begins that never ends",
}
# Python's limit is 128 KiB, for the whole process; it can only be set here for everything that reads CSV.
csv.field_size_limit(LONGEST_RECORD)
# What a compressed file that is damaged or ends early raises.
DAMAGED: tuple[type[Exception], ...] = (EOFError, OSError, cast("type[Exception]", isal_zlib.error))


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
            line, number = b"\n", 0
            while line and not line.strip():
                line, number = stream.readline(LONGEST_RECORD), number + 1
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
        said = f"it begins with neither JSON nor a header: {wrong_csv(fault)}"
        raise not_csv(path, number, said, where) from None
    return File(path, "csv", packed, tuple(names))


def wrong_csv(fault: csv.Error) -> str:
    """What Python's csv module found wrong, in words that help."""
    return next((words for part, words in _WRONG.items() if part in str(fault)), excerpt(str(fault), 80))


def not_csv(path: Path, line: int, said: str, where: str) -> ContractError:
    """What is wrong with a CSV file, and on which line."""
    return ContractError(
        f"CSV file {excerpt(path.name, 60)}, line {line}: {said}",
        where=where,
        next_step="nothing was landed; ask for json, which is the default; if csv is needed, ask for a new export "
        "and report this message to the vendor.",
    )


def not_utf8(text: bytes, fault: UnicodeDecodeError) -> str:
    """What is wrong with bytes that are no text."""
    return f"byte {fault.start + 1} is 0x{text[fault.start]:02x}, which is not UTF-8"


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
