"""Nothing is downloaded at run time: a warehouse works on a machine without a network.

The process has a network namespace of its own. Its home is empty, so extensions can come from installed wheels only.
"""

import json
import os
import shutil
import site
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.kinds import LAKES, PASSWORD, close_lakes, keywords, new_lake, only

pytestmark = only("file")
EXTENSIONS = {"file": [], "sqlite": ["ducklake", "sqlite_scanner"], "postgres": ["ducklake", "postgres_scanner"]}


@cache
def apart() -> tuple[str, ...]:
    """What to write before a command for a network namespace of its own; nothing where that is not allowed."""
    for options in (["--net"], ["--user", "--map-current-user", "--net"]):
        command = (shutil.which("unshare") or "unshare", *options)
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return ()


@pytest.fixture
def alone(tmp_path):
    """Runs a command without a network, with an empty home."""
    if not apart():
        pytest.skip("this system allows no network namespace (unshare --net), so the network cannot be taken away")
    home = tmp_path / "home"
    home.mkdir()

    def run(*command, timeout=120):
        return subprocess.run(
            [*apart(), sys.executable, *command], capture_output=True, text=True, timeout=timeout, cwd=ROOT,
            env=os.environ | {"HOME": str(home), "PYTHONHASHSEED": "0"},
        )  # fmt: skip

    yield run
    assert list(home.rglob("*.duckdb_extension*")) == []


@pytest.fixture(params=["file", *LAKES])
def kind(request, tmp_path, monkeypatch):
    """A kind of warehouse, named by WAREHOUSE."""
    url = str(tmp_path / "warehouse.duckdb")
    if request.param != "file":
        url = new_lake(request.param, tmp_path, monkeypatch, request)
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        if server.socket is None:
            pytest.skip("the folder for temporary files has too long a name for a socket")
        # A socket is a file, and files are there without a network.
        url = f"ducklake:postgres:{keywords(server, host=server.socket)}"
    monkeypatch.setenv("WAREHOUSE", url)
    yield request.param
    close_lakes()


def test_a_warehouse_is_landed_in_read_and_tidied_without_a_network(kind, alone, tmp_path):
    done = alone("-m", "tests.scale.alone", "work", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert PASSWORD not in done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["landed"] == [300, 200, 300]
    assert (told["frame"], told["after maintenance"]) == (200, 200)
    assert (told["removed"] > 0) == (kind != "file")
    assert told["attempts"] == 0, "something asked another machine"
    assert [Path(file).stem for file in told["extensions"]] == sorted(EXTENSIONS[kind])
    assert {Path(file).parents[3] for file in told["extensions"]} <= set(map(Path, site.getsitepackages()))


def test_a_download_that_fails_in_silence_would_be_seen(alone, tmp_path):
    done = alone("-m", "tests.scale.alone", "download", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["attempts"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_other_acceptance_tests_pass_without_a_network(alone):
    code = "import sys, pytest, tests.scale.alone as alone; alone.loopback_up(); sys.exit(pytest.main(sys.argv[1:]))"
    others = [f"tests/scale/test_{name}.py" for name in ("lakes", "upkeep", "same_answers")]
    done = alone("-c", code, *others, "-m", "not slow", "-q", "-rs", "-p", "no:cacheprovider", timeout=1700)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
