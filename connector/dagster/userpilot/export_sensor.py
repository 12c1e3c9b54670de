"""The sensor that waits on exports, so that no run has to: it only reads, and requests the run that is due.

The event log is the ledger and the cursor its cache: a cursor that was reset is filled again from the log, and run
keys keep what was requested once from being requested twice. Several code locations may write into one event log: a
sensor acts on the exports of its own environment only.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import msgspec
from dagster import AssetRecordsFilter, DagsterRunStatus, RunsFilter

from connector.dagster.resources import UserpilotResource, WarehouseResource
from connector.dagster.runs import (
    WAREHOUSE_TAG,
    asset_job,
    decoded,
    encoded,
    range_tags,
    table_of,
    within,
    without_silent,
)
from connector.dagster.translator import ConnectorTranslator
from connector.dagster.userpilot.export_log import (
    ENVIRONMENT,
    GAVE_UP,
    JOB_TAG,
    LANDED,
    LOST,
    REQUEST_TAG,
    Line,
    line,
    read,
    request_key,
)
from connector.errors import ConnectorError, SettingsError
from connector.nights import listed
from connector.stream import Stream
from connector.userpilot.exports.job import Do, Job, State, halves
from connector.userpilot.exports.machine import next_action

if TYPE_CHECKING:
    from connector.userpilot.exports.run import Exports

# A tick may take 60 seconds; a slow one stops here, and the next goes on.
TIME_BUDGET = 40.0
# A landing, or a request, that failed is run again up to this often.
RUNS = 3
# The vendor forgets a job after three days; what still waits for a slot after a week is given up.
GIVE_UP = timedelta(days=7)
LINES_A_TICK = 500
_DEAD = {DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}


class _Entry(msgspec.Struct):
    """One export in the cursor.

    Attributes:
        line: its line in the event log. since: when that was written.
        stage: waiting, asking or landing. runs: how many of them were requested.
        owner: the environment it belongs to; empty if the line does not tell and it was not found out yet.
    """

    job: Job
    since: datetime
    line: int
    stage: str = "waiting"
    runs: int = 0
    owner: str = ""


class _Cursor(msgspec.Struct):
    """Where the log was read to, and the exports that are under way."""

    after: int = 0
    entries: dict[str, _Entry] = {}
    v: int = 1


_LANDS = "Lands the days of a completed export."
_ASKS = "Asks again for an export that failed or found the slot taken."


def userpilot_export_sensor(
    assets: list[dg.AssetsDefinition],
    events: Stream,
    *,
    name: str = "userpilot_export_sensor",
    translator: ConnectorTranslator | None = None,
    userpilot: UserpilotResource | None = None,
    warehouse: WarehouseResource | None = None,
    interval_seconds: int = 30,
) -> dg.SensorDefinition:
    """Look at every export under way, one step each a tick; request landings, and requests that must be repeated.

    Args:
        assets: the request asset and the events, as :func:`userpilot_assets` made them.
        events: the events' entry of the catalogue.
        name: with ``_landing`` and ``_asking`` in place of ``_export_sensor`` also of the jobs that it runs.
        interval_seconds: between two ticks.
    """
    by_table = {table_of(asset): asset for asset in assets}
    asking, landing = by_table[f"{events.schema}.export_job"], by_table[events.table]
    source, prefix = userpilot or UserpilotResource(), name.removesuffix("_export_sensor")
    setup = _Setup(
        asking=request_key(translator or ConnectorTranslator(), events),
        landing=landing.key,
        asking_job=f"{prefix}_asking",
        landing_job=f"{prefix}_landing",
        partitions=landing.partitions_def,
        ops={one.key: one.op.name for one in (asking, landing)},
        target=warehouse or WarehouseResource(),
    )

    @dg.sensor(
        name=name,
        jobs=[asset_job(setup.landing_job, [landing], _LANDS), asset_job(setup.asking_job, [asking], _ASKS)],
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Waits on exports: says how far they are, requests the landing of a completed one, asks again for "
        "one that failed or found the slot taken.",
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = _Tick(context, setup)
        lines = tick.read_log()
        if not lines and not tick.cursor.entries:
            return tick.result()
        try:
            tick.take_up(lines, source.fingerprint())
            with source.client() as client:
                from connector.userpilot.exports.run import Exports

                tick.step_all(Exports(client, setup.target.spool_path, stream=events))
        except SettingsError as error:
            # Whose exports these are is not known without the key: the lines are read again in the next tick.
            return dg.SensorResult(
                skip_reason=dg.SkipReason(f"{error.what} {error.next_step}"),
                cursor=context.cursor or encoded(_Cursor()),
            )
        return tick.result()

    return _sensor


@dataclass(frozen=True, kw_only=True)
class _Setup:
    """What one sensor requests, and where it lands."""

    asking: dg.AssetKey
    landing: dg.AssetKey
    asking_job: str
    landing_job: str
    partitions: dg.PartitionsDefinition[str] | None
    ops: Mapping[dg.AssetKey, str]
    target: WarehouseResource


class _Tick:
    """One evaluation: what is read, decided and returned."""

    def __init__(self, context: dg.SensorEvaluationContext, setup: _Setup) -> None:
        self._context, self._setup = context, setup
        self.cursor = decoded(context.cursor, _Cursor)
        self._owner = ""
        self._now = datetime.now(UTC)
        self._requests: list[dg.RunRequest] = []
        self._observations: list[dg.AssetObservation] = []
        self._said: list[str] = []

    def say(self, sentence: str) -> None:
        self._said.append(sentence)

    def result(self) -> dg.SensorResult:
        reason = "; ".join(self._said) or "no export is under way"
        return dg.SensorResult(
            run_requests=self._requests,
            skip_reason=None if self._requests else dg.SkipReason(reason),
            cursor=encoded(self.cursor),
            asset_events=self._observations,
        )

    def read_log(self) -> list[Line]:
        """What was written since the last tick; a few lines at a time, the rest next time."""
        cursor = self.cursor
        wanted = AssetRecordsFilter(
            self._setup.asking,
            after_storage_id=cursor.after or None,
            after_timestamp=None if cursor.after else (self._now - GIVE_UP).timestamp(),
        )
        found = self._context.instance.fetch_observations(wanted, limit=LINES_A_TICK, ascending=True)
        cursor.after = max([cursor.after, *(record.storage_id for record in found.records)])
        return [written for record in found.records if (written := read(record))]

    def take_up(self, lines: list[Line], owner: str) -> None:
        """Bring the exports under way up to date; lines of other environments are left to their own sensors."""
        self._owner = owner
        for written in lines:
            if written.environment in ("", owner):
                self._take_up(written)

    def _take_up(self, written: Line) -> None:
        entries, job = self.cursor.entries, written.job
        if written.stage in (LANDED, GAVE_UP):
            entries.pop(job.job_id or job.request.id, None)
            return
        entries.pop(job.request.id, None)  # a request that was waiting for its turn has been made again
        if written.stage == LOST:
            entries.pop(job.job_id, None)
            job = Job(request=job.request, attempts=job.attempts, halved=job.halved)
        if written.at > self._now - GIVE_UP and not job.state.is_terminal:
            entry = _Entry(job=job, since=written.at, line=written.number, owner=written.environment)
            entries.setdefault(job.job_id or job.request.id, entry)

    def step_all(self, exports: "Exports") -> None:
        """One step for every export under way."""
        until = time.monotonic() + TIME_BUDGET
        for key in list(self.cursor.entries):
            if time.monotonic() > until:
                self.say("the rest in the next tick")
                break
            entry = self.cursor.entries[key]
            try:
                if not self._is_ours(key, entry, exports):
                    continue
                if entry.stage == "waiting":
                    self._wait(key, entry, exports)
                else:
                    self._look_at_runs(key, entry)
            except SettingsError:
                raise
            except ConnectorError as error:  # one export that cannot be asked about must not stop the others
                self.say(f"{entry.job.request.where}: {error.what}")

    def _is_ours(self, key: str, entry: _Entry, exports: "Exports") -> bool:
        """Whether an export is this environment's; one that its line does not tell of, and that is not, is let go."""
        job = entry.job
        if not entry.owner:
            if job.job_id and entry.stage == "waiting":
                # Only the environment that was asked for it knows it.
                known = exports.client.show(job.job_id, where=job.request.where, meter=exports.meter) is not None
            else:
                known = job.job_id in exports.ledger.ours() or exports.ledger.job(job.request.id) is not None
            entry.owner = self._owner if known else "another"
        if entry.owner == self._owner:
            return True
        del self.cursor.entries[key]
        self.say(f"{job.request.where}: asked for in another environment, and left to it")
        return False

    def _wait(self, key: str, entry: _Entry, exports: "Exports") -> None:
        if self._now - entry.since > GIVE_UP:
            self._give_up(key, entry.job, f"given up after {GIVE_UP.days} days: {entry.job.sentence(self._now)}")
            return
        if not within(self._setup.partitions, entry.job.request.days)[0]:
            self._give_up(
                key,
                entry.job,
                f"{entry.job.request.where}: none of its days has a partition any more, so nothing is landed; "
                "move START_DATE back and ask again if you want them",
            )
            return
        entry.job = exports.look(entry.job)
        entry.job, do = next_action(entry.job, datetime.now(UTC))
        if entry.job.job_id and key != entry.job.job_id:
            # A request that turned out to be a job that runs already; that may have a line of its own.
            del self.cursor.entries[key]
            key = entry.job.job_id
            if self.cursor.entries.setdefault(key, entry) is not entry:
                return
        if entry.job.state == State.READY:
            do = Do.DOWNLOAD  # whether those are all of its files, the landing looks again
        match do:
            case Do.LAND | Do.DOWNLOAD:
                entry.stage, entry.runs = "landing", 1
                self._request_landing(entry)
            case Do.SUBMIT if self._may_ask():
                entry.stage, entry.runs = "asking", 1
                self._request_asking(key, entry)
            case Do.HALVE:
                self._halve(key, entry)
            case Do.STOP:
                self._give_up(key, entry.job, entry.job.problem)
            case _:
                self.say(entry.job.sentence(datetime.now(UTC)))

    def _may_ask(self) -> bool:
        """There is one slot: nothing is asked for while an export of ours runs, or is being asked for."""
        return not any(
            entry.stage == "asking" or entry.job.state == State.POLLING for entry in self.cursor.entries.values()
        )

    def _look_at_runs(self, key: str, entry: _Entry) -> None:
        tags = {JOB_TAG: entry.job.job_id} if entry.stage == "landing" else {REQUEST_TAG: f"{key}:{entry.line}"}
        instance = self._context.instance
        found = instance.get_runs(RunsFilter(tags=tags))
        ours = [run for run in found if run.tags.get(ENVIRONMENT, self._owner) == self._owner]
        states = [run.status for run in without_silent(instance, ours)]
        if DagsterRunStatus.SUCCESS in states:
            del self.cursor.entries[key]  # what was asked for has a line of its own in the log
            return
        if len(states) < entry.runs or not all(state in _DEAD for state in states):
            self.say(f"{entry.job.request.where}: {entry.stage}")
            return
        if entry.runs >= RUNS:
            self._give_up(key, entry.job, f"{entry.stage} failed {entry.runs} times; see the runs tagged {tags}")
            return
        entry.runs += 1
        if entry.stage == "landing":
            self._request_landing(entry)
        else:
            self._request_asking(key, entry)

    def _request_landing(self, entry: _Entry) -> None:
        job_id = entry.job.job_id
        # A key is used once and for ever, also if its run fails: hence the number.
        run_key = f"land:{self._owner}:{job_id}:{entry.runs}"
        self._request(entry, run_key, self._setup.landing_job, self._setup.landing, {JOB_TAG: job_id})

    def _request_asking(self, key: str, entry: _Entry) -> None:
        tag = f"{key}:{entry.line}"
        run_key = f"ask:{self._owner}:{tag}:{entry.runs}"
        self._request(entry, run_key, self._setup.asking_job, self._setup.asking, {REQUEST_TAG: tag})

    def _request(self, entry: _Entry, run_key: str, job: str, asset: dg.AssetKey, tags: dict[str, str]) -> None:
        """Request a run over those of the export's days that have a partition."""
        days, outside = within(self._setup.partitions, entry.job.request.days)
        if not days:
            self.say(f"{entry.job.request.where}: none of its days has a partition any more")
            return
        if outside and entry.runs == 1:
            self._context.log.warning(f"{entry.job.request.where}: no partition for {listed(outside)}; see START_DATE")
        tags |= {
            **range_tags(days[0], days[-1]),
            ENVIRONMENT: self._owner,
            WAREHOUSE_TAG: self._setup.target.fingerprint(),
        }
        # The job in the run's configuration: a tag would fill the list of runs.
        config = dg.RunConfig(ops={self._setup.ops[asset]: {"config": {"job": _text(entry.job)}}})
        request = dg.RunRequest(run_key, config, tags=tags, job_name=job, asset_selection=[asset])
        self._requests.append(request)

    def _halve(self, key: str, entry: _Entry) -> None:
        del self.cursor.entries[key]
        for half in halves(entry.job):
            self.cursor.entries[half.request.id] = _Entry(
                job=half, since=entry.since, line=entry.line, owner=entry.owner
            )
        self.say(f"{entry.job.request.where} failed twice: asked for in two halves")

    def _give_up(self, key: str, job: Job, sentence: str) -> None:
        del self.cursor.entries[key]
        self._observations.append(line(self._setup.asking, self._owner, GAVE_UP, job, sentence))
        self.say(sentence)


def _text(job: Job) -> str:
    """A job for a run's configuration: what it is, without what the run will see for itself."""
    plain = Job(
        request=job.request,
        state=State.POLLING if job.job_id else State.IDLE,
        attempts=job.attempts,
        halved=job.halved,
        job_id=job.job_id,
        started=job.started,
    )
    return msgspec.json.encode(plain).decode()
