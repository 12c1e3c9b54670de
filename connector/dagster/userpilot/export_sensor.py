"""The sensor that waits on exports, so that no run has to: it only reads, and requests the run that is due.

The event log is the ledger and the cursor its cache: a cursor that was reset is filled again from the log, and run
keys keep what was requested once from being requested twice.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import msgspec
from dagster import AssetRecordsFilter, DagsterRunStatus, RunsFilter

from connector.dagster.openpanel.schedules import RANGE_END, RANGE_START
from connector.dagster.resources import UserpilotResource, WarehouseResource
from connector.dagster.runs import without_silent
from connector.dagster.translator import ConnectorTranslator
from connector.dagster.userpilot.assets import EXPORT_TAG, GAVE_UP, JOB_TAG, LANDED, LOST, REQUEST_TAG
from connector.dagster.userpilot.export_log import LEDGER, observation, request_key
from connector.errors import ConnectorError, SettingsError
from connector.stream import Stream
from connector.userpilot.exports.job import Do, Job, State, halves
from connector.userpilot.exports.machine import next_action

# A tick may take 60 seconds; whoever is slow stops here and goes on in the next tick.
TIME_BUDGET = 40.0
# A landing, or a request, that failed is run again up to this often.
RUNS = 3
# The vendor forgets a job after three days; what still waits for a slot after a week is given up.
GIVE_UP = timedelta(days=7)
LINES_A_TICK = 500
_DEAD = {DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}


class _Entry(msgspec.Struct):
    """One export in the cursor; ``stage`` is waiting, asking or landing, ``runs`` how many of them were requested."""

    job: Job
    since: datetime
    line: int
    stage: str = "waiting"
    runs: int = 0


class _Cursor(msgspec.Struct):
    """Where the log was read to, and the exports that are under way."""

    after: int = 0
    entries: dict[str, _Entry] = {}
    v: int = 1

    @classmethod
    def read(cls, text: str | None) -> "_Cursor":
        try:
            return msgspec.json.decode(text or "{}", type=cls)
        except msgspec.DecodeError:
            return cls()


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
        interval_seconds: between two ticks.
    """
    translator = translator or ConnectorTranslator()
    asking, landing = request_key(translator, events), translator.key(events)
    source, target = userpilot or UserpilotResource(), warehouse or WarehouseResource()

    @dg.sensor(
        name=name,
        target=dg.AssetSelection.assets(*(asset for asset in assets if asset.key in (asking, landing))),
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Waits on exports: says how far they are, requests the landing of a completed one, asks again for "
        "one that failed or found the slot taken.",
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = _Tick(context, events, asking, landing)
        tick.read_log()
        if tick.cursor.entries:
            try:
                with source.client() as client:
                    from connector.userpilot.exports.run import Exports

                    tick.step_all(Exports(client, target.spool_path, stream=events))
            except SettingsError as error:
                tick.say(f"{error.what} {error.next_step}")
        return tick.result()

    return _sensor


class _Tick:
    """One evaluation: what is read, decided and returned."""

    def __init__(
        self, context: dg.SensorEvaluationContext, events: Stream, asking: dg.AssetKey, landing: dg.AssetKey
    ) -> None:
        self._context, self._events, self._asking, self._landing = context, events, asking, landing
        self.cursor = _Cursor.read(context.cursor)
        self._now = datetime.now(UTC)
        self._requests: list[dg.RunRequest] = []
        self._observations: list[Any] = []
        self._said: list[str] = []

    def say(self, line: str) -> None:
        self._said.append(line)

    def result(self) -> dg.SensorResult:
        reason = "; ".join(self._said) or "no export is under way"
        return dg.SensorResult(
            run_requests=self._requests,
            skip_reason=None if self._requests else dg.SkipReason(reason),
            cursor=msgspec.json.encode(self.cursor).decode(),
            asset_events=self._observations,
        )

    def read_log(self) -> None:
        """Take up what was written since the last tick; a few lines at a time, the rest next time."""
        cursor = self.cursor
        wanted = AssetRecordsFilter(
            self._asking,
            after_storage_id=cursor.after or None,
            after_timestamp=None if cursor.after else (self._now - GIVE_UP).timestamp(),
        )
        found = self._context.instance.fetch_observations(wanted, limit=LINES_A_TICK, ascending=True)
        for record in found.records:
            cursor.after = max(cursor.after, record.storage_id)
            line = record.asset_observation
            if line is None or LEDGER not in line.metadata:
                continue
            try:
                job = msgspec.json.decode(str(line.metadata[LEDGER].value), type=Job)
            except msgspec.DecodeError:
                continue
            at = datetime.fromtimestamp(record.timestamp, UTC)
            self._take_up(str(line.metadata["stage"].value), job, record.storage_id, at)

    def _take_up(self, stage: str, job: Job, line: int, at: datetime) -> None:
        entries = self.cursor.entries
        if stage in (LANDED, GAVE_UP):
            entries.pop(job.job_id or job.request.id, None)
            return
        entries.pop(job.request.id, None)  # a request that was waiting for its turn has been made again
        if stage == LOST:
            entries.pop(job.job_id, None)
            job = Job(request=job.request, attempts=job.attempts, halved=job.halved)
        if at > self._now - GIVE_UP and not job.state.is_terminal:
            entries.setdefault(job.job_id or job.request.id, _Entry(job=job, since=at, line=line))

    def step_all(self, exports: Any) -> None:
        until = time.monotonic() + TIME_BUDGET
        for key in list(self.cursor.entries):
            if time.monotonic() > until:
                self.say("the rest in the next tick")
                break
            entry = self.cursor.entries[key]
            try:
                if entry.stage == "waiting":
                    self._wait(key, entry, exports)
                else:
                    self._look_at_runs(key, entry)
            except SettingsError:
                raise
            except ConnectorError as error:  # one export that cannot be asked about must not stop the others
                self.say(f"{entry.job.request.where}: {error.what}")

    def _wait(self, key: str, entry: _Entry, exports: Any) -> None:
        if self._now - entry.since > GIVE_UP:
            self._give_up(key, entry.job, f"given up after {GIVE_UP.days} days: {entry.job.sentence(self._now)}")
            return
        entry.job = exports.look(entry.job)
        entry.job, do = next_action(entry.job, datetime.now(UTC))
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
        runs = without_silent(instance, instance.get_runs(RunsFilter(tags=tags)))
        states = [run.status for run in runs]
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
        job = entry.job
        self._requests.append(
            dg.RunRequest(
                # A key is used once and for ever, also if its run fails: hence the number.
                run_key=f"land:{job.job_id}:{entry.runs}",
                asset_selection=[self._landing],
                tags={**_range(job), JOB_TAG: job.job_id, EXPORT_TAG: _text(job)},
            )
        )

    def _request_asking(self, key: str, entry: _Entry) -> None:
        tag = f"{key}:{entry.line}"
        self._requests.append(
            dg.RunRequest(
                run_key=f"ask:{tag}:{entry.runs}",
                asset_selection=[self._asking],
                tags={**_range(entry.job), REQUEST_TAG: tag, EXPORT_TAG: _text(entry.job)},
            )
        )

    def _halve(self, key: str, entry: _Entry) -> None:
        del self.cursor.entries[key]
        for half in halves(entry.job):
            self.cursor.entries[half.request.id] = _Entry(job=half, since=entry.since, line=entry.line)
        self.say(f"{entry.job.request.where} failed twice: asked for in two halves")

    def _give_up(self, key: str, job: Job, sentence: str) -> None:
        del self.cursor.entries[key]
        self._observations.append(observation(self._asking, GAVE_UP, job, sentence))
        self.say(sentence)


def _range(job: Job) -> dict[str, str]:
    return {RANGE_START: job.request.first.isoformat(), RANGE_END: job.request.last.isoformat()}


def _text(job: Job) -> str:
    """A job for a run's tag: what it is, without what the run will see for itself."""
    plain = Job(
        request=job.request,
        state=State.POLLING if job.job_id else State.IDLE,
        attempts=job.attempts,
        halved=job.halved,
        job_id=job.job_id,
        started=job.started,
    )
    return msgspec.json.encode(plain).decode()
