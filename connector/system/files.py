"""Files and folders that only their user can read, whatever the umask is; locks between processes."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connector.errors import SettingsError

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


def write_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a private file: wholly, or not at all if the process is killed.

    Args:
        durable: whether it must also survive the death of the machine.
    """
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "wb", opener=private) as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    os.replace(unfinished, path)


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


def machine_folder(folder: Path | None = None) -> Path:
    """The folder where all processes of this user on the machine meet; made if it is missing.

    Raises:
        SettingsError: it cannot be made, or belongs to another user.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"connector-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as fault:
        raise unusable(folder, fault) from None
    if owner != os.getuid():
        # A user who made this folder where every user may write could read and change what is in it.
        raise SettingsError(
            "TMPDIR",
            f"holds a folder {folder.name} that belongs to another user",
            next_step="remove that folder, or set TMPDIR to a folder of your own.",
        )
    return folder


def unusable(folder: Path, fault: OSError) -> SettingsError:
    """The error that names the folder of :func:`machine_folder` and why it cannot be used."""
    return SettingsError(
        "TMPDIR",
        f"cannot hold the request budget and the locks of Track in {folder}: {fault.strerror or type(fault).__name__}",
        next_step="set TMPDIR to a folder that this user may write, the same for all runs of this client id.",
    )
