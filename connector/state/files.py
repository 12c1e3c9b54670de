"""Shared state in files of one machine: needs nothing, and ends at the machine's disk."""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connector.state.kinds import Content, Held
from connector.system.files import locked, private, private_folder, unusable, write_whole


class FileState:
    """A file for what is kept under each name, and a ``.lock`` file beside it.

    Args:
        folder: made with the first lock; readable by its user only.
    """

    where = "the files below SPOOL_DIR"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def locked(self, name: str, *, patience: float = 0.0) -> Iterator[Held]:
        private_folder(self._folder)
        path = self._folder / name
        with locked(path.with_suffix(".lock"), patience=patience):
            yield _File(path)

    def read(self, name: str) -> bytes | None:
        return _File(self._folder / name).read()

    def names(self, ending: str) -> list[str]:
        return sorted(path.name for path in self._folder.glob(f"*{ending}"))

    def cell(self, name: str) -> "FileCell":
        try:
            return FileCell(self._folder / name)
        except OSError as fault:
            raise unusable(self._folder, fault) from None


class _File:
    """What is kept under one name."""

    ahead = 0.0

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, content: bytes, *, durable: bool = True) -> None:
        write_whole(self._path, content, durable=durable)

    def append(self, content: bytes, *, durable: bool = True) -> None:
        with open(self._path, "ab", opener=private) as file:
            file.write(content)
            file.flush()
            if durable:
                os.fdatasync(file.fileno())


class FileCell:
    """A small file that stays open: the lock belongs to this file description, and opening costs more than a change."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._threads = threading.Lock()

    @contextmanager
    def changing(self) -> Iterator[Content]:
        with self._threads:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                content = Content(before := os.pread(self._file, 4096, 0))
                yield content
                if content.data != before:
                    os.pwrite(self._file, content.data, 0)
                    os.ftruncate(self._file, len(content.data))
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._file)
