"""Files and folders that nobody but their user can read, whatever the machine's umask says.

What is in them, and how long they stay, other rooms know.
"""

import os
from pathlib import Path


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
