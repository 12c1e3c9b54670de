"""Runs whose process died without a word, on a machine where nothing else notices.

After a power cut a run stays *started*: Dagster's monitoring asks launchers that know their workers (Kubernetes, Docker
...), and the one that starts plain processes does not know them. A run of ours says something every few minutes; one
that has said nothing for half an hour is reported as failed, so that it holds no slot, blocks no schedule and is tried
again.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

# Longer than any pause of a living run: waiting for the warehouse ends after 5 minutes, a retry comes within 3.
SILENT = timedelta(minutes=30)
_ALIVE = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def without_silent(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> list[dg.DagsterRun]:
    """The same runs; those whose process died are reported as failed, and come back so."""
    return [_failed(instance, run) if _is_silent(instance, run) else run for run in runs]


def _is_silent(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    if run.status not in _ALIVE or instance.run_launcher.supports_check_run_worker_health:
        return False
    said = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return bool(said) and datetime.now(UTC).timestamp() - said[0].timestamp > SILENT.total_seconds()


def _failed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    minutes = int(SILENT.total_seconds() // 60)
    instance.report_run_failed(
        run, f"The run has said nothing for {minutes} minutes: its process is gone. What had landed stays landed."
    )
    return instance.get_run_by_id(run.run_id) or run
