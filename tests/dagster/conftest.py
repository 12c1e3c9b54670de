"""Dagster keeps one thing per process that outlives an instance: where the state of definitions is kept."""

from collections.abc import Iterator

import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage


@pytest.fixture(autouse=True)
def _no_instance_of_another_test() -> Iterator[None]:
    with set_defs_state_storage(None):
        yield
