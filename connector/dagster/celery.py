"""Celery as a launcher of runs, with what Dagster's own one lacks: a look whether the worker of a run is still alive.

A killed worker leaves its task STARTED in Celery's results for ever, so Dagster's launcher calls the run healthy for
ever. This one asks the worker. Run monitoring then fails the run, and run retries start it again on another worker.
"""

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

# Seconds to wait for a worker's answer, and how often it is asked before it is taken for dead.
ANSWERS_WITHIN, ASKED = 5.0, 2


class WatchedCeleryRunLauncher(CeleryRunLauncher):
    """Dagster's ``CeleryRunLauncher``, configured as that. A run is healthy while its worker says that it has it."""

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        told = super().check_run_worker_health(run)
        if told.status != WorkerStatus.RUNNING:
            return told
        lost = self._lost(run.tags[DAGSTER_CELERY_TASK_ID_TAG])
        now = super().check_run_worker_health(run)  # it may have ended meanwhile
        return CheckRunHealthResult(WorkerStatus.FAILED, lost) if lost and now.status == WorkerStatus.RUNNING else now

    def _lost(self, task_id: str) -> str:
        """How the worker of a task that has begun lost it; empty if it has it, or if it is not known which it is."""
        info = self.celery.AsyncResult(task_id).info
        worker = info.get("hostname") if isinstance(info, dict) else None
        if worker is None:
            return ""
        for _ in range(ASKED):
            active = (self.celery.control.inspect([worker], timeout=ANSWERS_WITHIN).active() or {}).get(worker)
            if active is not None:
                has_it = any(one["id"] == task_id for one in active)
                return "" if has_it else f"Celery worker {worker} was restarted and lost the run."
        return f"Celery worker {worker} does not answer."
