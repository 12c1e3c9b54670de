"""Locks on files: one process at a time holds a lock, and a dead process holds none."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from connector import EVENTS, ConnectorError
from connector.spool import spooling, sweep
from connector.system.files import locked
from tests.conftest import DAY

HOLD = """
import sys, time
from pathlib import Path
from connector import EVENTS, ConnectorError
from connector.system.files import locked
from connector.spool import spooling, sweep
from tests.conftest import DAY
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_holder_is_refused_and_the_first_makes_room_at_its_end(tmp_path):
    file = tmp_path / "one.lock"
    with locked(file), pytest.raises(TimeoutError, match=r"one\.lock"), locked(file):
        pytest.fail("both held it")
    with locked(file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_patient_one_gets_it_as_soon_as_it_is_free(tmp_path):
    file, free = tmp_path / "one.lock", threading.Event()

    def hold() -> None:
        with locked(file):
            free.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    while not file.exists():
        time.sleep(0.001)
    threading.Timer(0.2, free.set).start()
    with locked(file, patience=30):
        assert free.is_set()
    holder.join()


def test_a_killed_holder_holds_nothing(tmp_path):
    file = tmp_path / "one.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError), locked(file):
            pytest.fail("both held it")
        process.send_signal(signal.SIGKILL)
        with locked(file, patience=10):
            pass


def test_a_lock_file_that_was_removed_meanwhile_is_made_anew(tmp_path, monkeypatch):
    """Its last holder swept it away between our opening and our locking: holding a file of no name protects nothing."""
    file, opened = tmp_path / "one.lock", []
    true_open = os.open

    def open_and_lose(path, *rest):
        handle = true_open(path, *rest)
        if not opened:
            os.unlink(path)
        opened.append(handle)
        return handle

    monkeypatch.setattr("connector.system.files.os.open", open_and_lose)
    with locked(file, patience=5):
        assert len(opened) == 2
        assert os.fstat(opened[1]).st_ino == file.stat().st_ino


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "one.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"), locked(tmp_path / "one.lock"):
        pytest.fail("it was followed")
    assert not (tmp_path / "elsewhere").exists()


def test_runs_that_begin_at_once_do_not_sweep_each_other_away(tmp_path):
    """A folder whose lock is not taken yet looks like one whose owner died."""
    faults: list[Exception] = []

    def begin_and_end() -> None:
        try:
            for _ in range(150):
                with spooling(tmp_path, EVENTS, DAY) as folder:
                    (folder / "part").touch()
        except ConnectorError as fault:
            faults.append(fault)

    runs = [threading.Thread(target=begin_and_end) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert faults == []
    assert list(tmp_path.glob("*/*")) == []


def test_a_folder_that_never_got_its_name_is_swept_when_its_owner_must_be_dead(tmp_path):
    new = tmp_path / EVENTS.table / f"{DAY}-0123456789ab.new"
    new.mkdir(parents=True)
    assert sweep(tmp_path) == []
    os.utime(new, (time.time() - 60, time.time() - 60))
    assert sweep(tmp_path) == [new]
    assert not new.exists()
