"""Exported CSV, read strictly and slowly, after DuckDB refused it: the exact rows, or the line and what is wrong there.

DuckDB reads CSV fast and says little about what it refuses, and it refuses a few texts that RFC 4180 allows.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from connector.records.files import DAMAGED, LONGEST_RECORD, Bounded, File, not_csv, not_utf8, unpacked, wrong_csv
from connector.records.lines import damaged
from connector.system.files import private

_MARK = "\ufeff"


class Readable(Protocol):
    """What gives one line after the other, as bytes."""

    def readline(self, size: int, /) -> bytes: ...


def texts(files: Sequence[File], folder: Path, *, where: str) -> list[Path]:
    """CSV files as files of JSON lines, one each: the cells of a row that are not empty, as texts.

    Raises:
        ContractError: a file is no CSV; the message names the file, the line, and what is wrong there.
    """
    made = []
    for file in files:
        target = folder / f"{file.path.name}.texts"
        try:
            with unpacked(file.path, where) as source, open(target, "wb", opener=private) as out:
                out.writelines(
                    msgspec.json.encode({name: cell for name, cell in cells.items() if cell}) + b"\n"
                    for _, cells in rows_of(source, file, where)
                )
        except DAMAGED as fault:
            raise damaged(file.path, fault, where) from None
        made.append(target)
    return made


def rows_of(source: Bounded, file: File, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file behind its header: the line on which each begins, and its cells by column.

    Raises:
        ContractError: as in :func:`texts`.
    """
    lines = lines_of(source, file.path, where)
    next(lines, None)
    for line, cells in lines:
        yield line, row_of(cells, file.names, file.path, line, where)


def row_of(cells: Sequence[str], names: Sequence[str], path: Path, line: int, where: str) -> dict[str, str]:
    """The cells of a row by column.

    Raises:
        ContractError: there are too few or too many, or the header stands there once more.
    """
    if list(cells) == list(names):
        raise not_csv(path, line, "the header stands there once more", where)
    # DuckDB overlooks a comma at the end of a line, which adds nothing.
    if len(cells) < len(names) or any(cells[len(names) :]):
        raise not_csv(path, line, f"{len(cells)} cells stand where the header has {len(names)}", where)
    return dict(zip(names, cells, strict=False))


def lines_of(source: Readable, path: Path, where: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file that are not blank, the header among them, each with its number and its cells.

    Raises:
        ContractError: as in :func:`texts`.
    """
    lines = _Lines(source, path, where)
    reader = csv.reader(lines, strict=True)
    while True:
        begin = lines.number + 1
        lines.at_start = True
        try:
            cells = next(reader, None)
        except csv.Error as fault:
            raise not_csv(path, begin, wrong_csv(fault), where) from None
        if cells is None:
            return
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield begin, cells


class _Lines:
    """Decoded lines for the csv module, counted; a byte order mark before a row is no part of it."""

    def __init__(self, source: Readable, path: Path, where: str) -> None:
        self._source, self._path, self._where = source, path, where
        self.number, self.at_start = 0, True

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._source.readline(LONGEST_RECORD + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > LONGEST_RECORD:
            said = f"the line is longer than {LONGEST_RECORD // 2**20} MiB"
            raise not_csv(self._path, self.number, said, self._where)
        try:
            text = line.decode()
        except UnicodeDecodeError as fault:
            raise not_csv(self._path, self.number, not_utf8(line, fault), self._where) from None
        at_start, self.at_start = self.at_start, False
        return text.removeprefix(_MARK) if at_start else text
