"""A run is healthy while its worker says that it has it, whatever Celery's results say."""

from types import SimpleNamespace

import pytest
from dagster._core.launcher import WorkerStatus

from connector.dagster.celery import ASKED, WatchedCeleryRunLauncher
from connector.errors import SettingsError

RUN = SimpleNamespace(tags={"dagster-celery/task_id": "t1"})
ONE = "one@host"


@pytest.fixture
def launcher(monkeypatch):
    """A launcher whose results and workers are what the test says."""
    made = WatchedCeleryRunLauncher(default_queue="dagster", broker="memory://", backend="cache+memory://")
    made.states, made.info, made.answers, made.asked = ["STARTED"], {"hostname": ONE}, [], []

    def result(task_id):
        state = made.states.pop(0) if len(made.states) > 1 else made.states[0]
        return SimpleNamespace(id=task_id, state=state, info=made.info)

    def inspect(workers, timeout):
        made.asked.append(workers)
        return SimpleNamespace(active=lambda: made.answers.pop(0) if made.answers else None)

    monkeypatch.setattr(made.celery, "AsyncResult", result)
    monkeypatch.setattr(type(made.celery), "control", SimpleNamespace(inspect=inspect))
    return made


def health(launcher):
    return launcher.check_run_worker_health(RUN)


def test_a_worker_that_has_the_run_is_well(launcher):
    launcher.answers = [{ONE: [{"id": "another"}, {"id": "t1"}]}]
    assert health(launcher).status == WorkerStatus.RUNNING
    assert launcher.asked == [[ONE]]


def test_a_worker_that_is_busy_once_is_asked_again(launcher):
    launcher.answers = [None, {ONE: [{"id": "t1"}]}]
    assert health(launcher).status == WorkerStatus.RUNNING


def test_a_worker_that_does_not_answer_is_dead(launcher):
    found = health(launcher)
    assert (found.status, found.msg) == (WorkerStatus.FAILED, f"Celery worker {ONE} does not answer.")
    assert len(launcher.asked) == ASKED


def test_a_worker_that_came_back_without_the_run_has_lost_it(launcher):
    launcher.answers = [{ONE: []}]
    found = health(launcher)
    assert (found.status, found.msg) == (WorkerStatus.FAILED, f"Celery worker {ONE} was restarted and lost the run.")


def test_a_run_that_ended_between_two_questions_is_well(launcher):
    launcher.states, launcher.answers = ["STARTED", "STARTED", "SUCCESS"], [{ONE: []}]
    assert health(launcher).status == WorkerStatus.SUCCESS


@pytest.mark.parametrize(
    ("state", "status"),
    [("SUCCESS", WorkerStatus.SUCCESS), ("FAILURE", WorkerStatus.FAILED), ("PENDING", WorkerStatus.UNKNOWN)],
)
def test_what_celery_knows_for_sure_is_not_asked_again(launcher, state, status):
    launcher.states = [state]
    assert health(launcher).status == status
    assert launcher.asked == []


def test_a_worker_without_the_launchers_settings_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with pytest.raises(SettingsError, match=r"DAGSTER_HOME has no dagster.yaml whose run_launcher"):
        import connector.dagster.celery_worker  # noqa: F401
