"""A lake whose files are in a bucket: landed, replaced, tidied, and told what is wrong. The store is a stand-in.

``make test-lakes`` installs the stand-in (moto) into ``.moto``, apart from the package's own dependencies.
"""

from datetime import timedelta

import pytest

from connector import SettingsError, TransientError, Warehouse
from tests.kinds import LAKES, close_lakes, new_lake, only
from tests.scale.store import MOTO, Store
from tests.scale.writers import FIRST, landed

pytestmark = only("file")
SECRET = "secret-of-nobody"


@pytest.fixture(scope="module")
def store():
    """A store with one empty bucket."""
    if not MOTO.exists():
        pytest.skip("no stand-in for S3 is installed here (make test-lakes installs one)")
    with Store() as one:
        yield one


@pytest.fixture(params=LAKES)
def lake(request, store, tmp_path, monkeypatch):
    url = new_lake(request.param, tmp_path, monkeypatch, request)
    for name, value in store.variables(tmp_path.name, SECRET).items():
        monkeypatch.setenv(name, value)
    yield Warehouse(url)
    close_lakes()


def test_days_land_in_a_bucket_within_a_landings_memory_and_are_tidied(lake, tmp_path, monkeypatch):
    landed(lake, tmp_path / "spool", FIRST, 30_000)
    assert landed(lake, tmp_path / "spool", FIRST, 30_000).replaced == 30_000
    done = {one.what: one.count for one in lake.maintain(keep=timedelta(0))}
    assert done["files of old snapshots"] > 0
    with lake.read() as connection:
        assert connection.execute("select count(*) from openpanel.events").fetchone() == (30_000,)
        assert SECRET not in str(connection.execute("from duckdb_secrets()").fetchall())
    assert list(tmp_path.rglob("*.parquet")) == []
    with pytest.raises(SettingsError, match="which holds files, though the lake does not exist yet"):
        landed(Warehouse(f"ducklake:sqlite:{tmp_path / 'other.sqlite'}"), tmp_path / "spool", FIRST, 3)


def test_a_bucket_that_is_not_there_is_told_without_the_key(lake, tmp_path, monkeypatch):
    monkeypatch.setenv("DUCKLAKE_DATA_PATH", "s3://no-such-bucket/x")
    with pytest.raises(SettingsError, match="NoSuchBucket") as caught:
        landed(Warehouse(f"ducklake:sqlite:{tmp_path / 'other.sqlite'}"), tmp_path / "spool", FIRST, 3)
    assert SECRET not in str(caught.value)


def test_a_store_that_went_away_is_transient_and_the_old_rows_stay(lake, tmp_path, monkeypatch, store):
    landed(lake, tmp_path / "spool", FIRST, 300)
    close_lakes()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(TransientError, match="files cannot be read or written"):
        landed(Warehouse(lake.url), tmp_path / "spool", FIRST, 300)
    close_lakes()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
    with Warehouse(lake.url).read() as connection:
        assert connection.execute("select count(*) from openpanel.events").fetchone() == (300,)
