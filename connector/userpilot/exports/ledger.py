"""Export jobs remembered in a small file: the intent before the POST, the job's id right after.

Whoever comes after a killed process finds here which job is ours and which request may have been sent. Nothing secret
is in it: no key and no link. It decides nothing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from connector.errors import ContractError, TransientError
from connector.system.files import locked, private_folder
from connector.userpilot.exports.job import Job

FORMAT = 1
# Jobs are forgotten by the vendor after three days; finished ones stay here a while for people who look.
KEPT = 100


class _Book(msgspec.Struct, kw_only=True):
    format: int = FORMAT
    jobs: dict[str, Job] = {}
    # Every job id we ever made that the vendor may still list, with the id of its request.
    ours: dict[str, str] = {}


class Ledger:
    """One file below the spool folder, one entry a request; every write is whole or absent.

    Args:
        folder: made if missing, readable by nobody else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file, self._lock_file = folder / "exports.json", folder / "exports.lock"

    def jobs(self) -> list[Job]:
        """All remembered jobs, the newest last."""
        return list(self._read().jobs.values())

    def job(self, request_id: str) -> Job | None:
        """What became of a request."""
        return self._read().jobs.get(request_id)

    def ours(self) -> dict[str, str]:
        """Ids of our jobs and the requests they were made for."""
        return dict(self._read().ours)

    def write(self, job: Job) -> None:
        """Remember a job; durable when this returns."""
        self.change(lambda jobs: jobs.update({job.request.id: job}))

    def change(self, edit: Callable[[dict[str, Job]], object]) -> None:
        """Change several jobs in one write.

        Raises:
            TransientError: the folder cannot be written, or another process keeps the ledger locked.
        """
        with self._locked():
            book = self._read()
            edit(book.jobs)
            book.ours |= {job.job_id: key for key, job in book.jobs.items() if job.job_id}
            ended = [key for key, job in book.jobs.items() if job.state.is_terminal]
            for key in ended[:-KEPT]:
                del book.jobs[key]
            book.ours = dict(list(book.ours.items())[-10 * KEPT :])
            self._write(book)

    @contextmanager
    def slot(self, *, wait: float) -> Iterator[None]:
        """The right to ask for an export, for one process at a time; left behind by no killed one.

        Raises:
            TransientError: another process of ours asks all the time.
        """
        busy = TransientError(
            f"another process asks for an export for more than {wait:.0f} s",
            where="userpilot.events",
            next_step="ask again later; one export can run at a time.",
        )
        with self._holding(self.folder / "slot.lock", wait, busy):
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        busy = TransientError(
            "the ledger of exports is locked for more than 20 s",
            where="userpilot.events",
            next_step="end the process that hangs, then ask again.",
        )
        with self._holding(self._lock_file, 20.0, busy):
            yield

    @contextmanager
    def _holding(self, file: Path, patience: float, busy: TransientError) -> Iterator[None]:
        self._make_folder()
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(file, patience=patience))
            except TimeoutError:
                raise busy from None
            except OSError as fault:
                raise _not_writable(fault) from None
            yield

    def _make_folder(self) -> None:
        try:
            private_folder(self.folder)
        except OSError as fault:
            raise _not_writable(fault) from None

    def _read(self) -> _Book:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Book)
        except FileNotFoundError:
            return _Book()
        except (msgspec.DecodeError, OSError) as fault:
            raise ContractError(
                f"the ledger of exports cannot be read: {fault}",
                where="userpilot.events",
                next_step=f"look at {self._file.name} below SPOOL_DIR; without it, a running export counts as a "
                "stranger's and is waited for.",
            ) from None

    def _write(self, book: _Book) -> None:
        unfinished = self._file.with_suffix(".unfinished")
        try:
            with open(unfinished, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(msgspec.json.encode(book))
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self._file)
        except OSError as fault:
            raise _not_writable(fault) from None


def _not_writable(fault: OSError) -> TransientError:
    return TransientError(
        f"the ledger of exports cannot be written: {fault.strerror or type(fault).__name__}",
        where="userpilot.events",
        next_step="free space on the disk of SPOOL_DIR, or point SPOOL_DIR to a writable folder; then ask again.",
    )
