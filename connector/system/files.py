"""Files and folders that only their user can read, whatever the umask is, and locks between processes."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Seconds between two attempts to take a lock that is held.
RETRY_SECONDS = 0.05


def private(path: str, flags: int) -> int:
    """An ``opener`` for :func:`open`: a file that it creates is readable by its user only."""
    return os.open(path, flags, 0o600)


def private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, all for this user only. ``parents=True`` would ignore the mode above."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def locked(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold a lock against every other process and thread. The system frees it when its holder dies.

    The lock file is created if it is missing and is not removed. Its holder may remove it.

    Args:
        path: the lock file.
        patience: seconds to wait if the lock is held.

    Raises:
        TimeoutError: the lock was held all the time.
        OSError: the file cannot be created.
    """
    until = time.monotonic() + patience
    while (handle := _try_lock(path)) is None:
        if time.monotonic() >= until:
            raise TimeoutError(f"{path.name} is locked")
        time.sleep(RETRY_SECONDS)
    try:
        yield
    finally:
        os.close(handle)


def _try_lock(path: Path) -> int | None:
    handle, held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The last holder may have removed the file after we opened it. Then our lock is on a file without a name.
        held = os.fstat(handle).st_nlink > 0
    except BlockingIOError:
        pass
    finally:
        if not held:
            os.close(handle)
    return handle if held else None
