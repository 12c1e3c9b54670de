"""Exported CSV, read strictly and slowly, after DuckDB refused it: the exact rows, or the line and what is wrong there.

DuckDB reads CSV fast and says little about what it refuses, and it refuses a few texts that RFC 4180 allows.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from connector.errors import ContractError
from connector.records.files import DAMAGED, LONGEST_RECORD, Bounded, File, unpacked
from connector.records.lines import damaged
from connector.redaction import excerpt
from connector.system.files import private

_MARK = "\ufeff"
# In the csv module's own words, which differ a little between Python versions.
_WRONG = {
    "unexpected end of data": "a quoted cell begins that never ends",
    "expected after": "a quoted cell ends, and more text follows before the comma",
    "new-line character": "a carriage return stands outside quotes where no line ends",
    "field larger": f"a cell is longer than {LONGEST_RECORD // 2**20} MiB, or a quoted cell begins that never ends",
}
# Python's limit is 128 KiB, for the whole process; it can only be set here for everything that reads CSV.
csv.field_size_limit(LONGEST_RECORD)


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
    names, is_first = list(file.names), True
    for line, cells in lines_of(source, file.path.name, where):
        if is_first:
            is_first = False
            continue
        if cells == names:
            raise not_csv(file.path.name, line, "the header stands there once more", where)
        # DuckDB overlooks a comma at the end of a line, which adds nothing.
        if len(cells) < len(names) or any(cells[len(names) :]):
            found = f"{len(cells)} cells stand where the header has {len(names)}"
            raise not_csv(file.path.name, line, found, where)
        yield line, dict(zip(names, cells, strict=False))


def lines_of(source: Bounded, name: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file that are not blank, the header among them, each with its number and its cells.

    Raises:
        ContractError: as in :func:`texts`.
    """
    lines = _Lines(source, name, where)
    reader = csv.reader(lines, strict=True)
    while True:
        begin = lines.number + 1
        lines.at_start = True
        try:
            cells = next(reader, None)
        except csv.Error as fault:
            said = next((words for part, words in _WRONG.items() if part in str(fault)), excerpt(str(fault), 80))
            raise not_csv(name, begin, said, where) from None
        if cells is None:
            return
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield begin, cells


class _Lines:
    """Decoded lines for the csv module, counted; a byte order mark before a row is no part of it."""

    def __init__(self, source: Bounded, name: str, where: str) -> None:
        self._source, self._name, self._where = source, name, where
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
            raise not_csv(self._name, self.number, said, self._where)
        try:
            text = line.decode()
        except UnicodeDecodeError as fault:
            said = f"byte {fault.start + 1} is 0x{line[fault.start]:02x}, which is not UTF-8"
            raise not_csv(self._name, self.number, said, self._where) from None
        at_start, self.at_start = self.at_start, False
        return text.removeprefix(_MARK) if at_start else text


def not_csv(name: str, line: int, said: str, where: str) -> ContractError:
    """What is wrong with a CSV file, in one line."""
    return ContractError(
        f"CSV file {excerpt(name, 60)}, line {line}: {said}",
        where=where,
        next_step="nothing was landed; ask for json, which is the default; if csv is needed, ask for a new export "
        "and report this message to the vendor.",
    )
