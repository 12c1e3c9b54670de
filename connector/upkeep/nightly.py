"""One night without Dagster: what its schedules and sensors would land, in one call that may be repeated.

The rules are those of ``nights.py`` and ``userpilot/exports/due.py``, which the schedules follow too. What this night
has landed already is not read again, so a caller that is told to come back later simply calls again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from connector.catalogue.openpanel import DIMENSIONS, EVENTS
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.catalogue.userpilot import LOOKUPS
from connector.errors import ConnectorError, InProgressError, RejectedError, SettingsError, TransientError
from connector.nights import Missing, between, last_days, lookback_of, missed
from connector.openpanel import doctor as openpanel_doctor
from connector.openpanel.client import OpenPanel
from connector.openpanel.reports.config import Questions, streams
from connector.openpanel.settings import OpenPanelSettings
from connector.settings import Environment, Settings, environment
from connector.spool import no_room
from connector.state.place import of_folder
from connector.stream import Page, Receipt, Stream
from connector.sync import sync_days
from connector.userpilot import doctor as userpilot_doctor
from connector.userpilot.client import Userpilot
from connector.userpilot.exports.due import LOOKBACK, exports_due
from connector.userpilot.exports.job import Job, State
from connector.userpilot.exports.request import Options, Request
from connector.userpilot.exports.run import Exports
from connector.userpilot.lookups import sync_lookups
from connector.userpilot.settings import UserpilotSettings
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import Landed, announced_counts, end_of, landed_tables, record_counts

# Closed days of which the vendor's count is asked, as Dagster's drift sensor does.
HORIZON_DAYS = 30
# Days or lookups in a row that may fail because the vendor does not answer, until the rest is left to the next call.
STRIKES = 3
_DOWN = "the vendor did not answer several times; the rest is left to the next call"

Progress = Callable[[Stream, date], Callable[[Page], None]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one piece of the night.

    Attributes:
        kind: landed, waiting for the vendor, or failed.
        where: the partition, the table or the range of an export.
        rows, requests: of what landed.
        said: a sentence about what is waited for, or a warning.
        error: of what failed.
    """

    kind: Literal["landed", "waiting", "failed"]
    where: str
    rows: int = 0
    requests: int = 0
    said: str = ""
    error: ConnectorError | None = None


def nightly(
    env: Environment | None = None,
    *,
    now: datetime | None = None,
    wait: float = 0.0,
    lookback_days: int | None = None,
    again: bool = False,
    export: Options | None = None,
    tell: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Land yesterday, the lookback, missed and late days, lookups and exports of every configured vendor.

    The export is asked for first, so that the vendor works while OpenPanel is read. One failure keeps nothing else from
    landing.

    Args:
        now: when the night begins.
        wait: seconds to wait in place for exports.
        lookback_days: days before yesterday that are landed again; the catalogue's if left out.
        again: land also what this night has landed already.
        export: what exports ask for besides their days.
        tell: called with sentences about the progress of an export.
        progress: gives what is called after every page of a day.

    Raises:
        SettingsError: no vendor is configured, or a shared setting is wrong.
        InProgressError: another call for the same spool is under way.
        BusyError: the warehouse was locked all the time.
    """
    env = env or environment()
    settings = Settings.load(env)
    has_openpanel, has_userpilot = openpanel_doctor.is_configured(env), userpilot_doctor.is_configured(env)
    if not has_openpanel and not has_userpilot:
        raise SettingsError(
            "OPENPANEL_CLIENT_ID",
            "is not set, and neither is USERPILOT_API_KEY: there is no vendor to read from",
            next_step="set the variables of one vendor, or of both; see docs/settings.md.",
        )
    with _only_one(settings):
        store = Warehouse(settings.warehouse)
        night = _Night(env, settings, store, now or datetime.now(UTC), landed_tables(store), lookback_days, again)
        pilot = _Pilot(night, export or Options(), tell) if has_userpilot else None
        if pilot:
            yield from pilot.begin()
        if has_openpanel:
            yield from _Panel(night, progress).land()
        if pilot:
            yield from pilot.end(wait)


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    try:
        with of_folder(settings.spool_dir, scope="spool").locked("nightly"):
            yield
    except TimeoutError:
        raise InProgressError(
            "another nightly run for the same SPOOL_DIR is under way",
            where="nightly",
            next_step="run it again later; it lands only what is then missing.",
        ) from None
    except OSError as fault:
        raise no_room(fault, "nightly") from None


@dataclass(frozen=True)
class _Night:
    """What both vendors share in one night."""

    env: Environment
    settings: Settings
    warehouse: Warehouse
    now: datetime
    tables: Mapping[str, Landed]
    lookback_days: int | None
    again: bool

    def is_done(self, table: str, day: date, since: datetime) -> bool:
        """Whether a day was landed in this night already."""
        landed = self.tables.get(table)
        at = landed.days.get(day) if landed and not self.again else None
        return at is not None and at >= since

    def is_listed(self, table: str) -> bool:
        """Whether a list was landed today already."""
        today = self.now.date()
        return self.is_done(table, today, end_of(today - timedelta(days=1), "UTC"))


class _Panel:
    """OpenPanel's part of a night."""

    def __init__(self, night: _Night, progress: Progress | None) -> None:
        self._night, self._progress, self._strikes = night, progress, 0

    def land(self) -> Iterator[Outcome]:
        """The lookback of every table, then missed days, lists of now, and days whose vendor count moved."""
        night = self._night
        try:
            source = OpenPanelSettings.load(night.env)
            questions = Questions.from_environment(night.env, dimensions=DIMENSIONS)
            chosen = [one for one in streams(questions) if one.by_default and (one.days != "none" or one.history)]
            plan = self._plan(chosen, source.timezone)
            with OpenPanel.from_settings(source) as client:
                for stream, days in plan:
                    yield from self._days(client, stream, days)
                if any(stream.table == EVENTS.table for stream, _ in plan):  # once a night, beside the lookback
                    yield from self._late(client, next(one for one in chosen if one.table == EVENTS.table))
        except _VendorFailsError as stop:
            if str(stop):
                yield Outcome(kind="failed", where="openpanel", said=str(stop))
        except ConnectorError as error:
            yield Outcome(kind="failed", where="openpanel", error=error)

    def _plan(self, chosen: Sequence[Stream], timezone: str) -> list[tuple[Stream, list[date]]]:
        """Streams and their days, in the order in which to land them; a stream may come twice."""
        night, older = self._night, []
        plan: list[tuple[Stream, list[date]]] = []
        for kind in ("utc", "local"):
            zone = timezone if kind == "local" else "UTC"
            group = [stream for stream in chosen if stream.days == kind]
            lookback = lookback_of(chosen) if night.lookback_days is None else night.lookback_days
            window = last_days(night.now, zone, start=night.settings.start_date, lookback=lookback)
            if window is None:
                continue
            since = end_of(window[1], zone)
            for stream in group:
                days = [day for day in between(*window) if not night.is_done(stream.table, day, since)]
                plan.append((stream, days))
            missing = [
                Missing(stream, [day for day in found if day >= night.settings.start_date], landed)
                for stream in group
                if (landed := night.tables.get(stream.table)) and (found := landed.missing(zone, night.now))
            ]
            older += missed(missing, lambda _: (), before=window[0])
        plan += [(stream, between(first, last)) for first, last, streams_ in older for stream in streams_]
        lists = [stream for stream in chosen if stream.days == "none" and not night.is_listed(stream.table)]
        plan += [(stream, [night.now.date()]) for stream in lists]
        return [(stream, days) for stream, days in plan if days]

    def _days(self, client: OpenPanel, stream: Stream, days: Sequence[date]) -> Iterator[Outcome]:
        """Days of one stream; a refusal ends it, because the next day would be refused as well.

        Raises:
            _VendorFailsError: nothing else of this vendor would land.
        """
        given = self._progress
        results = sync_days(
            client,
            stream,
            days,
            warehouse=self._night.warehouse,
            spool_dir=self._night.settings.spool_dir,
            progress=(lambda day: given(stream, day)) if given else None,
        )
        for day, result in zip(days, results, strict=True):
            if isinstance(result, Receipt):
                self._strikes = 0
                yield _landed(result)
                continue
            yield Outcome(kind="failed", where=stream.partition(day), error=result)
            if isinstance(result, RejectedError):
                if result.concerns_all:
                    raise _VendorFailsError
                return
            self._strikes += type(result) is TransientError
            if self._strikes >= STRIKES:
                raise _VendorFailsError(_DOWN)

    def _late(self, client: OpenPanel, stream: Stream) -> Iterator[Outcome]:
        """Closed days before the lookback whose vendor count is another one than when they were landed."""
        night = self._night
        last = night.now.date() - timedelta(days=1)
        first = last - timedelta(days=HORIZON_DAYS - 1)
        announced = announced_counts(night.warehouse, stream, first, last)
        since = end_of(last, "UTC")
        landed = landed_tables(night.warehouse)[stream.table] if announced else None
        old = [day for day in announced if landed and landed.days[day] < since]
        counts = {day: client.count_day(stream, day) for day in sorted(old)}
        record_counts(night.warehouse, stream, counts)
        yield from self._days(client, stream, [day for day, count in counts.items() if count != announced[day]])


class _VendorFailsError(Exception):
    """Nothing else of a vendor would land in this call; the reason, if no outcome has told it."""


class _Pilot:
    """Userpilot's part of a night."""

    def __init__(self, night: _Night, options: Options, tell: Callable[[str], None] | None) -> None:
        self._night, self._options, self._tell = night, options, tell
        self._refused = False  # or does not answer: nothing else is asked

    def begin(self) -> Iterator[Outcome]:
        """Land exports that were completed since the last call, and ask for the first that is due.

        What fails here is tried again, and told, at the end of the night.
        """
        yield from (outcome for outcome in self._guarded(self._exports, None) if outcome.kind == "landed")

    def end(self, wait: float) -> Iterator[Outcome]:
        """The lookups, and every export that is due; those that are not complete are waited for."""
        yield from self._guarded(self._lookups)
        yield from self._guarded(self._exports, wait)

    def _guarded(self, act: Callable[..., Iterator[Outcome]], *arguments: float | None) -> Iterator[Outcome]:
        """The outcomes of an act, and its error as one more; nothing once the key or a setting was refused."""
        if self._refused:
            return
        try:
            with Userpilot.from_settings(UserpilotSettings.load(self._night.env)) as client:
                yield from act(Exports(client, self._night.settings.spool_dir), *arguments)
        except InProgressError as error:
            yield Outcome(kind="waiting", where=error.where, said=error.what)
        except ConnectorError as error:
            yield Outcome(kind="failed", where=error.where, error=error)

    def _exports(self, exports: Exports, wait: float | None) -> Iterator[Outcome]:
        failed = set()
        ours = [job for job in exports.ledger.jobs() if job.request.options.fingerprint == self._options.fingerprint]
        for job in (job for job in ours if job.job_id and not job.state.is_terminal):
            try:
                yield from self._land_if_complete(exports, job)
            except (InProgressError, TransientError):
                raise
            except ConnectorError as error:  # it keeps no other export from landing
                failed.add(job.request.id)
                yield Outcome(kind="failed", where=job.request.where, error=error)
        due = [Request.checked(*days, self._options, today=self._night.now.date()) for days in self._due()]
        _let_go(exports, ours, due)
        for request in due:
            if request.id in failed:
                continue
            if wait is None:
                exports.ask(request)
                return
            left = max(wait - (exports.clock() - self._night.now).total_seconds(), 0.0)
            for job in exports.wait(request, patience=left, tell=self._tell):
                yield from self._land(exports, job)

    def _due(self) -> list[tuple[date, date]]:
        """What this night is to export and has not yet."""
        night = self._night
        lookback = LOOKBACK if night.lookback_days is None else night.lookback_days
        newest = last_days(night.now, "UTC", start=night.settings.start_date, lookback=lookback)
        if newest is None:
            return []
        landed = landed_tables(night.warehouse).get(EXPORTED.table, Landed({}, {}, 0.0))
        since = night.now if night.again else end_of(newest[1], "UTC")
        done = {day for day, at in landed.days.items() if at >= since}
        due = exports_due(newest, landed, (), start=night.settings.start_date)
        return [days for days in due if not done.issuperset(between(*days))]

    def _land_if_complete(self, exports: Exports, job: Job) -> Iterator[Outcome]:
        job = exports.look(job)
        exports.ledger.write(job)
        if job.state in (State.READY, State.FETCHED):
            yield from self._land(exports, job)

    def _land(self, exports: Exports, job: Job) -> Iterator[Outcome]:
        receipt = exports.land(job, warehouse=self._night.warehouse, tell=self._tell)
        said = "; ".join(receipt.warnings)
        for day in receipt.days:
            yield Outcome(kind="landed", where=EXPORTED.partition(day.day), rows=day.landed, said=said)

    def _lookups(self, exports: Exports) -> Iterator[Outcome]:
        """Every lookup that this night has not landed yet."""
        night, strikes = self._night, 0
        for result in sync_lookups(
            exports.client,
            [stream for stream in LOOKUPS if not night.is_listed(stream.table)],
            warehouse=night.warehouse,
            spool_dir=night.settings.spool_dir,
        ):
            if isinstance(result, Receipt):
                strikes = 0
                yield _landed(result)
                continue
            yield Outcome(kind="failed", where=result.where, error=result)
            strikes = strikes + 1 if type(result) is TransientError else 0
            self._refused |= isinstance(result, RejectedError) and result.concerns_all
            if strikes >= STRIKES:
                self._refused = True
                yield Outcome(kind="failed", where=EXPORTED.vendor, said=_DOWN)
                return


def _let_go(exports: Exports, ours: Sequence[Job], due: Sequence[Request]) -> None:
    """Forget requests of earlier nights that never got the slot: their days are in the requests that are due now."""
    kept = {request.id for request in due}
    unasked = (State.IDLE, State.FOREIGN, State.CANDIDATE)
    gone = [job.request.id for job in ours if job.state in unasked and not job.halved and job.request.id not in kept]
    if gone:
        exports.ledger.change(lambda jobs: [jobs.pop(key, None) for key in gone])


def _landed(receipt: Receipt) -> Outcome:
    return Outcome(
        kind="landed",
        where=f"{receipt.table}[{receipt.day}]",
        rows=receipt.landed,
        requests=receipt.requests,
        said="; ".join(receipt.warnings),
    )
