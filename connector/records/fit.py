"""Looks at every row once, without building it: is it whole, which id has it, does it fit the catalogue.

Loading a page with explicit columns drops an undeclared field in silence, and rounds 1.5 into an integer column.
So each page first goes through one strict pass that leaves values as raw bytes; a page that holds a surprise takes a
second, slower pass that sets the surprise aside in ``_extra``. Nothing here knows envelopes, files or tables.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from connector.errors import ContractError
from connector.records.members import document, members, objects
from connector.redaction import excerpt
from connector.stream import Column, Stream

_INT64 = 2**63
_TIMESTAMP = (
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?"
    r"(Z|[+-]\d{2}(:?\d{2})?)?$"
)
_DATE = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"

# Seconds since 1970, milliseconds or microseconds: from 2001 to 2286 the number of digits tells which.
EPOCH = re.compile(rb'"?([0-9]{10}|[0-9]{13}|[0-9]{16})"?')


@dataclass(frozen=True, slots=True)
class Rows:
    """A JSON array fit for its table.

    Attributes:
        body: only declared fields, plus ``_extra``.
        keys: the primary key of each row, in order.
        times: the replication key of each row, as sent.
        strangers: undeclared fields seen.
        misfits: rows with something in ``_extra``.
    """

    body: bytes | memoryview
    keys: Sequence[str]
    times: Sequence[str]
    strangers: frozenset[str] = frozenset()
    misfits: int = 0


def read_rows(body: bytes | memoryview, stream: Stream, *, where: str) -> Rows:
    """Prove an array of records well-formed and fit; keep what does not fit in ``_extra``.

    Raises:
        ContractError: not a JSON array of objects, or a record without its key or its time.
    """
    fast = _fast_reader(stream.columns, _field(stream, stream.primary_key[0]), _field(stream, stream.replication_key))
    try:
        records = fast.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_slowly(body, stream, where)
    return Rows(body, [r.key for r in records], [r.time for r in records])


def healed(document: bytes) -> bytes:
    """The same JSON with the replacement character for every half of a pair.

    JSON can spell half of a pair, and who cuts a text inside an emoji does; UTF-8 cannot, so one such text from any
    visitor would keep its whole day from landing.
    """
    return _HALVES.sub(lambda found: b"\\ufffd" if found[1] else found[0], document)


# An escape is read whole, so that neither a pair nor an escaped backslash before a "ud83d" is taken for a half.
_HALVES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def parsed(body: bytes) -> Any:
    """A document as Python values that can be written again; of a repeated key see :mod:`connector.records.members`.

    Raises:
        ValueError, RecursionError: it is no JSON, or nested too deeply.
    """
    return json.loads(healed(body), object_pairs_hook=document)


def refitted(body: bytes | memoryview, stream: Stream, *, where: str) -> Rows:
    """The same rows in a form that DuckDB accepts, after it refused an array that the strict pass had let through.

    The strict pass sees neither a repeated key nor a day that the calendar does not have.

    Raises:
        ContractError: a row has no usable key or time.
    """
    return _read_slowly(body, stream, where, again=True)


def canonical(document: str) -> str:
    """The same for JSON texts that say the same: the order of members, blanks and escapes do not count.

    Numbers count as they are written: whether 1.0 and 1, or two that differ behind the last digit a computer keeps,
    are one is not known here. What cannot be read stays as it is.
    """
    try:
        return repr(_READ.decode(document))
    except (ValueError, RecursionError):
        return document


# Objects become pairs by name, the order of a repeated name kept; numbers pairs of texts, which no object becomes.
_READ = json.JSONDecoder(
    object_pairs_hook=lambda pairs: tuple(sorted(pairs, key=lambda pair: pair[0])),
    parse_int=lambda digits: ("number", digits),
    parse_float=lambda digits: ("number", digits),
    parse_constant=lambda word: ("number", word),
)


def lines_reader(stream: Stream) -> msgspec.json.Decoder[Any]:
    """A strict reader of records that carry their own time: raises for whatever :func:`lines_slowly` is needed for."""
    return msgspec.json.Decoder(_record_type(stream.columns, None, _field(stream, stream.replication_key)))


def lines_slowly(records: Iterable[dict[str, msgspec.Raw]], stream: Stream) -> bytes:
    """Records as JSON lines fit for their table; what does not fit is kept in ``_extra``.

    Exports write numbers now and then as texts: such a text is its number, and an empty one is none. A moment may be
    the time since 1970. Whether it is one that a day can hold, the landing finds out.
    """
    columns = {column.field: column for column in stream.columns}
    rows = []
    for record in records:
        row, extra = sorted_out(record, columns, spelt=True)
        if extra:
            row["_extra"] = msgspec.Raw(msgspec.json.encode(extra))
        rows.append(row)
    return msgspec.json.Encoder().encode_lines(rows)


def time_of(record: dict[str, msgspec.Raw], stream: Stream) -> tuple[str | None, str]:
    """The text that places an exported record in a day, None if it has none, and what was sent in its place."""
    field = _field(stream, stream.replication_key)
    column = next(column for column in stream.columns if column.field == field)
    raw = record.get(field)
    if raw is None:
        return None, "nothing"
    row, _ = sorted_out({field: raw}, {field: column}, spelt=True)
    value = msgspec.json.decode(row[field]) if field in row else None
    return value or None, bytes(raw).decode()


def _field(stream: Stream, column: str) -> str:
    return next(c.field for c in stream.columns if c.name == column)


@lru_cache(maxsize=64)
def _fast_reader(columns: tuple[Column, ...], key: str, time: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[_record_type(columns, key, time)])  # type: ignore[misc]


def _record_type(columns: tuple[Column, ...], key: str | None, time: str) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any, Any]] = []
    names: dict[str, str] = {}
    for position, column in enumerate(columns):
        if column.field in (key, time):
            continue
        slot = f"c{position}"
        fields.append((slot, _FAST[column.type], None))
        names[slot] = column.field
    needed: list[tuple[str, Any]] = [("time", str)]
    if key is not None:
        needed.insert(0, ("key", Annotated[str, msgspec.Meta(min_length=1)]))
        names["key"] = key
    return msgspec.defstruct(
        "Record",
        # The time's form is checked where rows are placed in days: checking it here, too, doubles the cost of the pass.
        [*needed, *fields],
        rename=names | {"time": time},
        forbid_unknown_fields=True,
        gc=False,
    )


_FAST: dict[str, Any] = {
    "VARCHAR": msgspec.Raw,
    "JSON": msgspec.Raw,
    "VARCHAR[]": list[msgspec.Raw] | None,
    "BIGINT": Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64 - 1)] | None,
    "DOUBLE": float | None,
    "BOOLEAN": bool | None,
    "DATE": Annotated[str, msgspec.Meta(pattern=_DATE)] | None,
    "TIMESTAMP": Annotated[str, msgspec.Meta(pattern=_TIMESTAMP)] | None,
    "TIMESTAMPTZ": Annotated[str, msgspec.Meta(pattern=_TIMESTAMP)] | None,
}


def _read_slowly(body: bytes | memoryview, stream: Stream, where: str, *, again: bool = False) -> Rows:
    try:
        str(body, "utf-8")  # raw values are only looked into where a rule or a column asks
        records = objects(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ContractError(
            f"the rows are not a JSON array of objects: {excerpt(str(fault), 160)}",
            where=where,
            next_step="rerun once; if it repeats, the vendor changed its format: report it with this message.",
        ) from None
    columns = {column.field: column for column in stream.columns}
    key, time = _field(stream, stream.primary_key[0]), _field(stream, stream.replication_key)
    rows: list[dict[str, msgspec.Raw]] = []
    keys: list[str] = []
    times: list[str] = []
    strangers: set[str] = set()
    misfits = 0
    for number, record in enumerate(records, start=1):
        before = members(record.pop("_extra")) if again and "_extra" in record else {}
        row, extra = sorted_out(record, columns)
        extra = before | extra
        strangers |= {excerpt(name, 80) for name in extra if name not in columns}
        keys.append(_needed(row, key, number, where))
        times.append(_needed(row, time, number, where))
        if extra:
            misfits += 1
            row["_extra"] = msgspec.Raw(msgspec.json.encode(extra))
        rows.append(row)
    return Rows(msgspec.json.encode(rows), keys, times, frozenset(strangers), misfits)


def sorted_out(
    record: dict[str, msgspec.Raw], columns: Mapping[str, Column], *, spelt: bool = False
) -> tuple[dict[str, msgspec.Raw], dict[str, msgspec.Raw]]:
    """What stands in columns, and what has none or does not fit its own.

    Args:
        spelt: of an export, whose values may be spelt in other ways. Its times are texts that DuckDB types.
    """
    row: dict[str, msgspec.Raw] = {}
    extra: dict[str, msgspec.Raw] = {}
    for name, raw in record.items():
        column = columns.get(name)
        kept = None if column is None else _as_meant(raw, column) if spelt else _fitted(raw, column)
        if kept is None:
            extra[name] = raw
        else:
            row[name] = kept
    return row, extra


def _as_meant(raw: msgspec.Raw, column: Column) -> msgspec.Raw | None:
    meant = _meant(raw, column)
    is_time = column.type == "TIMESTAMPTZ" and bytes(memoryview(meant)[:1]) == b'"'
    return meant if is_time else _fitted(meant, column)


def _meant(raw: msgspec.Raw, column: Column) -> msgspec.Raw:
    """A number or a truth value that was sent as a text, a moment that was sent as a number; the rest as it is."""
    if column.type == "TIMESTAMPTZ" and (epoch := EPOCH.fullmatch(raw)):
        since = timedelta(microseconds=int(epoch[1].ljust(16, b"0")))
        return msgspec.Raw(msgspec.json.encode(datetime(1970, 1, 1, tzinfo=UTC) + since))
    if column.type not in ("BIGINT", "DOUBLE", "BOOLEAN") or bytes(memoryview(raw)[:1]) != b'"':
        return raw
    text = msgspec.json.decode(raw, type=str)
    try:
        return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(text) if text else None))
    except msgspec.DecodeError:
        return raw


def _needed(row: dict[str, msgspec.Raw], field: str, number: int, where: str) -> str:
    value = msgspec.json.decode(row[field]) if field in row else None
    if value is None or value == "":
        raise ContractError(
            f"row {number} has no usable {field!r}, so it can be neither told apart nor placed in a day",
            where=where,
            next_step="look at this day in the vendor's own interface and report the row to the vendor.",
        )
    return str(value)


def _fitted(raw: msgspec.Raw, column: Column) -> msgspec.Raw | None:
    """The value as it can stand in its column, or None if it cannot."""
    if column.type in ("VARCHAR", "JSON"):
        return raw
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):  # a number beyond any type, such as 1e999, or lists in lists in lists
        return None
    if value is None:
        return raw
    if column.type == "BIGINT" and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return msgspec.Raw(str(int(value)).encode())
    return raw if _FITS[column.type](value) else None


def _is_text(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.match(pattern, value) is not None and _is_day(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_day(value: Any) -> bool:
    """The regular expression takes the 30th of February for a day; DuckDB does not."""
    try:
        date.fromisoformat(value[:10])
    except ValueError:
        return False
    return True


# Text and JSON columns take anything: a number or an object stands in a text column as its JSON text.
_FITS: dict[str, Callable[[Any], bool]] = {
    "VARCHAR[]": lambda value: isinstance(value, list),
    "BIGINT": lambda value: isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64,
    "DOUBLE": _is_number,
    "BOOLEAN": lambda value: isinstance(value, bool),
    "DATE": _is_text(_DATE),
    "TIMESTAMP": _is_text(_TIMESTAMP),
    "TIMESTAMPTZ": _is_text(_TIMESTAMP),
}
