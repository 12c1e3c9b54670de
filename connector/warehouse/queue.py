"""A queue for a file that one process at a time may open.

A process that finds the file in use takes the first place of the queue if that is free. Those that come later let it
go first. Without a queue, readers that come and go would leave no moment without a reader, and a landing would wait
until its patience ends. The first place is a lock on a small file beside the one in question, so a process that dies
gives it up. Programs that do not know the queue open the file as before. The queue never raises: where it cannot work,
every process tries the file as often as it likes.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from connector.system.files import locked

# Seconds to let the first in the queue go first. If it gets no access for so long, it may be waiting for us.
YIELD_SECONDS = 30.0


class QueuePlace:
    """One wait for one file. Use it as a context manager, and open the file before it ends."""

    def __init__(self, file: Path) -> None:
        self._lock_file = file.with_name(f".{file.name}.next")
        self._yields_until = time.monotonic() + YIELD_SECONDS
        self._held = contextlib.ExitStack()
        self.is_first = False

    def __enter__(self) -> "QueuePlace":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def may_try(self) -> bool:
        """Whether to try the file now: no other process is to go first."""
        return self.is_first or time.monotonic() > self._yields_until or not self._is_taken()

    def take_first(self) -> None:
        """Take the first place if it is free."""
        if self.is_first:
            return
        # TimeoutError, an OSError, if it is taken; another OSError where no file can be made.
        with contextlib.suppress(OSError):
            self._held.enter_context(locked(self._lock_file))
            # Removed while the lock is held: later it could be the file of the next in the queue.
            self._held.callback(self._remove)
            self.is_first = True

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._lock_file.unlink()

    def _is_taken(self) -> bool:
        try:
            handle = os.open(self._lock_file, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # there is none, or it belongs to another user
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
