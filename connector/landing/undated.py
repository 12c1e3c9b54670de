"""Where the rows of exported files stand that no day can hold. Asked only after a landing has counted such rows."""

import itertools
from collections.abc import Iterator, Sequence

import duckdb

from connector.errors import ContractError
from connector.landing.file_queries import is_placed
from connector.records.cells import rows_of
from connector.records.files import File, unpacked
from connector.records.fit import time_of
from connector.records.lines import records_of
from connector.redaction import excerpt
from connector.stream import Stream
from connector.warehouse.sql import literal

# As many places are named; the rest is counted.
NAMED = 3
AT_ONCE = 10_000


def undated_places(files: Sequence[File], stream: Stream, where: str) -> str:
    """The first few such rows in words: file, line, and what stands there instead of a time.

    DuckDB is asked about each text, as it was while the rows were landed, so that both say the same.
    """
    found: list[str] = []
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for file in files:
            times = _times(file, stream, where)
            while some := list(itertools.islice(times, AT_ONCE)):
                texts = literal([text for _, text, _ in some])
                rows = connection.execute(
                    f"select place from (select unnest(range({len(some)})) as place, unnest({texts}::varchar[]) as t) "
                    f"where not {is_placed('t')} order by place limit {NAMED}"
                ).fetchall()
                for (place,) in rows:
                    at, _, sent = some[place]
                    found.append(f"{excerpt(file.path.name, 60)} {at} ({excerpt(sent, 40)})")
                if len(found) >= NAMED:
                    return ", ".join(found[:NAMED])
    return ", ".join(found)


def of_another_shape(files: Sequence[File], stream: Stream, where: str) -> ContractError | None:
    """The error about a JSON file in which no record has any field of the stream, such as a proxy's answer.

    Its rows are no rows of the export, so they cannot be left out as undated; fetched again, the file may be right.
    """
    fields = {column.field for column in stream.columns}
    for file in files:
        if not file.is_json:
            continue
        first = None
        for place, record in records_of(file, where):
            if fields & record.keys():
                break
            first = first or f"{place}: {excerpt(', '.join(record), 80)!r}"
        else:
            if first:
                return ContractError(
                    f"file {excerpt(file.path.name, 60)} holds records of another shape; {first} are the fields there",
                    where=where,
                    next_step="nothing was landed; run it again, the file is fetched again; if it repeats, report "
                    "this message.",
                )
    return None


def _times(file: File, stream: Stream, where: str) -> Iterator[tuple[str, str | None, str]]:
    """Of every row: where it stands, the text that places it, and what was sent as such."""
    if file.is_json:
        for place, record in records_of(file, where):
            yield place, *time_of(record, stream)
    elif file.kind == "csv":
        field = next(column.field for column in stream.columns if column.name == stream.replication_key)
        with unpacked(file.path, where) as source:
            for line, cells in rows_of(source, file, where):
                yield f"line {line}", cells[field] or None, repr(cells[field])
