"""The app of Celery workers: ``celery --app connector.dagster.celery_worker worker``.

Its settings are those of the launcher in DAGSTER_HOME/dagster.yaml, so that there is one place for both. A worker needs
that file, the code, and what runs need: the credentials, the warehouse, a spool of its own.
"""

import os

from dagster._core.instance.ref import InstanceRef
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from connector.errors import SettingsError

_launcher = InstanceRef.from_dir(os.environ.get("DAGSTER_HOME", "")).run_launcher
if not isinstance(_launcher, CeleryRunLauncher):
    raise SettingsError(
        "DAGSTER_HOME",
        "has no dagster.yaml whose run_launcher is one of Celery",
        next_step="copy deploy/celery/dagster.yaml there.",
    )

app = _launcher.celery
# Found by their names when a message arrives.
execute_job, resume_job = create_execute_job_task(app), create_resume_job_task(app)
