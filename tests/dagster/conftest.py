"""What tests of Dagster share: resources of the OpenPanel sandbox, and no state of another test's instance."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage

from connector.dagster import OpenPanelResource, WarehouseResource
from connector.sandbox import READ
from dagster_project import dbt as deployed
from tests.dagster.models import Clockwork, made


@pytest.fixture(autouse=True)
def _no_instance_of_another_test() -> Iterator[None]:
    """Where the state of definitions is kept is one thing per process, and outlives an instance."""
    with set_defs_state_storage(None):
        yield


@pytest.fixture
def resources(url, tmp_path):
    return {
        "openpanel": OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo"),
        "warehouse": WarehouseResource(database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "spool")),
    }


@pytest.fixture(scope="module")
def manifest():
    deployed.prepare()
    return deployed.MANIFEST


@pytest.fixture
def defs(manifest, tmp_path):
    return made(manifest, tmp_path / "warehouse.duckdb")[0]


@pytest.fixture
def clockwork(defs):
    with dg.DagsterInstance.ephemeral() as instance:
        works = Clockwork(defs, instance)
        works.tick()
        yield works
