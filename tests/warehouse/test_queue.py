"""A process that waits for the warehouse gets it, however many come and go. A dead first in the queue blocks none."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from connector import Warehouse
from connector.system.files import locked
from connector.warehouse.queue import QueuePlace

TAKE_FIRST = """
import sys
from pathlib import Path
from connector.warehouse.queue import QueuePlace
with QueuePlace(Path(sys.argv[1])) as place:
    place.take_first()
    print(place.is_first, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path):
    with Warehouse(tmp_path / "w.duckdb").write() as connection:
        connection.execute("create table t as select 1 as x")
    return tmp_path / "w.duckdb"


def lock_file(file):
    return file.with_name(f".{file.name}.next")


def wait_for(true):
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def used(file, how, order, name):
    """A thread that opens the file once and then adds its name to ``order``."""

    def use():
        with getattr(Warehouse(file, lock_wait=60), how)():
            order.append(name)

    thread = threading.Thread(target=use)
    thread.start()
    return thread


def test_a_reader_that_comes_later_lets_the_waiting_writer_go_first(file):
    order = []
    with Warehouse(file).read():
        writer = used(file, "write", order, "writer")
        wait_for(lock_file(file).exists)
        reader = used(file, "read", order, "reader")
        time.sleep(0.3)  # the file is open to readers all the time
        assert order == []
    for thread in (writer, reader):
        thread.join()
    assert order == ["writer", "reader"]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_readers_that_leave_no_moment_without_a_reader_do_not_stop_a_writer(file):
    """Each reads until the next one reads: alone against them, a writer would never find the file free."""
    stop, reads = threading.Event(), []

    def read():
        while not stop.is_set():
            with Warehouse(file, lock_wait=60).read():
                reads.append(1)
                time.sleep(0.05)

    readers = [threading.Thread(target=read) for _ in range(6)]
    for reader in readers:
        reader.start()
    try:
        wait_for(lambda: len(reads) > 12)
        for _ in range(3):
            with Warehouse(file, lock_wait=20).write():
                pass
    finally:
        stop.set()
        for reader in readers:
            reader.join()


def test_a_thread_that_reads_can_read_again_before_a_waiting_writer(file, monkeypatch):
    """The writer waits for the outer read, which waits for the inner one."""
    monkeypatch.setattr("connector.warehouse.queue.YIELD_SECONDS", 3600.0)
    order = []
    with Warehouse(file).read():
        writer = used(file, "write", order, "writer")
        wait_for(lock_file(file).exists)
        with Warehouse(file, lock_wait=3600).read() as connection:
            assert connection.execute("select x from t").fetchone() == (1,)
        assert order == []
    writer.join()


@pytest.mark.timeout(60)
def test_a_first_in_the_queue_that_gets_no_access_is_waited_for_a_limited_time(file, monkeypatch):
    monkeypatch.setattr("connector.warehouse.queue.YIELD_SECONDS", 0.2)
    with locked(lock_file(file)), Warehouse(file, lock_wait=3600).read() as connection:
        assert connection.execute("select x from t").fetchone() == (1,)


def test_a_killed_first_in_the_queue_blocks_no_process_and_the_next_removes_its_file(file, monkeypatch):
    monkeypatch.setattr("connector.warehouse.queue.YIELD_SECONDS", 3600.0)
    command = [sys.executable, "-c", TAKE_FIRST, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        process.send_signal(signal.SIGKILL)
    assert lock_file(file).exists()
    order = []
    with Warehouse(file, lock_wait=60).read():
        writer = used(file, "write", order, "writer")
        wait_for(lambda: not QueuePlace(file).may_try())
    writer.join()
    assert order == ["writer"]
    assert not lock_file(file).exists()


@pytest.mark.parametrize("place", ["folder", "link"])
def test_where_no_queue_can_be_made_processes_still_wait_for_the_file(file, place):
    if place == "folder":
        lock_file(file).mkdir()
    else:
        lock_file(file).symlink_to(file.parent / "elsewhere")
    order = []
    with Warehouse(file).read():
        writer = used(file, "write", order, "writer")
        time.sleep(0.2)
        with Warehouse(file, lock_wait=60).read():
            pass
    writer.join()
    assert order == ["writer"]
    assert not (file.parent / "elsewhere").exists()


def test_the_lock_file_is_readable_by_its_user_only(file):
    order, mask = [], os.umask(0)
    try:
        with Warehouse(file).read():
            writer = used(file, "write", order, "writer")
            wait_for(lock_file(file).exists)
            assert lock_file(file).stat().st_mode & 0o777 == 0o600
        writer.join()
    finally:
        os.umask(mask)
