"""The export ledger in Dagster's event log: what each stage of an export writes there, and what a sensor reads."""

from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
import msgspec

from connector.dagster.translator import ConnectorTranslator
from connector.stream import Stream
from connector.userpilot.exports.job import Job

# Set by the sensor: the id of the job, or of the request, that a run is about, to find its runs again.
JOB_TAG, REQUEST_TAG = "connector/export_job", "connector/export_request"
REQUESTED, LOST, LANDED, GAVE_UP = "requested", "lost", "landed", "gave up"
# What a line of the ledger holds: the job as JSON, and the environment it belongs to. A run of the sensor's carries the
# environment as a tag.
LEDGER, ENVIRONMENT = "connector/export", "connector/environment"


def request_key(translator: ConnectorTranslator, events: Stream) -> dg.AssetKey:
    """Asset key of the export request: the events' prefix and ``export_job``."""
    return dg.AssetKey([*translator.key(events).path[:-1], "export_job"])


@dataclass(frozen=True)
class Line:
    """One line of the ledger.

    Attributes:
        environment: whose export it is, see ``UserpilotResource.fingerprint``; empty in lines of old versions.
        number: its place in the event log. at: when it was written.
    """

    stage: str
    job: Job
    environment: str
    number: int
    at: datetime


def line(key: dg.AssetKey, environment: str, stage: str, job: Job, sentence: str = "") -> dg.AssetObservation:
    """What became of an export: an observation of the request asset, stored the moment it is logged."""
    return dg.AssetObservation(
        key,
        description=sentence or f"{stage}: {job.sentence(datetime.now(UTC))}",
        metadata={
            "stage": stage,
            "days": f"{job.request.first} to {job.request.last}",
            LEDGER: dg.MetadataValue.text(msgspec.json.encode(job).decode()),
            ENVIRONMENT: environment,
        },
    )


def read(record: dg.EventLogRecord) -> Line | None:
    """The line that an observation of the request asset holds; None for any other observation."""
    found = record.asset_observation
    if found is None or LEDGER not in found.metadata:
        return None
    try:
        job = msgspec.json.decode(str(found.metadata[LEDGER].value), type=Job)
    except msgspec.DecodeError:
        return None
    environment = found.metadata.get(ENVIRONMENT)
    return Line(
        str(found.metadata["stage"].value),
        job,
        str(environment.value) if environment else "",
        record.storage_id,
        datetime.fromtimestamp(record.timestamp, UTC),
    )
