"""Lakes of both kinds for the acceptance tests."""

from collections.abc import Callable, Iterator

import pytest

from connector import Warehouse
from tests.kinds import LAKES, close_lakes, new_lake


@pytest.fixture(params=LAKES)
def lake_kind(request):
    return request.param


@pytest.fixture
def lake(lake_kind, tmp_path, monkeypatch, request) -> Iterator[Warehouse]:
    """A new lake, which WAREHOUSE names as well, for other processes."""
    url = new_lake(lake_kind, tmp_path, monkeypatch, request)
    monkeypatch.setenv("WAREHOUSE", url)
    yield Warehouse(url, lock_wait=60)
    close_lakes()


@pytest.fixture
def ask(lake) -> Callable[[str], list[tuple]]:
    def run(sql, **options):
        with lake.read(**options) as connection:
            return connection.execute(sql).fetchall()

    return run
