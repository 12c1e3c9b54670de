"""A vendor with manners, the real client, a fresh warehouse: what nearly every test needs."""

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import connector.http.client
from connector import EVENTS, OpenPanel, Receipt, Warehouse, sync_day
from connector.http.budget import SharedBudget
from connector.sandbox import OpenPanel as Vendor
from connector.sandbox import Userpilot as Pilot
from connector.sandbox import serve, serve_userpilot
from connector.userpilot.exports.request import Request
from connector.userpilot.exports.run import Exports
from tests.factories import ALL_TYPES, FIRST, LAST, NOW, Clock, openpanel_client, userpilot_client
from tests.kinds import KIND, close_lakes, lakes_for_files
from tests.postgres import each_state, postgres  # noqa: F401  fixtures

ROOT = Path(__file__).parent.parent
DAY = date(2026, 3, 4)

# The same examples in every run, so that red means that something changed; `make fuzz` draws new ones.
hypothesis.settings.register_profile("same", derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("new", print_blob=True, deadline=None)
hypothesis.settings.load_profile("same")

# Minutes each, mostly of waiting for Dagster's daemon: begun first, they do not keep everybody waiting at the end.
LONGEST = ("test_readme.py", "test_export_daemon.py", "test_drift_daemon.py", "test_workers.py")


OURS = ("OPENPANEL_", "USERPILOT_", "CONNECTOR_", "DUCKLAKE_", "MOTHERDUCK_", "PG", "AWS_")

# Folders and files whose tests start daemons, kill processes or build dbt projects; `make quick` leaves them out.
PROCESSES = {
    "e2e",
    "soak",
    "test_killed.py",
    "test_concurrent.py",
    "test_timezones.py",
    "test_dbt.py",
    "test_conditions.py",
    "scale",
    *LONGEST,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if PROCESSES & set(item.path.parts):
            item.add_marker(pytest.mark.processes)


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Budgets live in the temporary folder; those of tests must not meet those of the machine's user."""
    folder = str(tmp_path_factory.mktemp("tmp"))
    before, os.environ["TMPDIR"] = os.environ.get("TMPDIR"), folder
    tempfile.tempdir = None
    yield
    tempfile.tempdir = None
    os.environ.pop("TMPDIR") if before is None else os.environ.__setitem__("TMPDIR", before)


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        # Proxies and certificates of the machine would decide which way requests go.
        ours = name.startswith((*OURS, "SSL")) or name.lower().endswith("_proxy")
        if ours or name in {"WAREHOUSE", "SPOOL_DIR", "START_DATE"}:
            monkeypatch.delenv(name)
    # A developer's own .env is not the tests'.
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")
    # Code locations that tests start show the landed tables alone; tests of the models ask for them by name.
    monkeypatch.setenv("CONNECTOR_DBT", "off")


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def url(vendor: Vendor) -> Iterator[str]:
    with serve(vendor.app) as base:
        yield base


@pytest.fixture
def openpanel(url: str, tmp_path: Path) -> Iterator[OpenPanel]:
    with openpanel_client(url, budget=SharedBudget(url, folder=tmp_path / "budget")) as client:
        yield client


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their waits; how often is what these tests are about."""
    monkeypatch.setattr(connector.http.client.Http, "_pause", lambda *_, **__: None)


@pytest.fixture(autouse=KIND != "file")
def _lakes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """What is named as a file is a lake, if WAREHOUSE_KIND says so."""
    lakes_for_files(monkeypatch, request)
    yield
    close_lakes()


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb", lock_wait=20)


@pytest.fixture
def sync(openpanel: OpenPanel, warehouse: Warehouse, tmp_path: Path) -> Callable[..., Receipt]:
    """Land one day with the real client; ``day``, ``stream`` and ``warehouse`` may be changed."""

    def run(day: date = DAY, **options: Any) -> Receipt:
        options.setdefault("pauses", (0.0, 0.0))
        stream, into = options.pop("stream", EVENTS), options.pop("warehouse", warehouse)
        return sync_day(openpanel, stream, day, warehouse=into, spool_dir=tmp_path / "spool", **options)

    return run


@pytest.fixture
def query(warehouse: Warehouse) -> Callable[[str], list[tuple[Any, ...]]]:
    def run(sql: str) -> list[tuple[Any, ...]]:
        with warehouse.read() as connection:
            return connection.execute(sql).fetchall()

    return run


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["documented", "odd"])
def world(request):
    return request.param


@pytest.fixture
def pilot(world, clock):
    return Pilot(world=world, clock=clock)


@pytest.fixture
def urls(pilot):
    with serve_userpilot(pilot) as bases:
        yield bases


@pytest.fixture
def userpilot(urls):
    with userpilot_client(urls[0]) as client:
        yield client


@pytest.fixture
def exports(userpilot, clock, tmp_path):
    return Exports(userpilot, tmp_path / "spool", clock=clock.moment, sleep=clock.sleep)


@pytest.fixture
def request_():
    return Request.checked(FIRST, LAST, ALL_TYPES, today=NOW.date())
