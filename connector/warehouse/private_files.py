"""What DuckDB writes itself is made readable by its user only; it takes no file mode as a setting."""

import contextlib
import os
import threading
from collections.abc import Iterator

_WRITERS, _MASK, _MASK_GUARD = 0, 0, threading.Lock()


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Files that this process creates meanwhile are readable by its user only.

    DuckDB creates its log, its spill files and the files of a lake itself, and all of them hold rows.
    """
    global _WRITERS, _MASK
    with _MASK_GUARD:
        if _WRITERS == 0:
            _MASK = os.umask(0o077)
        _WRITERS += 1
    try:
        yield
    finally:
        with _MASK_GUARD:
            _WRITERS -= 1
            if _WRITERS == 0:
                os.umask(_MASK)
