"""The export ledger in Dagster's event log: what each stage of an export writes there."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import msgspec

from connector.dagster.translator import ConnectorTranslator
from connector.stream import Stream
from connector.userpilot.exports.job import Job

# One line of the ledger in the event log: what became of an export.
LEDGER = "connector/export"


def request_key(translator: ConnectorTranslator, events: Stream) -> dg.AssetKey:
    """Beside the events, as ``export_job``."""
    return dg.AssetKey([*translator.key(events).path[:-1], "export_job"])


def record(log: Any, key: dg.AssetKey, stage: str, job: Job, sentence: str = "") -> None:
    """A line of the ledger: an observation of the request asset, stored the moment it is written."""
    log(observation(key, stage, job, sentence))


def observation(key: dg.AssetKey, stage: str, job: Job, sentence: str = "") -> dg.AssetObservation:
    text = sentence or f"{stage}: {job.sentence(datetime.now(UTC))}"
    return dg.AssetObservation(
        key,
        description=text,
        metadata={
            "stage": stage,
            "days": f"{job.request.first} to {job.request.last}",
            LEDGER: dg.MetadataValue.text(msgspec.json.encode(job).decode()),
        },
    )
