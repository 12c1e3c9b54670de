"""Who is next at a file that belongs to one process at a time.

Whoever finds the file taken goes to the head of the line, if nobody is there, and whoever comes later lets the head go
first. Without it, readers that come and go leave no moment without a reader, and a landing waits until its patience
ends. The head holds a lock on a small file beside the one it waits for, so one that dies holds up nobody. Programs
that do not know the line meet the file as ever, and this room never fails: at worst nobody lets anybody go first.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from connector.system.files import locked

# Seconds to let somebody else go first: a head that does not get in for so long may be waiting for us.
COURTESY = 30.0


class Turn:
    """One wait for one file; use it as a context manager, and open the file before it ends."""

    def __init__(self, file: Path) -> None:
        self._head = file.with_name(f".{file.name}.next")
        self._courteous_until = time.monotonic() + COURTESY
        self._held = contextlib.ExitStack()
        self.is_head = False

    def __enter__(self) -> "Turn":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def comes(self) -> bool:
        """Whether to try the file now: nobody else is to go first."""
        return self.is_head or time.monotonic() > self._courteous_until or not self._is_held()

    def stand(self) -> None:
        """Go to the head of the line, if that is free."""
        if self.is_head:
            return
        # TimeoutError, an OSError, when somebody is there; others where no file can be made here.
        with contextlib.suppress(OSError):
            self._held.enter_context(locked(self._head))
            self._held.callback(self._remove)  # before the lock goes: never the file of whoever came next
            self.is_head = True

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._head.unlink()

    def _is_held(self) -> bool:
        try:
            handle = os.open(self._head, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # there is none, or it is another user's
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without such locks
            return False
        finally:
            os.close(handle)
        return False
