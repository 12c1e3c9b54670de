"""The downloaded files of export jobs on disk: names, completeness, age, removal."""

import json
import shutil
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from connector.errors import BusyError
from connector.spool import no_room
from connector.system.files import locked, private_folder, write_whole
from connector.userpilot.exports.job import Job

FILES_KEPT = 4 * 86_400.0
_LEDGER_LOCKS = ("slot.lock", "exports.lock")


def prune_export_files(spool_dir: Path, *, older_than: float = FILES_KEPT, dry_run: bool = False) -> list[str]:
    """Remove fetched files that were not landed in time, in every instance, and left-over lock files of landed ones.

    Args:
        older_than: seconds since the last file arrived; the vendor forgets an export after three days.

    Returns:
        The ids of the exports whose files were removed. Their days need a new export.
    """
    found = []
    for path in (*spool_dir.glob("*.exports/*.chunks"), *spool_dir.glob("*.exports/*.lock")):
        is_lock = path.suffix == ".lock"
        if path.name in _LEDGER_LOCKS or (is_lock and (dry_run or path.with_suffix(".chunks").exists())):
            continue
        with suppress(OSError):
            if time.time() - path.stat().st_mtime <= older_than:
                continue
            with locked(path.with_suffix(".lock")):
                if not is_lock:
                    found.append(path.name.removesuffix(".chunks"))
                if not dry_run:
                    shutil.rmtree(path, ignore_errors=True)
                    path.with_suffix(".lock").unlink(missing_ok=True)
    return found


def remove_export_files(spool_dir: Path, *, dry_run: bool = False) -> list[str]:
    """Remove all fetched files that wait for their landing, in every instance. A landing fetches them again.

    Returns:
        The ids of their exports.

    Raises:
        BusyError: another process fetches or lands some of them.
    """
    found = []
    for folder in sorted(spool_dir.glob("*.exports/*.chunks")):
        job_id = folder.name.removesuffix(".chunks")
        found.append(job_id)
        if dry_run:
            continue
        try:
            with locked(folder.with_suffix(".lock"), patience=60.0):
                shutil.rmtree(folder, ignore_errors=True)
        except TimeoutError:
            raise BusyError(
                "another process fetches or lands an export",
                where=f"job {job_id[:8]}",
                next_step="wait for it, then run this once more.",
            ) from None
    return found


def local_name(job: Job, name: str) -> str:
    """A file's name on our disk. The vendor's name is not used, because it might be a path."""
    return f"chunk-{job.files.index(name) + 1:05d}"


def adopt_files(folder: Path, job: Job) -> Job:
    """The job with files that an earlier process fetched of the same set; files of another set are removed."""
    if read_names(folder) != list(job.files):
        for file in folder.glob("chunk-*"):
            file.unlink()
        write_names(folder, job)
    fetched = tuple(name for name in job.files if (folder / local_name(job, name)).exists())
    return msgspec.structs.replace(job, fetched=fetched)


def is_complete(folder: Path) -> bool:
    """Whether all files of the written names are there."""
    names = read_names(folder)
    return names is not None and all((folder / f"chunk-{n:05d}").exists() for n in range(1, len(names) + 1))


def write_names(folder: Path, job: Job) -> None:
    """Write the names of a job's files beside them.

    Raises:
        TransientError: the disk is full or not writable.
    """
    try:
        private_folder(folder)
        write_whole(folder / "files.json", json.dumps(list(job.files)).encode(), durable=False)
    except OSError as fault:
        raise no_room(fault, job.request.where) from None


def read_names(folder: Path) -> list[str] | None:
    """The written names; None if there are none."""
    try:
        return [str(name) for name in json.loads((folder / "files.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        return None
