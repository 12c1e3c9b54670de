"""The spool: a vendor's answers as files on disk. Only a spool with a manifest, which is written last, counts.

A spool belongs to one reading of one day, and its folder is locked while it is in use. A folder whose lock is free was
left by a process that died; the next reading removes it. This module does not know what is in the files.
"""

import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import msgspec

from connector.errors import ContractError, TransientError
from connector.stream import Page, Stream
from connector.system.files import locked, private, private_folder, write_whole

FORMAT = 1
_MANIFEST = "manifest.json"
_LOCK = ".lock"
_NEW = ".new"
# A folder gets its final name within milliseconds. One without it after this many seconds was left by a dead process.
NAMED_WITHIN = 10.0


class Part(msgspec.Struct, frozen=True):
    """One file: a JSON array of ``rows`` records in ``bytes`` bytes."""

    name: str
    rows: int
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a complete spool holds.

    Attributes:
        days: the days that were read, with or without rows; the landing replaces exactly these.
        announced: the vendor's count for those days.
        hashed_with, rules: see :class:`connector.stream.Page`.
    """

    format: int
    table: str
    days: list[date]
    announced: int
    rows: int
    misfits: int
    strangers: list[str]
    warnings: list[str]
    parts: list[Part]
    hashed_with: str = ""
    rules: str = ""


class Spool:
    """A folder of complete files.

    Attributes:
        folder: where they are.
        manifest: what they hold.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    @property
    def files(self) -> list[Path]:
        return [self.folder / part.name for part in self.manifest.parts]

    def verify(self, where: str) -> None:
        """Check that every file has the size it was written with. A full disk or a clean-up job is noticed here.

        Raises:
            ContractError: a file is missing or has another size.
        """
        for part, file in zip(self.manifest.parts, self.files, strict=True):
            size = file.stat().st_size if file.exists() else -1
            if size != part.bytes:
                raise ContractError(
                    f"staged file {part.name} has {size} bytes and should have {part.bytes}",
                    where=where,
                    next_step="rerun the partition; keep clean-up jobs away from SPOOL_DIR.",
                )


@contextmanager
def spooling(spool_dir: Path, stream: Stream, day: date) -> Iterator[Path]:
    """A private, locked folder for one reading; removed when the block ends, also after an exception.

    Raises:
        TransientError: the folder cannot be created.
    """
    parent = spool_dir / stream.table
    with ExitStack() as stack:
        try:
            private_folder(parent)
            sweep(spool_dir)
            folder = parent / f"{day.isoformat()}-{uuid.uuid4().hex[:12]}"
            new = folder.with_suffix(_NEW)
            new.mkdir(mode=0o700)
            stack.enter_context(locked(new / _LOCK))
            # Renamed after it is locked: a folder with its final name and a free lock was left by a dead process.
            new.rename(folder)
        except OSError as fault:
            raise no_room(fault, stream.partition(day)) from None
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def sweep(spool_dir: Path, *, dry_run: bool = False) -> list[Path]:
    """Remove folders that dead processes left.

    Returns:
        The folders that were removed, or in a dry run would be.
    """
    removed = []
    for folder in (*spool_dir.glob("*/*-????????????"), *spool_dir.glob(f"*/*{_NEW}")):
        try:
            if folder.suffix == _NEW and time.time() - folder.stat().st_mtime < NAMED_WITHIN:
                continue
            with locked(folder / _LOCK):
                if not dry_run:
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
        removed.append(folder)
    return removed


def spool_pages(
    folder: Path,
    stream: Stream,
    day: date,
    pages: Iterable[Page],
    *,
    progress: Callable[[Page], None] | None = None,
) -> Spool:
    """Write pages as they come. The manifest is written after the last one: a reading that ends has proven the day.

    Args:
        folder: from :func:`spooling`.
        progress: called after every page.

    Raises:
        TransientError: the disk is full or not writable; nothing was landed.
        Exception: what ``pages`` raises; there is no manifest then, so there is no spool.
    """
    parts: list[Part] = []
    announced = rows = misfits = 0
    strangers: set[str] = set()
    warnings: list[str] = []
    hashed_with = rules = ""
    for page in pages:
        announced = page.announced
        if page.rows:
            parts.append(_write(folder, f"part-{page.number:05d}.json", page, stream.partition(day)))
        rows, misfits = rows + page.rows, misfits + page.misfits
        strangers |= page.strangers
        warnings += page.warnings
        hashed_with, rules = hashed_with or page.hashed_with, rules or page.rules
        if progress:
            progress(page)
    manifest = Manifest(
        format=FORMAT,
        table=stream.table,
        days=[day],
        announced=announced,
        rows=rows,
        misfits=misfits,
        strangers=sorted(strangers),
        warnings=warnings,
        parts=parts,
        hashed_with=hashed_with,
        rules=rules,
    )
    try:
        write_whole(folder / _MANIFEST, msgspec.json.encode(manifest))
    except OSError as fault:
        raise no_room(fault, stream.partition(day)) from None
    return Spool(folder, manifest)


def _write(folder: Path, name: str, page: Page, where: str) -> Part:
    try:
        with open(folder / name, "wb", opener=private) as file:
            file.write(page.body)
    except OSError as fault:
        raise no_room(fault, where) from None
    return Part(name, page.rows, len(page.body))


def no_room(fault: OSError, where: str) -> TransientError:
    """A disk's error as one of ours."""
    return TransientError(
        f"the spool cannot be written: {fault.strerror or type(fault).__name__}",
        where=where,
        next_step="free space on the disk of SPOOL_DIR, or point SPOOL_DIR to a writable folder; then rerun.",
    )
