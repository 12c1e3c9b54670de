"""What a command tells beside its results, on standard error: plain lines, or one JSON object a line.

Modules below log to the logger ``connector``, as libraries do; this is the command's own handler of it.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from connector.cli.output import say

log = logging.getLogger("connector")


class _Handler(logging.Handler):
    """Writes to what is standard error now; a progress display takes lines over while it is shown."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json
        self.write: Callable[[str], None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        line = _as_json(record) if self._as_json else record.getMessage()
        if self.write:
            self.write(line)
        else:
            say(line, sys.stderr)


def _as_json(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return json.dumps(
        {"at": at, "level": record.levelname.lower(), "message": record.getMessage(), **getattr(record, "fields", {})}
    )


@contextmanager
def logging_to_stderr(*, quiet: bool, as_json: bool) -> Iterator[None]:
    """The command's log for as long as the block lasts.

    Args:
        quiet: errors only.
        as_json: one JSON object a line, with ``at``, ``level``, ``message``, and the parts of an error.
    """
    handler, before, passes = _Handler(as_json=as_json), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.ERROR if quiet else logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
        log.propagate = passes


@contextmanager
def lines_go_to(write: Callable[[str], None]) -> Iterator[None]:
    """While the block lasts, lines are written above a progress display."""
    ours = [handler for handler in log.handlers if isinstance(handler, _Handler)]
    for handler in ours:
        handler.write = write
    try:
        yield
    finally:
        for handler in ours:
            handler.write = None
