"""Carries out the steps that ``machine.py`` decides: request, wait, fetch, land.

The command line, Dagster and notebooks all use this class. Files stay in a folder named after their job until they are
landed, so a killed process loses at most the file that it was fetching. Schedules are not made here.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from connector.catalogue.userpilot import EVENTS
from connector.errors import (
    BusyError,
    ConnectorError,
    ContractError,
    InProgressError,
    RejectedError,
    SuddenDropError,
    TransientError,
    UndatedError,
)
from connector.landing.days_from_files import RangeReceipt, land_files
from connector.landing.receipts import record_failure
from connector.meter import Meter
from connector.spool import no_room
from connector.stream import Stream
from connector.system.files import locked, private_folder
from connector.userpilot.client import LinkError, Userpilot
from connector.userpilot.exports.files import (
    adopt_files,
    is_complete,
    local_name,
    prune_export_files,
    read_names,
    write_names,
)
from connector.userpilot.exports.job import Do, Fetched, Job, LinkRefused, Listed, Report, Shown, State, halves
from connector.userpilot.exports.ledger import Ledger
from connector.userpilot.exports.machine import LOSSES, after_report, next_action, waits_until, with_intent
from connector.userpilot.exports.origin import origin_of
from connector.userpilot.exports.request import Request
from connector.warehouse.connection import Warehouse

# A job that a dead process of ours requested is adopted while it is younger than this. An older one has old data.
ADOPTABLE = timedelta(hours=6)
# Seconds that a process waits in place for an export, also for one that holds the slot.
PATIENCE = 6 * 3600.0

Tell = Callable[[str], None]


class LostError(TransientError):
    """The vendor no longer has the export or its files, and they were not fetched in time: a new export is needed."""


@dataclass
class Exports:
    """Requests, follows, fetches and lands exports.

    Attributes:
        client: sends the requests.
        spool_dir: folder for the ledger and the files.
        clock, sleep: replaced in tests.
    """

    client: Userpilot
    spool_dir: Path
    stream: Stream = EVENTS
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    meter: Meter = field(default_factory=Meter)

    @property
    def folder(self) -> Path:
        return self.spool_dir / f"{self.stream.schema}.exports"

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder)

    # ---------- requesting

    def ask(self, request: Request, *, attempts: int = 0, halved: bool = False) -> Job:
        """Request an export, or adopt a young job of ours for the same request. Takes seconds.

        Args:
            attempts, halved: what the caller knows of earlier attempts.

        Returns:
            The job: in state ``polling`` or further, or waiting for another export that holds the slot (``foreign``,
            ``candidate``), or waiting for its next attempt.

        Raises:
            RejectedError: the key, the plan or an option is wrong.
            ContractError: the export failed, or was lost, too often.
        """
        ledger = self.ledger
        if half := next(iter(self.open_halves(request)), None):
            request, attempts, halved = half.request, half.attempts, True
        with ledger.slot(wait=60.0):
            job = self._remembered(request) or Job(request=request, attempts=attempts, halved=halved)
            if job.state in (State.POLLING, State.READY):
                job = self._show(job)[0]  # the job in the ledger may have ended since
            if job.state == State.IDLE:
                # An old listing says nothing about the slot now. A caller that counted the attempts has also waited.
                waited = attempts and attempts >= job.attempts
                not_before = None if waited else job.not_before
                attempts, halved = max(attempts, job.attempts), halved or job.halved
                job = msgspec.structs.replace(
                    job, attempts=attempts, halved=halved, listed_at=None, not_before=not_before
                )
            while True:
                job, do = next_action(job, self.clock())
                match do:
                    case Do.LIST:
                        job = self._list(job)
                        if job.state in (State.FOREIGN, State.CANDIDATE):
                            return self._remember(job)
                    case Do.SUBMIT:
                        job = self._submit(job)
                    case Do.HALVE:
                        job = self._halve(job)
                    case Do.STOP:
                        raise _gave_up(self._remember(job))
                    case Do.WAIT if job.state == State.TRIGGERING:
                        self.sleep(max((waits_until(job, self.clock()) - self.clock()).total_seconds(), 0.0))
                    case _:
                        return self._remember(job)  # with its id, right after the POST

    def look(self, job: Job) -> Job:
        """Look at a job or at the slot once, if it is time to. Only reads from the vendor, so a sensor may call it."""
        job, do = next_action(job, self.clock())
        match do:
            case Do.LIST:
                return self._list(job)
            case Do.LOOK:
                return self._show(job)[0]
        return job

    def wait(self, request: Request, *, patience: float = PATIENCE, tell: Tell | None = None) -> Iterator[Job]:
        """Request an export and wait until its files are fetched.

        Args:
            patience: seconds to wait.
            tell: called with every new sentence about the progress.

        Yields:
            The job with all its files; two jobs if the days had to be halved.

        Raises:
            InProgressError: patience is over. The job continues, and the next call for the same request finds it.
            RejectedError: the vendor refused the request.
            ContractError: the export failed, or was lost, too often.
        """
        until = self.clock() + timedelta(seconds=patience)
        waiting = [Job(request=request)]
        while waiting:
            job = self._until_fetched(waiting.pop(0), until, tell or (lambda _: None))
            if isinstance(job, list):
                waiting = [*job, *waiting]
                continue
            yield job

    def _until_fetched(self, job: Job, until: datetime, tell: Tell) -> Job | list[Job]:
        told = ""
        while True:
            now = self.clock()
            job, do = next_action(job, now)
            if (line := job.sentence(now)) != told:
                tell(line)
                told = line
            is_completed = job.state == State.READY  # what is left to wait for takes seconds
            if now >= until and not is_completed and (do in (Do.WAIT, Do.LOOK) or (do == Do.LIST and job.asked_at)):
                raise _still_running(job, now)
            match do:
                case Do.LAND:
                    return job
                case Do.STOP:
                    raise _gave_up(job)
                case Do.WAIT:
                    self._pause(job, until)
                case Do.LIST | Do.SUBMIT | Do.HALVE:
                    wanted = job.request
                    job = self.ask(wanted, attempts=job.attempts, halved=job.halved)
                    if job.request != wanted:
                        return self.open_halves(wanted)
                case Do.LOOK:
                    job = self._remember(self._show(job)[0])
                case Do.DOWNLOAD:
                    job = self._remember(self.fetch(job, tell))

    def _pause(self, job: Job, until: datetime) -> None:
        """Sleep until the next request is due, in slices, so that a cancelled run ends soon."""
        now = self.clock()
        due = waits_until(job, now)
        left = ((due if job.state == State.READY else min(due, until)) - now).total_seconds()
        while left > 0:
            self.sleep(min(left, 1.0))
            left -= 1.0

    # ---------- fetching

    def fetch(self, job: Job, tell: Tell | None = None) -> Job:
        """Fetch the missing files of a completed job, one after the other, each proven whole.

        Returns:
            The job with all files fetched, or back at the start if its files are lost.

        Raises:
            TransientError: a download failed or the disk is full; files fetched before are kept.
        """
        with self.locked(job.job_id) as folder:
            if job.state != State.FETCHED and is_complete(folder):
                return msgspec.structs.replace(job, state=State.FETCHED)
            job, links = self._show(job)
            while True:
                job, do = next_action(job, self.clock())
                if do == Do.WAIT:
                    self._pause(job, waits_until(job, self.clock()))
                if do in (Do.LOOK, Do.WAIT):
                    job, links = self._show(job)
                    continue
                if do != Do.DOWNLOAD:
                    break
                job = adopt_files(folder, job)
                left = [name for name in job.files if name not in job.fetched]
                if not left:
                    continue
                job = after_report(job, self._download(job, left[0], links, folder), self.clock())
                if tell:
                    tell(job.sentence(self.clock()))
            if job.state == State.IDLE or job.state.is_terminal:
                shutil.rmtree(folder, ignore_errors=True)
            elif not job.files:
                write_names(folder, job)
            return job

    def _download(self, job: Job, name: str, links: dict[str, str], folder: Path) -> Report:
        try:
            self.client.download(links[name], folder / local_name(job, name), where=job.request.where, meter=self.meter)
        except LinkError as error:
            return LinkRefused(gone=error.gone, problem=error.what)
        return Fetched(name)

    @contextmanager
    def locked(self, job_id: str) -> Iterator[Path]:
        """The folder of a job's files, locked for one process at a time.

        Raises:
            BusyError: another process fetches or lands the same export.
            TransientError: the folder cannot be created.
        """
        folder = self.folder / f"{job_id}.chunks"
        with ExitStack() as stack:
            try:
                private_folder(self.folder)
                stack.enter_context(locked(self.folder / f"{job_id}.lock", patience=60.0))
                folder.mkdir(mode=0o700, exist_ok=True)
            except TimeoutError:
                raise BusyError(
                    "another process fetches or lands the same export",
                    where=f"{self.stream.table} job {job_id[:8]}",
                    next_step="wait for it, then rerun if it failed.",
                ) from None
            except OSError as fault:
                raise no_room(fault, f"{self.stream.table} job {job_id[:8]}") from None
            yield folder

    # ---------- landing

    def land(
        self,
        job: Job,
        *,
        warehouse: Warehouse,
        allow_drop: bool = False,
        allow_undated: bool = False,
        tell: Tell | None = None,
    ) -> RangeReceipt:
        """Fetch the missing files, and replace the requested days by the files of a completed job.

        Args:
            allow_drop: see :func:`connector.landing.days_from_files.land_files`.
            allow_undated: see :class:`connector.landing.days_from_files.Origin`.

        Raises:
            UndatedError: rows have no usable time; the files are kept for a landing that allows it.
            InProgressError: the job is not complete yet.
            LostError: the job or its files are gone; request a new export.
            ConnectorError: from the client, the files or the landing. The rows landed before are still in place.
        """
        warehouse.must_not_be_named(self.stream.schema)
        request = job.request
        self.meter.start_clock()
        try:
            if job.state != State.FETCHED:
                job = self._remember(self.fetch(job, tell))
            if job.state in (State.POLLING, State.TRIGGERING):
                raise InProgressError(
                    f"{job.sentence(self.clock())}; the export is not complete yet",
                    where=request.where,
                    next_step="land it later.",
                )
            if job.state != State.FETCHED:
                raise LostError(
                    f"the export is lost: {job.problem or job.state}",
                    where=request.where,
                    next_step="ask for the days again; in Dagster the export sensor does that.",
                )
            return self._land(job, warehouse, allow_drop=allow_drop, allow_undated=allow_undated)
        except InProgressError:
            raise
        except ConnectorError as error:
            with suppress(ConnectorError):
                record_failure(warehouse, self.stream, request.days, error, self.meter)
            raise

    def _land(self, job: Job, warehouse: Warehouse, *, allow_drop: bool, allow_undated: bool) -> RangeReceipt:
        request = job.request
        with self.locked(job.job_id) as folder:
            names = read_names(folder)
            if names is None and not job.files:
                names = []  # completed without any file
            if names is None:
                raise LostError("its files were removed", where=request.where, next_step="ask for the days again.")
            protector = self.client.privacy.protector(self.stream) if self.client.privacy else None
            origin = replace(origin_of(job, protector), allow_undated=allow_undated)
            files = [folder / f"chunk-{n:05d}" for n in range(1, len(names) + 1)]
            if protector:
                files = protector.files(files, folder / "protected", where=request.where)
            try:
                receipt = land_files(warehouse, self.stream, files, origin, allow_drop=allow_drop, meter=self.meter)
            except (SuddenDropError, UndatedError):
                raise  # they land once that is allowed
            except ContractError as error:
                # Files that cannot land now never can. If they were kept, every rerun would fail on them.
                shutil.rmtree(folder, ignore_errors=True)
                ready = msgspec.structs.replace(job, state=State.READY)
                self._remember(after_report(ready, LinkRefused(gone=True, problem=error.what), self.clock()))
                raise
            # The rows are landed. What follows is clean-up; after a kill here the landing is repeated without effect.
            self._remember(msgspec.structs.replace(job, state=State.LANDED))
            shutil.rmtree(folder, ignore_errors=True)
        self.sweep()
        return receipt

    def sweep(self) -> None:
        """Remove files that were not landed within days. The vendor has forgotten their job by then."""
        prune_export_files(self.spool_dir)

    # ---------- one step each

    def _list(self, job: Job) -> Job:
        jobs = self.client.list_jobs(where=job.request.where, meter=self.meter)
        known = {seen.job_id for seen in jobs} if job.state != State.TRIGGERING else set[str]()
        job = after_report(job, Listed(jobs, self.ledger.ours()), self.clock())
        # Jobs that are listed before a POST were not created by it.
        return msgspec.structs.replace(job, known=tuple(sorted(known))) if known and job.state == State.IDLE else job

    def _submit(self, job: Job) -> Job:
        ledger = self.ledger
        job = with_intent(job, self.clock())
        ledger.write(job)  # the intent, before the POST
        try:
            report = self.client.trigger(job.request, meter=self.meter)
        except RejectedError as error:
            ledger.write(msgspec.structs.replace(job, state=State.FATAL, problem=error.what))
            raise
        return after_report(job, report, self.clock())

    def _show(self, job: Job) -> tuple[Job, dict[str, str]]:
        seen = self.client.show(job.job_id, where=job.request.where, meter=self.meter)
        return after_report(job, Shown(seen), self.clock()), dict(seen.links) if seen else {}

    def _halve(self, job: Job) -> Job:
        first, second = halves(job)

        def edit(jobs: dict[str, Job]) -> None:
            jobs[job.request.id] = msgspec.structs.replace(job, state=State.HALVED, asked_at=self.clock())
            jobs.update({half.request.id: half for half in (first, second)})

        self.ledger.change(edit)
        return first

    def open_halves(self, request: Request) -> list[Job]:
        """The halves that are not landed yet of a request that was halved recently; none if it was not halved."""
        known = {job.request.id: job for job in self.ledger.jobs()}
        whole = known.get(request.id)
        if whole is None or whole.state != State.HALVED:
            return []
        both = [known.get(half.request.id, half) for half in halves(whole)]
        newest = max(moment for job in (whole, *both) if (moment := job.started or job.asked_at))
        if self.clock() - newest > ADOPTABLE:
            return []
        return [
            Job(request=half.request, halved=True) if half.state == State.FATAL else half
            for half in both
            if half.state != State.LANDED
        ]

    def _remembered(self, request: Request) -> Job | None:
        job = self.ledger.job(request.id)
        if job is None or job.state.is_terminal:
            return None
        if job.started and self.clock() - job.started > ADOPTABLE:
            return Job(request=request, attempts=0)
        if job.state == State.FETCHED and not is_complete(self.folder / f"{job.job_id}.chunks"):
            # Another machine fetched its files, or they were removed: they are fetched once more.
            return msgspec.structs.replace(job, state=State.READY, fetched=())
        return job

    def _remember(self, job: Job) -> Job:
        self.ledger.write(job)
        return job


def _still_running(job: Job, now: datetime) -> InProgressError:
    return InProgressError(
        f"{job.sentence(now)}; the export is not complete yet",
        where=job.request.where,
        next_step="ask again later: the job is remembered, and no second one is started.",
    )


def _gave_up(job: Job) -> ConnectorError:
    if job.lost >= LOSSES:
        return ContractError(
            job.problem,
            where=job.request.where,
            next_step="check that this machine's clock is right, that the vendor and its file host can be reached, and "
            "that no proxy refuses or cuts their answers; then ask again.",
        )
    return ContractError(
        job.problem or f"the export ended as {job.state}",
        where=job.request.where,
        next_step="ask for fewer days at a time; if single days fail as well, ask the vendor's support about the job.",
    )
