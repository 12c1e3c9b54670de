"""Exported files as what one INSERT reads: a few files of one kind, and the SQL that types their values.

JSON is made into lines that fit the table first (``lines.py``). CSV is read by DuckDB as it came, every cell a text;
after DuckDB refused a file, its cells are made into lines as well (``cells.py``). Nothing here opens a warehouse.
"""

import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from connector.records.cells import texts
from connector.records.files import LONGEST_RECORD, File
from connector.records.lines import fitted
from connector.spool import no_room
from connector.stream import Column, Stream
from connector.system.prefetch import ahead
from connector.warehouse.sql import literal, quoted, text

# Two files an INSERT: memory stays flat in the number of files, and a row group is still filled.
FILES_AT_ONCE = 2


@dataclass(frozen=True)
class Batch:
    """What one INSERT reads: files of lines made for it, or CSV files as they came.

    Attributes:
        lines: records that fit the table.
        texts: the cells of CSV files, as texts by column.
    """

    files: Sequence[File]
    lines: Sequence[Path] = ()
    texts: Sequence[Path] = ()

    def select(self, columns: Sequence[Column]) -> str:
        """A query for the rows: the columns as the table has them, and ``_extra``."""
        if self.lines:
            source, extra = _lines_source(self.lines, columns), "_extra"
            values = ", ".join(f"{_from_json(c)} as {quoted(c.name)}" for c in columns)
        else:
            names = self.files[0].names
            fields = {c.field: quoted(c.field) for c in columns if c.field in names}
            cells = _texts_source(self.texts, names) if self.texts else _csv_source(self.files)
            source, extra = cells, f"{_csv_extra(columns, names, fields)} as _extra"
            values = ", ".join(f"{_from_text(c, fields.get(c.field))} as {quoted(c.name)}" for c in columns)
        return f"select {values}, {extra} from {source}"

    def delete_files(self) -> None:
        """Delete this batch's temporary files."""
        for path in (*self.lines, *self.texts):
            path.unlink()


@contextmanager
def prepared(files: Sequence[File], stream: Stream, where: str, *, slowly: bool) -> Iterator[Iterable[Batch]]:
    """Batches, the next one unpacked while one is inserted; the first is ready before the warehouse is asked for.

    Args:
        slowly: look into every record and cell, because DuckDB refused one.
    """
    if not files:
        yield ()
        return
    try:
        temporary = tempfile.TemporaryDirectory(dir=files[0].path.parent, prefix="lines-")
    except OSError as fault:
        raise no_room(fault, where) from None

    def prepare(some: Sequence[File]) -> Batch:
        folder = Path(temporary.name)
        if some[0].is_json:
            return Batch(some, lines=fitted(some, folder, stream, where=where, slowly=slowly))
        return Batch(some, texts=texts(some, folder, where=where) if slowly else ())

    calls = (partial(prepare, some) for some in _batches(files))
    # Threads that still write into the folder must be over before it is removed.
    with temporary, closing(ahead(calls, at_once=2, to_the_end=True)) as batches:
        first = list(itertools.islice(batches, 1))
        yield itertools.chain(first, batches)


def _batches(files: Sequence[File]) -> Iterator[list[File]]:
    """Files that can be read by one statement, two at most."""
    some: list[File] = []
    for file in files:
        if file.kind == "empty":
            continue
        if some and (len(some) == FILES_AT_ONCE or not some[0].like(file)):
            yield some
            some = []
        some.append(file)
    if some:
        yield some


def _lines_source(lines: Sequence[Path], columns: Sequence[Column]) -> str:
    # A moment is read as its text, which is typed with all its spellings in `_moment`.
    kinds = [(c.field, "VARCHAR" if c.type == "TIMESTAMPTZ" else c.type) for c in columns]
    types = ", ".join(f"{text(field)}: {text(kind)}" for field, kind in kinds)
    return (
        f"read_json({literal([str(path) for path in lines])}, format='newline_delimited', "
        f"columns={{{types}, '_extra': 'JSON'}}, maximum_object_size={LONGEST_RECORD})"
    )


def _texts_source(lines: Sequence[Path], names: Sequence[str]) -> str:
    types = ", ".join(f"{text(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_json({literal([str(path) for path in lines])}, format='newline_delimited', columns={{{types}}}, "
        f"maximum_object_size={LONGEST_RECORD})"
    )


def _csv_source(files: Sequence[File]) -> str:
    names = ", ".join(f"{text(name)}: 'VARCHAR'" for name in files[0].names)
    paths, packing = literal([str(file.path) for file in files]), "gzip" if files[0].packed else "none"
    cells = (
        f"read_csv({paths}, columns={{{names}}}, auto_detect=false, header=true, delim=',', quote='\"', "
        f"escape='\"', nullstr='', max_line_size={LONGEST_RECORD}, buffer_size={2 * LONGEST_RECORD}, "
        f"compression={text(packing)})"
    )
    # A byte order mark inside a file, where two were put together, would become a part of the value behind it.
    first = quoted(files[0].names[0])
    marked = f"case when prefix({first}, chr(65279)) then error('a byte order mark') else {first} end"
    return f"(select * replace ({marked} as {first}) from {cells})"


def _from_json(column: Column) -> str:
    """A column's value as it was sent in JSON; the reader has typed it already."""
    name = quoted(column.field)
    if column.type == "TIMESTAMPTZ":
        return _moment(name)
    if column.type != "JSON":
        return _unless_absent(column, name)
    # An object that was sent as a text is that object; a text that is no JSON stays a text.
    inner = f"json_extract_string({name}, '$')"
    parsed = f"coalesce(try_cast({inner} as json), to_json({inner}))"
    written = f"{name}::varchar"
    absent = ", ".join(text(word) for word in ("null", '""', *column.absent, *map(json.dumps, column.absent)))
    return f"case when {written} in ({absent}) then null when prefix({written}, '\"') then {parsed} else {name} end"


def _from_text(column: Column, sent: str | None) -> str:
    """A column's value from the text of a CSV cell."""
    if sent is None:
        return f"null::{column.type}"
    match column.type:
        case "BIGINT" | "DOUBLE" | "BOOLEAN":
            return f"case when {_fits(column, sent)} then try_cast({sent} as {column.type}) end"
        case "JSON":
            absent = ", ".join(text(word) for word in ("null", "", *column.absent, *map(json.dumps, column.absent)))
            parsed = f"coalesce(try_cast({sent} as json), to_json({sent}))"
            return f"case when {sent} in ({absent}) then null else {parsed} end"
        case "VARCHAR":
            return _unless_absent(column, sent)
        case "TIMESTAMPTZ":
            return _moment(sent)
    return f"{sent}::{column.type}"


def _moment(sent: str) -> str:
    """A moment from its text, NULL for a text that is none. Without an offset it is UTC, as the connection is set to.

    Ten digits are seconds since 1970, thirteen milliseconds, sixteen microseconds; see ``EPOCH`` in ``fit.py``. Words
    that DuckDB knows as moments, such as ``epoch``, are none.
    """
    micros = f"try_cast(rpad({sent}, 16, '0') as bigint)"
    return (
        f"case when length({sent}) in (10, 13, 16) and regexp_full_match({sent}, '[0-9]*') "
        f"then make_timestamp({micros})::timestamptz when ltrim({sent}) between '0' and ':' "
        f"then try_cast({sent} as timestamptz) end"
    )


def is_placed(sent: str) -> str:
    """SQL: a text is a moment that lies in a day, which ``infinity`` does not."""
    return f"coalesce(isfinite({_moment(sent)}), false)"


def _unless_absent(column: Column, sent: str) -> str:
    if not column.absent:
        return sent
    return f"case when {sent} in ({', '.join(text(word) for word in column.absent)}) then null else {sent} end"


def _fits(column: Column, sent: str) -> str:
    return f"{sent} is null or {sent} = '' or try_cast({sent} as {column.type})::varchar = {sent}"


def _typed(columns: Sequence[Column], fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Columns whose text may not fit, with the condition that it does."""
    return [
        (c.field, _fits(c, fields[c.field]))
        for c in columns
        if c.type in ("BIGINT", "DOUBLE", "BOOLEAN") and c.field in fields
    ]


def _csv_extra(columns: Sequence[Column], names: Sequence[str], fields: Mapping[str, str]) -> str:
    known = {c.field for c in columns}
    members = [f"{text(name)}, {quoted(name)}" for name in names if name not in known]
    members += [
        f"{text(name)}, case when {fits} then null else {fields[name]} end" for name, fits in _typed(columns, fields)
    ]
    if not members:
        return "null::json"
    return f"nullif(json_merge_patch('{{}}', json_object({', '.join(members)}))::varchar, '{{}}')::json"
