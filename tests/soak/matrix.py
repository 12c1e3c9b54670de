"""One cell of the matrix: a fault meets a landing, once or for ever, and the outcome is judged.

Either the table holds exactly the vendor's rows, or a ConnectorError says what, where and what to do next, and the
table holds exactly what it held before. The number of requests is bounded. Anything else is a violation.
"""

import json
import os
import re
import struct
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import duckdb

from connector.errors import ConnectorError, SettingsError
from connector.sandbox import READ, USERPILOT_KEY
from tests.http.hosts import host, whole
from tests.soak import lakes
from tests.soak.faults import FAULTS, Fault
from tests.soak.faults import Outcome as Outcome_
from tests.soak.files import KINDS, spoiled
from tests.soak.privilege import as_mortal
from tests.soak.stages import TARGETS, Stage, Target, Try, rows_of

# What no message may hold. The export's links are passwords; how they are signed is one as well.
SECRETS = (READ.secret or "", USERPILOT_KEY, "X-Amz-Signature", "X-Amz-Credential", "pr0xy-passw0rd")
# Requests beyond the clean ones that an export may send: it looks for lost answers, and waits by asking.
OF_EXPORTS = 80


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One question to the connector."""

    fault: Fault
    target: Target
    once: bool

    def __str__(self) -> str:
        return f"{self.target.name}: {self.fault.name}, {'once' if self.once else 'for ever'}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of it; ``violations`` are broken promises, in words."""

    cell: Cell
    how: str
    message: str
    requests: int
    most: int
    violations: tuple[str, ...]
    lost: int = 0
    doubled: int = 0


def cells(targets: tuple[Target, ...] = TARGETS) -> Iterator[Cell]:
    """The whole matrix, stream by stream."""
    for target in targets:
        for fault in FAULTS:
            if _applies(fault, target):
                yield from (Cell(fault=fault, target=target, once=once) for once in (True, False))


def _applies(fault: Fault, target: Target) -> bool:
    if fault.kind in lakes.UNKNOWN:
        return False
    if fault.place == "machine":
        # The phases of an export share one machine.
        # The live count is of the vendor's last five minutes: by another clock it is another number.
        return target.name not in _OF_EXPORT and not (target.appends and "clock" in fault.kind)
    return (fault.place == "file") == (target.name == "userpilot land")


def judged(stage: Stage, cell: Cell) -> Outcome:
    """Carry a cell out and compare what happened with what is promised."""
    attempt = stage.attempt(stage.fresh(uuid.uuid4().hex), timeout=cell.fault.timeout, deadline=cell.fault.deadline)
    how, error, broken = "exact", None, list[str]()
    with _breaking(stage, attempt, cell):
        try:
            stage.run(attempt)
        except ConnectorError as caught:
            how, error = f"told {type(caught).__name__}", caught
        except Exception as caught:  # noqa: BLE001 - whatever escapes is what is looked for
            how = "crashed"
            broken.append(f"{type(caught).__name__} escaped: {str(caught)[:300]}")
    stage.faults.clear()
    rows = _rows(attempt, stage)
    if how == "exact" and cell.fault.place == "file" and KINDS[cell.fault.kind].blank_is_none:
        same = sorted(map(_without_blanks, rows)) == sorted(map(_without_blanks, stage.truth))
        rows = stage.truth if same else rows
    if error is None and how == "exact" and rows != stage.truth:
        broken.append(f"landed without an error, and the rows are {_short(rows, stage)}")
    if (error is not None or how == "crashed") and rows != stage.before:
        broken.append(f"failed, and the rows are {_short(rows, stage)}")
    if error is not None:
        broken += _unclear(error, cell)
    sent, most = len(attempt.network.sent), _most(stage, cell)
    if sent > most:
        broken.append(f"{sent} requests were sent, {most} are the most")
    promised = cell.fault.once if cell.once else cell.fault.for_ever
    promised = EXCEPTIONS.get((cell.target.name, cell.fault.name, cell.once), promised)
    if promised != "either" and how.split()[0] not in (promised, "crashed"):
        broken.append(f"promised was {promised}, and it is {how}: {error or ''}"[:500])
    if error is not None:
        broken += _afterwards(stage, attempt, cell)
    lakes.remove(attempt.file)
    # Against the content that should stand: the new rows, or the old ones if it failed.
    due, found = Counter(map(repr, stage.truth if error is None else stage.before)), Counter(map(repr, rows))
    return Outcome(
        cell=cell,
        how=how,
        message=str(error or ""),
        requests=sent,
        most=most,
        violations=tuple(broken),
        lost=(due - found).total(),
        doubled=(found - due).total(),
    )


def _afterwards(stage: Stage, attempt: Try, cell: Cell) -> Iterator[str]:
    """The fault is gone and it runs again, with whatever the first run left on disk."""
    attempt.network.detours.clear()
    attempt.spoil, attempt.allow_undated = None, cell.fault.kind in KINDS and KINDS[cell.fault.kind].undated
    try:
        stage.run(attempt)
    except Exception as caught:  # noqa: BLE001 - whatever escapes is what is looked for
        yield f"run again after the fault was gone: {type(caught).__name__} {str(caught)[:300]}"
    else:
        if (rows := _rows(attempt, stage)) != stage.truth:
            yield f"run again after the fault was gone, the rows are {_short(rows, stage)}"


def _rows(attempt: Try, stage: Stage) -> list[tuple[object, ...]]:
    if not lakes.IS_LAKE:
        with duckdb.connect(
            attempt.file
        ):  # what a killed or full process left in the log is read in, as the next run does
            pass
    return rows_of(attempt.file, stage.target.table)


def _without_blanks(row: tuple[object, ...]) -> str:
    return repr([value or None for value in row])


def _short(rows: object, stage: Stage) -> str:
    assert isinstance(rows, list)
    if rows == stage.truth:
        return "the new ones"
    if rows == stage.before:
        return "the old ones"
    return f"neither the {len(stage.before)} old nor the {len(stage.truth)} new ones: {len(rows)}"


def _unclear(error: ConnectorError, cell: Cell) -> Iterator[str]:
    if not error.what.strip() or not error.where.strip() or not error.next_step.strip():
        yield f"a part of the message is empty: {error}"
    # Before the first report the project is checked by counting its events: a vendor out of reach fails there.
    named = {cell.target.table, "openpanel.events"} if cell.fault.kind == "environment" else {cell.target.table}
    if not any(name in error.where for name in named) and not isinstance(error, SettingsError):  # settings are for all
        yield f"the message names {error.where!r} and not {cell.target.table}"
    text = str(error)
    if found := [secret for secret in SECRETS if secret in text]:
        yield f"the message shows {len(found)} secrets"
    if cell.fault.place == "file" and not re.search(r"chunk-\d+.*line \d+", text):
        yield f"the message names no file and no line: {error}"
    if any(word in text for word in ("insert into", "select ", "read_csv", "read_json", "strict_mode")):
        yield f"the message shows SQL: {error}"
    if not text.isprintable():
        yield f"the message holds control characters: {text!r}"
    chained = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if chained is not None and not isinstance(chained, ConnectorError):
        yield f"the message drags {type(chained).__name__} along"


def _most(stage: Stage, cell: Cell) -> int:
    """Requests that may be sent: the clean ones, and for each question under way its repetitions."""
    clean, target = stage.clean_requests, cell.target
    questions = 1 if cell.once else target.questions
    spellings = 2 if target.stream.vendor == "userpilot" else 1
    again = cell.fault.attempts if cell.fault.place != "machine" else 0
    waiting = (
        OF_EXPORTS if (target.name in _OF_EXPORT and cell.fault.place != "machine") or "clock" in cell.fault.kind else 0
    )
    return clean + questions * again * spellings + waiting


_OF_EXPORT = {"userpilot trigger", "userpilot list", "userpilot show", "userpilot download"}

# ---------- breaking things


@contextmanager
def _breaking(stage: Stage, attempt: Try, cell: Cell) -> Iterator[None]:
    fault, times = cell.fault, 1 if cell.once else None
    match fault.place:
        case "vendor":
            stage.faults.add(fault.kind, cell.target.path, page=cell.target.page, times=times, **fault.options)
            yield
        case "network":
            attempt.network.lead_astray(cell.target.path, cell.target.page, _ASTRAY[fault.kind](stage.base), times)
            yield
        case "file":
            attempt.spoil, attempt.spoils = partial(spoiled, kind=fault.kind), times
            yield
        case "machine":
            with _MACHINE[fault.kind.split(" -")[0].split(" +")[0]](attempt, cell):
                yield


_ASTRAY = {
    "refused": lambda base: "http://127.0.0.1:9",
    "tls": lambda base: base.replace("http:", "https:"),  # speaks no TLS
    "dns": lambda base: "http://vendor.invalid:80",
}


@contextmanager
def _full(attempt: Try, cell: Cell, *, limit: int) -> Iterator[None]:
    """No file may grow beyond ``limit`` bytes: what a full disk looks like to a writer, without needing one."""
    with lakes.files_at_most(limit):
        yield


def _full_spool(attempt: Try, cell: Cell) -> object:
    return _full(attempt, cell, limit=150)


@contextmanager
def _full_warehouse(attempt: Try, cell: Cell) -> Iterator[None]:
    """The warehouse's log cannot be written: it is a link to the one device that is always full."""
    if lakes.IS_LAKE:
        with lakes.full():
            yield
        return
    log = attempt.file.with_name("w.duckdb.wal")
    log.symlink_to("/dev/full")
    try:
        yield
    finally:
        log.unlink(missing_ok=True)


@contextmanager
def _read_only(attempt: Try, cell: Cell) -> Iterator[None]:
    attempt.spool.mkdir(exist_ok=True)
    (attempt.folder / "b").mkdir(exist_ok=True)
    files = [attempt.file] if attempt.file.exists() else []  # a lake in PostgreSQL has none
    folders = [attempt.folder, *lakes.folders(attempt.file)]
    for path, mode in [*dict.fromkeys(files, 0o444).items(), *dict.fromkeys(folders, 0o555).items()]:
        path.chmod(mode)
    with as_mortal():
        try:
            yield
        finally:
            for path, mode in [*dict.fromkeys(folders, 0o755).items(), *dict.fromkeys(files, 0o644).items()]:
                path.chmod(mode)


_HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
"""
_UNTIL = """
print("held", flush=True)
sys.stdin.read(1) if sys.argv[2] == "long" else __import__("time").sleep(0.3)
"""


@contextmanager
def _locked(attempt: Try, cell: Cell) -> Iterator[None]:
    attempt.lock_wait = 20.0 if cell.once else 0.1
    command = [sys.executable, "-S", "-c", _HOLDER + _UNTIL, str(attempt.file)]
    if lakes.IS_LAKE:
        command = lakes.holder(attempt.file, _UNTIL)
    command.append("short" if cell.once else "long")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.communicate("x")


@contextmanager
def _patched(attempt: Try, cell: Cell, *, at: int, with_: bytes) -> Iterator[None]:
    content = attempt.file.read_bytes()
    attempt.file.write_bytes(content[:at] + with_ + content[at + len(with_) :])
    yield
    attempt.file.write_bytes(content)


def _newer(attempt: Try, cell: Cell) -> object:
    """The first block with another version, and the checksum that belongs to it."""
    if lakes.IS_LAKE:
        return lakes.newer(attempt.file)
    block = bytearray(attempt.file.read_bytes()[8:4096])
    block[4:12] = struct.pack("<Q", 9_999)
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", block):
        checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    return _patched(attempt, cell, at=0, with_=struct.pack("<Q", checksum) + bytes(block))


def _other_file(attempt: Try, cell: Cell) -> object:
    return _patched(attempt, cell, at=0, with_=b"This is a text that a user put here. " * 400)


@contextmanager
def _old_spool(attempt: Try, cell: Cell) -> Iterator[None]:
    """What another version, and a dead process, left below SPOOL_DIR."""
    dead = attempt.spool / cell.target.table / "2026-01-01-0123456789ab"
    dead.mkdir(parents=True)
    (dead / ".lock").touch()
    (dead / "manifest.json").write_text(json.dumps({"format": 0, "rows": "three", "files": ["part-00001.json"]}))
    (dead / "part-00001.json").write_text('[{"id": "from the past"}]')
    (attempt.spool / cell.target.table / "manifest.json").write_text("[]")
    exports = attempt.spool / "userpilot.exports"
    (exports / "0123.chunks").mkdir(parents=True)
    (exports / "0123.chunks" / "files.json").write_text('{"old": "shape"}')
    (exports / "exports.json").write_text(json.dumps({"format": 0, "jobs": {}, "ours": {}, "more": 1}))
    yield


@contextmanager
def _skewed(attempt: Try, cell: Cell) -> Iterator[None]:
    attempt.skew = float(cell.fault.kind.split()[1]) * 3600
    yield


@contextmanager
def _environment(attempt: Try, cell: Cell) -> Iterator[None]:
    """Variables of the process; with ``away`` the vendor is elsewhere, and only a proxy could reach it."""
    options = cell.fault.options
    with ExitStack() as stack:
        named = dict(options.get("set", {}))
        if "proxy" in options:
            status, page = options["proxy"]
            named["HTTP_PROXY"] = stack.enter_context(host(whole(page, status))).url
        before = {name: os.environ.get(name) for name in (*named, "CONNECTOR_ALLOW_HTTP")}
        os.environ.update(named, CONNECTOR_ALLOW_HTTP="1")
        attempt.environment, attempt.away = True, options.get("away", False)
        try:
            yield
        finally:
            attempt.environment = attempt.away = False
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


_MACHINE = {
    "environment": _environment,
    "full spool": _full_spool,
    "full warehouse": _full_warehouse,
    "read-only": _read_only,
    "locked": _locked,
    "newer": _newer,
    "other file": _other_file,
    "old spool": _old_spool,
    "clock": _skewed,
}

# Where a promise is another one than the fault's own, and why.
EXCEPTIONS: dict[tuple[str, str, bool], Outcome_] = {}


def _except(target: str, names: str, promised: Outcome_, *, once: bool) -> None:
    EXCEPTIONS.update({(target, name.strip(), once): promised for name in names.split(";")})


# A POST whose answer cannot be read may have made a job: it is looked for, found, and waited for.
_UNREADABLE = "invalid JSON; JSON of another shape; a list where an object is due"
_except("userpilot trigger", f"{_UNREADABLE}; cut behind a bracket, without a length", "exact", once=True)
_except("userpilot trigger", f"{_UNREADABLE}; cut body, honestly announced; empty body", "exact", once=False)
# What came before the cut names the job.
_except("userpilot trigger", "wrong content length", "exact", once=False)
# The other spelling of the route is tried; the slot that was taken is free again.
_except("userpilot trigger", "status 404; status 409; redirect to another host", "exact", once=True)
_except("userpilot list", "status 404", "exact", once=True)
_except("userpilot show", "status 404", "exact", once=True)
_except("userpilot lookup, bare", "status 404", "exact", once=True)
_except("userpilot lookup, paged", "status 404", "exact", once=True)
# A link that is refused is replaced by a new one; what is refused is the link, not the credentials.
_REFUSALS = "status 400; status 401; status 403; status 404; status 409; redirect to another host"
_except("userpilot download", _REFUSALS, "exact", once=True)
# A garbled file is no longer what its compression says, and is fetched again at once.
_except("userpilot download", "invalid JSON", "exact", once=True)
