"""Carries out what ``export.py`` decides: ask, wait, fetch, land. The one way an export travels, whoever wants it.

Files lie in a folder named after their job until they are landed, so a killed process loses at most the file it was
fetching. Nothing here decides what comes next, and nothing here runs on a schedule.
"""

import json
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
from connector.userpilot.exports.files import local_name, names_in, prune_files
from connector.userpilot.exports.job import Do, Fetched, Job, LinkRefused, Listed, Said, Shown, State, halves
from connector.userpilot.exports.ledger import Ledger
from connector.userpilot.exports.machine import LOSSES, heard, next_action, submitting, waits_until
from connector.userpilot.exports.origin import origin_of
from connector.userpilot.exports.request import Request
from connector.warehouse.connection import Warehouse

# A job asked for by somebody of ours who died is taken over while it is this young; an older one is yesterday's news.
ADOPTABLE = timedelta(hours=6)
# How long a process waits in place for an export, and for a slot that somebody else holds.
PATIENCE = 6 * 3600.0

Tell = Callable[[str], None]


class LostError(TransientError):
    """The vendor has forgotten the export, or its files, before they were ours: a new export is needed."""


@dataclass
class Exports:
    """Everything one process does with exports.

    Attributes:
        client: asks the vendor.
        spool_dir: the ledger and the files lie below it.
        clock, sleep: time; tests bring their own.
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

    # ---------- asking

    def ask(self, request: Request, *, attempts: int = 0, halved: bool = False) -> Job:
        """Have a job for a request, unless somebody else holds the slot; over in seconds.

        A job of ours for the same request that is still young is taken over, whoever asked for it.

        Returns:
            The job: polling or further, or held up by somebody else's (``foreign``, ``candidate``), or waiting for
            its next attempt.

        Raises:
            RejectedError: the key, the plan or an option is wrong.
            ContractError: it failed, or was lost, too often.
        """
        ledger = self.ledger
        if half := next(iter(self.open_halves(request)), None):
            request, attempts, halved = half.request, half.attempts, True
        with ledger.slot(wait=60.0):
            job = self._remembered(request) or Job(request=request, attempts=attempts, halved=halved)
            if job.state in (State.POLLING, State.READY):
                job = self._show(job)[0]  # what the ledger remembers may be over by now
            if job.state == State.IDLE:
                # What was seen before is not what is now; and whoever counted an attempt has waited for it as well.
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
                        return self._remember(job)  # with its id, right after it was asked for

    def look(self, job: Job) -> Job:
        """One look at a job or at the slot, if it is time for one. Only reads; safe for a sensor."""
        job, do = next_action(job, self.clock())
        match do:
            case Do.LIST:
                return self._list(job)
            case Do.LOOK:
                return self._show(job)[0]
        return job

    def wait(self, request: Request, *, patience: float = PATIENCE, tell: Tell | None = None) -> Iterator[Job]:
        """Ask, and wait in place until the files of the export are ours; two jobs if the days had to be halved.

        Raises:
            InProgressError: patience is over; the job goes on and is found again by whoever asks for the same.
            RejectedError: refused, or failed at the vendor too often.
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
        said = ""
        while True:
            now = self.clock()
            job, do = next_action(job, now)
            if (line := job.sentence(now)) != said:
                tell(line)
                said = line
            is_over = job.state == State.READY  # what is left to wait for takes seconds
            if now >= until and not is_over and (do in (Do.WAIT, Do.LOOK) or (do == Do.LIST and job.asked_at)):
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
        """Sleep until it is time to ask again, in slices, so that a cancelled run ends soon."""
        now = self.clock()
        due = waits_until(job, now)
        left = ((due if job.state == State.READY else min(due, until)) - now).total_seconds()
        while left > 0:
            self.sleep(min(left, 1.0))
            left -= 1.0

    # ---------- fetching

    def fetch(self, job: Job, tell: Tell | None = None) -> Job:
        """The files of a completed job, as far as they are not ours yet; one after the other, each proven whole.

        Returns:
            The job with all files fetched, or back at the start if its files are lost.
        """
        with self.locked(job.job_id) as folder:
            if job.state != State.FETCHED and self._complete(folder, job):
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
                job = self._adopt_files(folder, job)
                left = [name for name in job.files if name not in job.fetched]
                if not left:
                    continue
                job = heard(job, self._download(job, left[0], links, folder), self.clock())
                if tell:
                    tell(job.sentence(self.clock()))
            if job.state == State.IDLE or job.state.is_terminal:
                shutil.rmtree(folder, ignore_errors=True)
            elif not job.files:
                self._write_names(folder, job)
            return job

    def _download(self, job: Job, name: str, links: dict[str, str], folder: Path) -> Said:
        try:
            self.client.download(links[name], folder / local_name(job, name), where=job.request.where, meter=self.meter)
        except LinkError as error:
            return LinkRefused(gone=error.gone, problem=error.what)
        return Fetched(name)

    def _adopt_files(self, folder: Path, job: Job) -> Job:
        """What an earlier process fetched of the same files counts; of other files, nothing does."""
        known = names_in(folder)
        if known != list(job.files):
            for file in folder.glob("chunk-*"):
                file.unlink()
            self._write_names(folder, job)
        fetched = tuple(name for name in job.files if (folder / local_name(job, name)).exists())
        return msgspec.structs.replace(job, fetched=fetched)

    def _write_names(self, folder: Path, job: Job) -> None:
        try:
            private_folder(folder)
            unfinished = folder / "files.unfinished"
            unfinished.touch(mode=0o600)
            unfinished.write_text(json.dumps(list(job.files)))
            unfinished.replace(folder / "files.json")
        except OSError as fault:
            raise no_room(fault, job.request.where) from None

    def _complete(self, folder: Path, job: Job) -> bool:
        names = names_in(folder)
        return names is not None and all((folder / f"chunk-{n:05d}").exists() for n in range(1, len(names) + 1))

    @contextmanager
    def locked(self, job_id: str) -> Iterator[Path]:
        """The folder of a job's files, for one process at a time."""
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
        """Fetch what is missing, and replace the requested days by the files of a completed job.

        Args:
            allow_drop: see :func:`connector.landing.days_from_files.land_files`.
            allow_undated: see :class:`connector.landing.days_from_files.Origin`.

        Raises:
            UndatedError: rows have no usable time; the files are kept for a landing that allows it.
            InProgressError: the job is not complete yet.
            LostError: the job or its files are gone; ask for a new one.
            ConnectorError: as the rooms below raise it. The rows landed before are then still in place.
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
                    next_step="ask for the days again; the sensor does it by itself.",
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
            names = names_in(folder)
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
                # Files that cannot land now never can: kept, every rerun would meet them again.
                shutil.rmtree(folder, ignore_errors=True)
                ready = msgspec.structs.replace(job, state=State.READY)
                self._remember(heard(ready, LinkRefused(gone=True, problem=error.what), self.clock()))
                raise
            # Landed is landed: what follows is tidying up, and a kill in between repeats a landing without effect.
            self._remember(msgspec.structs.replace(job, state=State.LANDED))
            shutil.rmtree(folder, ignore_errors=True)
        self.sweep()
        return receipt

    def sweep(self) -> None:
        """Remove files that nobody landed within days; their job is forgotten by then."""
        prune_files(self.spool_dir)

    # ---------- one act each

    def _list(self, job: Job) -> Job:
        jobs = self.client.list_jobs(where=job.request.where, meter=self.meter)
        known = {seen.job_id for seen in jobs} if job.state != State.TRIGGERING else set[str]()
        job = heard(job, Listed(jobs, self.ledger.ours()), self.clock())
        # Whatever is listed before a POST was not made by it.
        return msgspec.structs.replace(job, known=tuple(sorted(known))) if known and job.state == State.IDLE else job

    def _submit(self, job: Job) -> Job:
        ledger = self.ledger
        job = submitting(job, self.clock())
        ledger.write(job)  # the intent, before the POST
        try:
            said = self.client.trigger(job.request, meter=self.meter)
        except RejectedError as error:
            ledger.write(msgspec.structs.replace(job, state=State.FATAL, problem=error.what))
            raise
        return heard(job, said, self.clock())

    def _show(self, job: Job) -> tuple[Job, dict[str, str]]:
        seen = self.client.show(job.job_id, where=job.request.where, meter=self.meter)
        return heard(job, Shown(seen), self.clock()), dict(seen.links) if seen else {}

    def _halve(self, job: Job) -> Job:
        first, second = halves(job)

        def edit(jobs: dict[str, Job]) -> None:
            jobs[job.request.id] = msgspec.structs.replace(job, state=State.HALVED, asked_at=self.clock())
            jobs.update({half.request.id: half for half in (first, second)})

        self.ledger.change(edit)
        return first

    def open_halves(self, request: Request) -> list[Job]:
        """What is left of a request that was halved not long ago; nothing if it was not, or if both halves landed."""
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
        return job

    def _remember(self, job: Job) -> Job:
        self.ledger.write(job)
        return job


def _still_running(job: Job, now: datetime) -> InProgressError:
    return InProgressError(
        f"{job.sentence(now)}; the export is not complete yet",
        where=job.request.where,
        next_step="ask again later: the job is remembered and found again, no second one is started.",
    )


def _gave_up(job: Job) -> ConnectorError:
    if job.lost >= LOSSES:
        return ContractError(
            job.problem,
            where=job.request.where,
            next_step="check that this machine's clock is right, that vendor and files can be reached from here, and "
            "that no proxy between refuses or cuts their answers; then ask again.",
        )
    return ContractError(
        job.problem or f"the export ended as {job.state}",
        where=job.request.where,
        next_step="ask for fewer days at a time; if single days fail as well, ask the vendor's support about the job.",
    )
