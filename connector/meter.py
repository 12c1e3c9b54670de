"""What a reading costs, for its receipt: requests, refusals, bytes and seconds."""

import threading
import time
from dataclasses import dataclass, field


@dataclass
class Meter:
    """Counts from the moment it is made; several threads may add to it.

    Attributes:
        requests: HTTP requests sent. refused: those that met the rate limit. bytes: bytes received.
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
        """Count seconds from now; what was counted otherwise stays."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started
