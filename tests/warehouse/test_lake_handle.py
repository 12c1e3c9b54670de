"""The handle that a process keeps of a SQLite catalogue: readers need it, and nothing else notices it.

A process that closes the last handle of SQLite's write-ahead log keeps the file locked for a moment. DuckDB's SQLite
waits for that in whole seconds (`benchmarks/lakes.py` measures a reader's wait).
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from connector import Warehouse
from tests.kinds import close_lakes, only

pytestmark = only("file")
# A process of its own: SQLite's locks are a process's, and end when it closes any handle.
_UPKEEP = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None) as catalogue:
    catalogue.execute("vacuum")
    busy, *_ = catalogue.execute("pragma wal_checkpoint(truncate)").fetchone()
    print(busy)
"""


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_lakes()


@pytest.fixture
def catalogue(tmp_path):
    return tmp_path / "lake.sqlite"


@pytest.fixture
def warehouse(catalogue):
    made = Warehouse(f"ducklake:sqlite:{catalogue}")
    with made.transaction() as connection:
        connection.execute("create table t as select 1 as n")
    return made


def log(catalogue):
    return Path(f"{catalogue}-wal")


def test_the_log_stays_open_between_two_readings_and_goes_with_the_last_process(warehouse, catalogue):
    for _ in range(2):
        with warehouse.read() as connection:
            assert connection.execute("select count(*) from t").fetchone() == (1,)
        assert log(catalogue).exists()
    warehouse.close()
    assert not log(catalogue).exists()


def test_a_handle_holds_up_neither_maintenance_nor_what_it_removes(warehouse, catalogue):
    with warehouse.read() as connection:
        connection.execute("select count(*) from t").fetchone()
    done = subprocess.run(
        [sys.executable, "-c", _UPKEEP, str(catalogue)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "0"
    assert log(catalogue).stat().st_size == 0


def test_a_copy_of_the_catalogue_alone_holds_what_was_committed(warehouse, catalogue, tmp_path):
    """Although the log is still there: people copy the file, and nothing else."""
    with warehouse.transaction() as connection:
        connection.execute("insert into t values (2)")
    assert log(catalogue).exists()
    copied = tmp_path / "copy" / "lake.sqlite"
    copied.parent.mkdir()
    shutil.copy(catalogue, copied)
    code = (
        "import sys; from connector import Warehouse\n"
        "with Warehouse(f'ducklake:sqlite:{sys.argv[1]}').read() as c:\n"
        "    print(c.execute('select count(*) from t').fetchone()[0])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(copied)], capture_output=True, text=True, timeout=60,
        env={"DUCKLAKE_DATA_PATH": f"{catalogue}.files", "PATH": ""},
    )  # fmt: skip
    assert found.stdout.strip() == "2", found.stderr
