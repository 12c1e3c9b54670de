"""Counts requests, refusals, bytes and seconds of a reading, for its receipt."""

import threading
import time
from dataclasses import dataclass, field


@dataclass
class Meter:
    """Counters and a clock that starts when it is created. Safe for several threads.

    Attributes:
        requests: HTTP requests sent. refused: those that the rate limit refused. bytes: bytes received.
    """

    requests: int = 0
    refused: int = 0
    bytes: int = 0
    _started: float = field(default_factory=time.monotonic, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, requests: int = 0, refused: int = 0, received: int = 0) -> None:
        with self._lock:
            self.requests += requests
            self.refused += refused
            self.bytes += received

    def start_clock(self) -> None:
        """Count seconds from now on; the other counters stay."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started
