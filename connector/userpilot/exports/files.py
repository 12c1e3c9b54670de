"""The downloaded files of export jobs on disk: names, age, removal."""

import json
import shutil
import time
from contextlib import suppress
from pathlib import Path

from connector.errors import (
    BusyError,
)
from connector.system.files import locked
from connector.userpilot.exports.job import Job

FILES_KEPT = 4 * 86_400.0
_LEDGER_LOCKS = ("slot.lock", "exports.lock")


def prune_files(spool_dir: Path, *, older_than: float = FILES_KEPT, dry_run: bool = False) -> list[str]:
    """Remove fetched files that nobody landed in time, in every instance, and locks that are left of landed ones.

    Args:
        older_than: seconds since a file arrived last; the vendor forgets an export after three days.

    Returns:
        The ids of the exports whose files were removed; whoever still wants their days asks for a new one.
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


def remove_files(spool_dir: Path, *, dry_run: bool = False) -> list[str]:
    """Remove all fetched files that wait for their landing, in every instance; whoever lands them fetches them again.

    Returns:
        The ids of their exports.

    Raises:
        BusyError: some of them are being fetched or landed.
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
    """A file's name on our disk: the vendor's is a label, and might be a path."""
    return f"chunk-{job.files.index(name) + 1:05d}"


def names_in(folder: Path) -> list[str] | None:
    try:
        return [str(name) for name in json.loads((folder / "files.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        return None
