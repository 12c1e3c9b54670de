"""The ledger: export jobs in a small document, with the intent before the POST and the job's id right after.

After a kill, the next process finds here which job is ours and which request may have been sent. It holds no key and
no link.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from connector.errors import ContractError, TransientError
from connector.state.kinds import Held
from connector.state.place import folders, of_folder
from connector.userpilot.exports.job import Job

FORMAT = 1
NAME = "exports.json"
# Ended jobs that are kept, for people who look at them. The vendor forgets a job after three days.
KEPT = 100


class _Content(msgspec.Struct, kw_only=True):
    format: int = FORMAT
    jobs: dict[str, Job] = {}
    # Job id -> request id of every job of ours that the vendor may still list.
    ours: dict[str, str] = {}


class Ledger:
    """One entry for each request. Every write replaces all of them or has no effect.

    Args:
        folder: for the file and the locks; see :func:`connector.state.place.of_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self._state = of_folder(folder)

    def jobs(self) -> list[Job]:
        """All remembered jobs, the newest last."""
        return list(self._read().jobs.values())

    def job(self, request_id: str) -> Job | None:
        """The job of a request; None if it is not known."""
        return self._read().jobs.get(request_id)

    def ours(self) -> dict[str, str]:
        """Job id -> request id of our jobs."""
        return dict(self._read().ours)

    def write(self, job: Job) -> None:
        """Remember a job; durable when this returns."""
        self.change(lambda jobs: jobs.update({job.request.id: job}))

    def change(self, edit: Callable[[dict[str, Job]], object]) -> None:
        """Change several jobs in one write.

        Raises:
            TransientError: the folder cannot be written, or another process keeps the ledger locked.
        """
        with self._locked() as held:
            content = self._read()
            edit(content.jobs)
            content.ours |= {job.job_id: key for key, job in content.jobs.items() if job.job_id}
            ended = [key for key, job in content.jobs.items() if job.state.is_terminal]
            for key in ended[:-KEPT]:
                del content.jobs[key]
            content.ours = dict(list(content.ours.items())[-10 * KEPT :])
            try:
                held.write(msgspec.json.encode(content))
            except OSError as fault:
                raise _not_writable(fault) from None

    @contextmanager
    def slot(self, *, wait: float) -> Iterator[None]:
        """The right to request an export, for one process at a time. A killed process gives it up.

        Args:
            wait: seconds to wait for another process.

        Raises:
            TransientError: another process of ours held it all the time.
        """
        busy = TransientError(
            f"another process asks for an export for more than {wait:.0f} s",
            where="userpilot.events",
            next_step="ask again later; one export can run at a time.",
        )
        with self._holding("slot", wait, busy):
            yield

    @contextmanager
    def _locked(self) -> Iterator[Held]:
        busy = TransientError(
            "the ledger of exports is locked for more than 20 s",
            where="userpilot.events",
            next_step="end the process that hangs, then ask again.",
        )
        with self._holding(NAME, 20.0, busy) as held:
            yield held

    @contextmanager
    def _holding(self, name: str, patience: float, busy: TransientError) -> Iterator[Held]:
        with ExitStack() as stack:
            try:
                held = stack.enter_context(self._state.locked(name, patience=patience))
            except TimeoutError:
                raise busy from None
            except OSError as fault:
                raise _not_writable(fault) from None
            yield held

    def _read(self) -> _Content:
        try:
            found = self._state.read(NAME)
            return _Content() if found is None else msgspec.json.decode(found, type=_Content)
        except (msgspec.DecodeError, OSError) as fault:
            raise ContractError(
                f"the ledger of exports cannot be read: {fault}",
                where="userpilot.events",
                next_step=f"look at {NAME} in {self._state.where}. If you remove it, a running export of ours "
                "counts as foreign, and the connector waits until it ends.",
            ) from None


def ledgers(spool_dir: Path) -> list[Ledger]:
    """The ledgers of every environment that exported into a spool."""
    return [Ledger(folder) for folder in folders(spool_dir, NAME) if folder.suffix == ".exports"]


def _not_writable(fault: OSError) -> TransientError:
    return TransientError(
        f"the ledger of exports cannot be written: {fault.strerror or type(fault).__name__}",
        where="userpilot.events",
        next_step="free space on the disk of SPOOL_DIR, or point SPOOL_DIR to a writable folder; then ask again.",
    )
