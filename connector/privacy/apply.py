"""Applies the rules of one stream to its records: drops values, or replaces them by a keyed hash, before a write.

It works on the vendor's records as bytes. A value without a rule is not parsed, and its bytes do not change.
"""

import contextlib
import csv
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from connector.errors import ContractError, TransientError
from connector.privacy.hashing import REMEMBERED, Hash
from connector.privacy.rules import EXTRA, Rule, Segments, folded, segments
from connector.records.cells import lines_of, row_of
from connector.records.files import BOM, DAMAGED, LONGEST_RECORD, check_header, unpacked
from connector.records.fit import healed, refitted
from connector.records.lines import LARGEST_ARRAY
from connector.records.members import is_whole, members, objects, unrepeated
from connector.redaction import excerpt
from connector.stream import Column, Page, Stream
from connector.system.files import private

_UNREADABLE: tuple[type[Exception], ...] = (ValueError, RecursionError, csv.Error, msgspec.MsgspecError, *DAMAGED)

_Act = Literal["keep", "look inside", "drop", "hash"]
_Raws = dict[str, msgspec.Raw]


class Protector:
    """Applies the rules of one stream to its records.

    Attributes:
        hashed_with: fingerprint of the key, which does not reveal it; empty if nothing is hashed.
        fingerprint: fingerprint of the rules and the key. The order of rules and the form of names do not matter.
    """

    def __init__(self, stream: Stream, rules: Sequence[Rule], hashing: "Hash | None") -> None:
        self._stream, self._hash = stream, hashing
        self.hashed_with = hashing.fingerprint if hashing and any(rule.act == "hash" for rule in rules) else ""
        texts = sorted(f"{rule.act} {rule.anywhere} {'.'.join(rule.path)}" for rule in set(rules))
        self.fingerprint = hashlib.sha256("\n".join([*texts, self.hashed_with]).encode()).hexdigest()[:16]
        same = [
            Rule(segments(other), rule.act)
            for rule in rules
            if not rule.anywhere
            for column, others in stream.same_values.items()
            if rule.path == (folded(column),)
            for other in others
        ]
        own = [rule for rule in (*rules, *same) if rule.path[0] != EXTRA]
        # If the vendor moves a field out of its column, the rule must still apply: its last name counts at any depth.
        moved = [Rule(rule.path[-1:], rule.act, anywhere=True) for rule in (*rules, *same) if rule.path[-1] != "*"]
        self._declared, self._undeclared = _Node((), own), _Node((), [*own, *moved])
        self._columns = {column.field: column for column in stream.columns}
        self._record = _record_type(stream.columns)
        # Each column with a rule: its slot in the record type, and the decision.
        self._slots = [
            (f"c{number}", column, decision)
            for number, column in enumerate(stream.columns)
            if (decision := self._decision(column))[0] != "keep"
        ]
        self._by_field = {column.field: decision for _, column, decision in self._slots}
        texts = [
            column.field
            for _, column, decision in self._slots
            if decision[0] == "look inside" and column.type == "VARCHAR"
        ]
        self._plain = _plain_texts(texts) if texts else None
        self._parsed_slots = [slot for slot in self._slots if slot[1].field not in texts]

    def page(self, page: Page) -> Page:
        """The same page with the rules applied to its body.

        Raises:
            ContractError: a value cannot be parsed, so rules cannot be applied to it.
        """
        try:
            if not page.rows:
                return replace(page, rules=self.fingerprint)
            return replace(self._page(page), hashed_with=self.hashed_with, rules=self.fingerprint)
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise ContractError(
                f"a value cannot be read, so that rules cannot be applied to it: {excerpt(str(fault), 120)}",
                where=self._stream.table,
                next_step="nothing was landed; rerun once; if it repeats, report the row to the vendor.",
            ) from None
        except RecursionError:
            raise ContractError(
                "a value is nested too deeply to apply rules to it",
                where=self._stream.table,
                next_step="nothing was landed; add a rule that drops its column, or report the row to the vendor.",
            ) from None

    def _page(self, page: Page) -> Page:
        try:
            if self._plain:
                self._plain.decode(page.body)  # no text column holds an object, so none has to be parsed
            records = self._record.decode(page.body)
        except msgspec.DecodeError:
            rows = objects(page.body)
            body = msgspec.json.encode([self.record(row) for row in rows])
            return replace(page, body=body, misfits=sum("_extra" in row for row in rows))
        if not is_whole(records, page.body):  # a key came twice: its earlier values have no column, so they go apart
            fit = refitted(page.body, self._stream, where=self._stream.table)
            strangers = page.strangers | fit.strangers
            page = replace(page, body=fit.body, misfits=fit.misfits, strangers=strangers)
            records = self._record.decode(page.body)
        for slot, _, decision in self._parsed_slots:
            for record in records:
                raw = getattr(record, slot)
                if raw is not msgspec.UNSET and (kept := self._applied(raw, decision)) is not raw:
                    setattr(record, slot, kept)
        misfits = 0
        if page.misfits:
            for record in records:
                if record.extra is not msgspec.UNSET:
                    record.extra = self._extra(record.extra)
                    misfits += record.extra is not msgspec.UNSET
        return replace(page, body=msgspec.json.encode(records), misfits=misfits)

    def record(self, row: _Raws) -> _Raws:
        """One record, changed in place. Fields without a column are treated like members of ``_extra``."""
        for name in list(row):
            if name in self._by_field:
                kept = self._applied(row[name], self._by_field[name])
            elif name in self._columns:
                continue
            elif name == "_extra":
                kept = self._extra(row[name])
            else:
                kept = self._applied(row[name], self._undeclared.decision(name))
            if kept is msgspec.UNSET:
                del row[name]
            else:
                row[name] = kept
        return row

    def files(self, sources: Sequence[Path], folder: Path, *, where: str) -> list[Path]:
        """Copies of files with the rules applied: JSON lines, a JSON array or CSV with a header, compressed or not.

        Args:
            sources: the files; they are not changed.
            folder: for the copies, which keep their names; created as a private folder.

        Raises:
            ContractError: a file does not hold records.
            TransientError: the disk is full.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = []
        for source in sources:
            target = folder / source.name
            try:
                with (
                    unpacked(source, where) as stream,
                    open(target, "wb", opener=private) as plain,
                    gzip.GzipFile(fileobj=plain, mode="wb", compresslevel=1, mtime=0, filename="") as out,
                ):
                    self._copy(stream, out.write, source, where)
            except _UNREADABLE as fault:
                if isinstance(fault, OSError) and fault.errno:
                    raise TransientError(
                        f"an exported file cannot be rewritten: {fault.strerror}",
                        where=where,
                        next_step="free space on the disk of SPOOL_DIR, then rerun; downloaded files are kept.",
                    ) from None
                raise ContractError(
                    f"file {source.name} does not hold records that rules could be applied to: "
                    f"{type(fault).__name__} {excerpt(str(fault), 120)}",
                    where=where,
                    next_step="nothing was landed; ask for a new export; if it repeats, report this message.",
                ) from None
            made.append(target)
        return made

    def _copy(self, stream: Any, write: Callable[[bytes], object], source: Path, where: str) -> None:
        blanks, line = 0, stream.readline(LONGEST_RECORD)
        while line and not line.strip():
            blanks, line = blanks + 1, stream.readline(LONGEST_RECORD)
        lines = _Chained([b"\n"] * blanks + [line], stream)
        start = line.lstrip()[:1]
        if start == b"{":
            self._copy_lines(lines, write)
        elif start == b"[":
            document = line + stream.read(LARGEST_ARRAY)
            if len(document) > LARGEST_ARRAY:
                raise ValueError(f"one array of more than {LARGEST_ARRAY // 2**20} MiB")
            try:
                rows = objects(document)
            except msgspec.DecodeError:
                rows = objects(healed(document))
            write(msgspec.json.encode([self.record(row) for row in rows]))
        elif start:
            self._copy_csv(lines, write, source, where)

    def _copy_lines(self, lines: "_Chained", write: Callable[[bytes], object]) -> None:
        number = 1
        while line := lines.readline(LONGEST_RECORD):
            try:
                if line.strip():
                    write(msgspec.json.encode(self.record(_members(line.removeprefix(BOM)))))
            except (msgspec.DecodeError, RecursionError) as fault:
                raise ValueError(f"line {number}: {fault}") from None
            write(b"\n")  # also for a blank line: later messages name lines
            number += 1

    def _copy_csv(self, lines: "_Chained", write: Callable[[bytes], object], source: Path, where: str) -> None:
        names: list[str] = []
        written = 1
        for number, cells in lines_of(lines, source, where):
            write(b"\n" * (number - written))  # for blank lines: later messages name lines
            if not names:
                names = cells
                check_header(names, source, where)
                made = _csv_line(names)
            else:
                sent = row_of(cells, names, source, number, where)
                row = self.record({name: msgspec.Raw(msgspec.json.encode(cell)) for name, cell in sent.items() if cell})
                made = _csv_line([_csv_text(row[name]) if name in row else "" for name in names])
            write(made)
            written = number + sum(cell.count("\n") for cell in cells) + 1

    def _decision(self, column: Column) -> "_Decision":
        decision = self._declared.decision(column.field)
        # Only JSON has members. But an object that came for a text column is kept there as JSON text.
        return _KEEP if decision[0] == "look inside" and column.type not in ("JSON", "VARCHAR") else decision

    def _extra(self, raw: msgspec.Raw) -> Any:
        kept = self._inside(raw, self._undeclared)
        return msgspec.UNSET if bytes(kept) == b"{}" else kept

    def _applied(self, raw: msgspec.Raw, decision: "_Decision") -> Any:
        """The value after its decision; the same object if nothing changed, UNSET if it is dropped."""
        act, node = decision
        if act == "keep":
            return raw
        if act == "look inside":
            assert node is not None
            return self._inside(raw, node)
        if act == "drop":
            return msgspec.UNSET
        assert self._hash is not None
        return self._hash.raw(raw)

    def _inside(self, raw: msgspec.Raw, node: "_Node") -> msgspec.Raw:
        """A value with the rules applied to its members; members without a rule keep their bytes."""
        start = _start(raw)
        if start == b"{" and node.may_concern(raw):
            found, decisions, changes = members(raw), node.decisions, []
            for name, before in found.items():
                decision = decisions.get(name) or node.decision(name)
                if decision is not _KEEP and (after := self._applied(before, decision)) is not before:
                    changes.append((name, after))
            for name, after in changes:
                if after is msgspec.UNSET:
                    del found[name]
                else:
                    found[name] = after
            return msgspec.Raw(msgspec.json.encode(found)) if changes else raw
        if start == b"[" and node.may_concern(raw):
            items = msgspec.json.decode(raw, type=list[msgspec.Raw])
            applied = [self._applied(item, node.decision_in_list(number)) for number, item in enumerate(items)]
            if any(one is not item for one, item in zip(applied, items, strict=True)):
                null = msgspec.Raw(b"null")  # positions stay what they were
                return msgspec.Raw(msgspec.json.encode([null if one is msgspec.UNSET else one for one in applied]))
        if start == b'"' and (text := _object_in(raw)) is not None:
            inside = msgspec.Raw(text.encode())
            with contextlib.suppress(msgspec.DecodeError):
                if (after := self._inside(inside, node)) is not inside:
                    return msgspec.Raw(msgspec.json.encode(bytes(after).decode()))
        return raw


def _members(line: bytes) -> _Raws:
    """The members of a record; half an emoji, which no UTF-8 can hold, is mended as it is without rules."""
    try:
        return members(line)
    except msgspec.DecodeError:
        return members(healed(line))


_Decision = tuple[_Act, "_Node | None"]
_KEEP: _Decision = ("keep", None)
_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))


class _Node:
    """A place inside a record, with a cached decision for each name of a member."""

    def __init__(self, path: Segments, rules: Sequence[Rule], *, each: bool = False) -> None:
        self._path, self._rules = path, rules
        # A list of the earlier values of a repeated key: each stands for the key itself.
        self._each: _Decision | None = ("look inside", _Node(path, rules)) if each else None
        self.decisions: dict[str, _Decision] = {}
        # A value in which no rule's last name occurs, however it is spelt, need not be opened.
        self._words = {rule.path[-1].encode() for rule in rules}
        self._always = any(word == b"*" or not word or not word.isascii() for word in self._words)

    def may_concern(self, raw: msgspec.Raw) -> bool:
        text = bytes(raw)
        if self._always or b"\\" in text:  # an escape may hide a name
            return True
        text = text.translate(_LOWER, b"_- ")
        return any(word in text for word in self._words)

    def decision(self, name: str) -> _Decision:
        """What happens to a member, and its node if its own members are to be looked at."""
        if (known := self.decisions.get(name)) is not None:
            return known
        if len(self.decisions) > REMEMBERED:
            self.decisions.clear()
        key = unrepeated(name)
        path = (*self._path, *segments(key))
        found: set[_Act] = {_effect(rule, self._path, path) for rule in self._rules}
        decision = _KEEP
        if "drop" in found:
            decision = ("drop", None)
        elif "hash" in found:
            decision = ("hash", None)
        elif "look inside" in found:
            decision = ("look inside", _Node(path, self._rules, each=key != name))
        self.decisions[name] = decision
        return decision

    def decision_in_list(self, number: int) -> _Decision:
        """What happens to an item of a list."""
        return self._each or self.decision(str(number))


def _effect(rule: Rule, above: Segments, path: Segments) -> _Act:
    """What a rule does at a path. It applies to the path it names and to all below; names may contain dots."""
    wanted = rule.path
    if not rule.anywhere:
        if len(wanted) > len(path):
            return "look inside" if _matches(wanted[: len(path)], path) else "keep"
        return rule.act if _matches(wanted, path[: len(wanted)]) else "keep"
    ends = range(len(above) + 1, len(path) + 1)
    hit = any(end >= len(wanted) and _matches(wanted, path[end - len(wanted) : end]) for end in ends)
    return rule.act if hit else "look inside"


def _matches(wanted: Segments, path: Segments) -> bool:
    return all(one in ("*", other) for one, other in zip(wanted, path, strict=True))


def _record_type(columns: Sequence[Column]) -> msgspec.json.Decoder[Any]:
    raw = msgspec.Raw | msgspec.UnsetType
    names = {f"c{number}": column.field for number, column in enumerate(columns)}
    fields: list[tuple[str, Any, Any]] = [(slot, raw, msgspec.UNSET) for slot in (*names, "extra")]
    record = msgspec.defstruct(
        "Protected", fields, rename=names | {"extra": "_extra"}, forbid_unknown_fields=True, gc=False
    )
    return msgspec.json.Decoder(list[record])  # type: ignore[valid-type]


def _plain_texts(names: Sequence[str]) -> msgspec.json.Decoder[Any]:
    fields: list[tuple[str, Any, Any]] = [
        (f"t{number}", str | int | float | bool | None, None) for number in range(len(names))
    ]
    record = msgspec.defstruct("Texts", fields, rename={f"t{n}": name for n, name in enumerate(names)}, gc=False)
    return msgspec.json.Decoder(list[record])  # type: ignore[valid-type]


def _start(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def _object_in(raw: msgspec.Raw) -> str | None:
    """The JSON text of an object or a list that was sent as a text; None for other values."""
    if bytes(memoryview(raw)[1:2]) not in (b"{", b"[", b" ", b"\\"):
        return None
    text = msgspec.json.decode(raw, type=str).strip()
    return text if text[:1] in ("{", "[") else None


class _Chained:
    """Lines that were read already, and the rest."""

    def __init__(self, read: list[bytes], rest: Any) -> None:
        self._read, self._rest = read, rest

    def readline(self, size: int) -> bytes:
        return self._read.pop(0) if self._read else self._rest.readline(size)


def _csv_line(values: Sequence[str]) -> bytes:
    text = io.StringIO()
    # All in quotes: which bare characters are quoted by itself differs between Python versions.
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(values)
    return text.getvalue().encode()


def _csv_text(raw: msgspec.Raw) -> str:
    value = bytes(raw)
    return str(json.loads(value)) if value[:1] == b'"' else "" if value == b"null" else value.decode()
