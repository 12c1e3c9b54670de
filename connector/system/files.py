"""Files and folders that nobody but their user can read, whatever the machine's umask says, and locks on them.

What is in them, and how long they stay, other rooms know.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Seconds between two looks at a lock that somebody holds.
LOOK = 0.05


def private(path: str, flags: int) -> int:
    """An ``opener`` for :func:`open`: a file it makes is its user's alone."""
    return os.open(path, flags, 0o600)


def private_folder(folder: Path) -> None:
    """Make a folder and what is missing above it, for this user alone; ``parents=True`` would open those above."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def locked(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold a lock file against every other process and thread; the system frees it when its holder dies.

    The file is made if it is missing, stays behind, and may be removed by whoever holds it.

    Args:
        patience: seconds to wait for whoever has it.

    Raises:
        TimeoutError: somebody else had it all the time.
        OSError: the file cannot be made.
    """
    until = time.monotonic() + patience
    while (handle := _take(path)) is None:
        if time.monotonic() >= until:
            raise TimeoutError(f"{path.name} is locked")
        time.sleep(LOOK)
    try:
        yield
    finally:
        os.close(handle)


def _take(path: Path) -> int | None:
    handle, held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder may have removed it after we opened it: what we hold then is no longer the file of that name.
        held = os.fstat(handle).st_nlink > 0
    except BlockingIOError:
        pass
    finally:
        if not held:
            os.close(handle)
    return handle if held else None
