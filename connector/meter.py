"""Counts requests, refusals, bytes and seconds of a reading, for its receipt; tells how fast a long one is."""

import threading
import time
from dataclasses import dataclass, field

from connector.stream import Page

# Seconds between two sentences about one day.
TELL_EVERY = 5.0


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


class Pace:
    """How far a long day is, in a sentence every few seconds: page, rows, rows a second, time left."""

    def __init__(self, partition: str) -> None:
        self._partition, self._rows = partition, 0
        self._started = self._last = time.monotonic()

    def sentence(self, page: Page) -> str:
        """A sentence about a day after one more page; empty while the last one is young."""
        self._rows += page.rows
        now = time.monotonic()
        if now - self._last < TELL_EVERY:
            return ""
        self._last = now
        rate = self._rows / (now - self._started)
        left = max(page.announced - self._rows, 0) / rate if rate else 0.0
        return (
            f"{self._partition}: page {page.number}/{page.of}, {self._rows:,} of {page.announced:,} rows, "
            f"{rate:,.0f} rows/s, about {left:.0f} s left"
        )
