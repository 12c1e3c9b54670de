"""What processes share is theirs alone while they hold it, and free once they are dead: in files and in PostgreSQL."""

import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from types import SimpleNamespace
from urllib.parse import quote

import psycopg
import pytest

from connector.errors import SettingsError, TransientError
from connector.state import postgres as module
from connector.state.kinds import VARIABLE
from connector.state.place import of_folder, of_machine
from tests.postgres import PASSWORD

HOLDER = """
    import sys, time
    from pathlib import Path
    from connector.state.place import of_folder
    with of_folder(Path(sys.argv[1])).locked("book.journal") as held:
        held.append(b"intent\\n")
        print("held", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path, each_state):
    return tmp_path / "outbox"


@pytest.fixture
def database(postgres, monkeypatch):
    url = postgres.database()
    monkeypatch.setenv(VARIABLE, url)
    return url


def ask(url, query, *values):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else None


def test_a_lock_is_free_once_its_holder_was_killed_and_what_it_wrote_is_there(folder):
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError), of_folder(folder).locked("book.journal", patience=0.2):
            pass
        with of_folder(folder).locked("other.journal"):
            pass
        process.kill()
        process.wait()
        with of_folder(folder).locked("book.journal", patience=5.0) as held:
            assert held.read() == b"intent\n"


def test_what_is_kept_is_replaced_or_added_to_and_read_without_the_lock(folder):
    state = of_folder(folder)
    assert state.read("a.json") is None
    assert state.names(".json") == []
    with state.locked("a.json") as held:
        held.append(b"1\n")
        held.append(b"2\n")
        assert state.read("a.json") == held.read() == b"1\n2\n"
        held.write(b"\x00\xff")
        held.append(b"3")
    with state.locked("b.journal") as held:
        held.write(b"x")
    assert of_folder(folder).read("a.json") == b"\x00\xff3"
    assert state.names(".json") == ["a.json"]
    with state.locked("a.json") as held:
        held.write(b"")
        assert not held.read()
    assert of_folder(folder.with_name("another")).names("") == []


def test_a_change_of_a_cell_that_fails_is_no_change_and_frees_it(folder):
    cell, other = of_machine(folder).cell("c.json"), of_machine(folder).cell("c.json")
    with cell.changing() as content:
        content.data = b"1"
    with suppress(KeyError), cell.changing() as content:
        content.data = b"2"
        raise KeyError
    with other.changing() as content:
        assert content.data == b"1"
    for one in (cell, other):
        one.close()


def test_threads_and_processes_add_up(folder):
    def add(times):
        cell = of_machine(folder).cell("n.json")
        for _ in range(times):
            with cell.changing() as content:
                content.data = str(int(content.data or b"0") + 1).encode()
        cell.close()

    threads = [threading.Thread(target=add, args=[50]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cell = of_machine(folder).cell("n.json")
    with cell.changing() as content:
        assert content.data == b"200"
    cell.close()


def test_who_lost_the_lock_writes_nothing_any_more(database, tmp_path):
    """The connection is the lock: a restarted server, or one that gave us up, gives the lock to the next."""
    state = of_folder(tmp_path)
    with suppress(TransientError), state.locked("book.journal") as held:
        held.write(b"mine")
        ask(database, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
            "and datname = current_database()")  # fmt: skip
        with state.locked("book.journal", patience=5.0) as next_one:
            next_one.write(b"theirs")
            for lost in (lambda: held.write(b"mine"), lambda: held.append(b"mine"), held.read):
                with pytest.raises(TransientError, match=VARIABLE):
                    lost()
    assert state.read("book.journal") == b"theirs"


def test_a_restart_of_the_server_costs_waiting_and_no_failure(postgres, database):
    cell = of_machine().cell("budget.json")
    with cell.changing() as content:
        content.data = b"1"
    postgres.stop()
    later = threading.Timer(1.5, postgres.start)
    later.start()
    try:
        with cell.changing() as content:
            assert content.data == b"1"
    finally:
        later.join()
        cell.close()


def test_a_window_that_could_not_be_noted_fails_no_request(database):
    cell = of_machine().cell("budget.json")
    with cell.changing() as content:
        ask(database, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
            "and datname = current_database()")  # fmt: skip
        content.data = b"1"
    with cell.changing() as content:
        assert content.data == b""
    cell.close()


def test_machines_whose_clocks_differ_use_the_servers(database, tmp_path, monkeypatch):
    slow = SimpleNamespace(time=lambda: time.time() - 3600, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr(module, "time", slow)
    cell = of_machine().cell("c.json")
    with cell.changing():
        pass
    assert cell.now() == pytest.approx(time.time(), abs=1.0)
    cell.close()
    with of_folder(tmp_path).locked("x") as held:
        assert held.ahead == pytest.approx(3600, abs=1.0)


def test_a_server_that_is_not_there_is_named_without_its_password(monkeypatch, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        monkeypatch.setenv(VARIABLE, f"postgresql://u:{quote(PASSWORD, safe='')}@127.0.0.1:{taken.getsockname()[1]}/x")
        with pytest.raises(TransientError, match=f"{VARIABLE} cannot be used: .*refused") as caught:
            of_folder(tmp_path).read("a")
    assert caught.value.unsent
    assert PASSWORD not in str(caught.value)


def test_a_password_that_is_not_escaped_is_not_shown_as_another_part(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "postgresql://u:hunter2h@opensesame/ifyouplease@127.0.0.1:9/x")
    with pytest.raises((TransientError, SettingsError)) as caught:
        of_folder(tmp_path).read("a")
    assert not any(part in str(caught.value) for part in ("hunter2h", "opensesame", "ifyouplease"))


def test_a_wrong_password_is_told_and_not_shown(database, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, database.replace(quote(PASSWORD, safe=""), "open-sesame"))
    with pytest.raises(TransientError, match="password authentication failed") as caught:
        of_folder(tmp_path).read("a")
    assert "open-sesame" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["warehouse.duckdb", "mysql://u:hunter2hunter2@h/d", "postgresql://u:hunter2%zz@h/d", "password='hunter2x"]
)
def test_what_is_no_address_is_refused_and_not_repeated(url, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(SettingsError, match=rf"{VARIABLE} is no address.*postgresql://") as caught:
        of_folder(tmp_path)
    assert "hunter2" not in str(caught.value)


def test_the_address_may_be_of_libpqs_other_form_and_the_password_elsewhere(database, postgres, monkeypatch, tmp_path):
    name = database.rpartition("/")[2]
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv(VARIABLE, f"host=127.0.0.1 port={postgres.port} user=connector dbname={name}")
    with of_folder(tmp_path).locked("a") as held:
        held.write(b"1")
    assert ask(database, "select name from connector_state") == [(f"{tmp_path.name}/a",)]


def test_without_the_driver_the_extra_is_named(tmp_path):
    code = "import sys; sys.modules['psycopg'] = None; import connector.http.budget as b; b.SharedBudget('k')"
    environment = os.environ | {VARIABLE: "postgresql://h/d"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "connector[postgres]" in done.stderr.splitlines()[-1]


def test_a_user_who_may_not_make_the_table_is_told_what_to_grant(database, monkeypatch, tmp_path):
    ask(database, "create role guest login password 'guest-password'")
    ask(database, "revoke create on schema public from public")
    guest = re.sub(r"//.*@", "//guest:guest-password@", database)
    monkeypatch.setenv(VARIABLE, guest)
    try:
        with pytest.raises(SettingsError, match=r"permission denied for schema public.*connector_state"):
            of_folder(tmp_path).read("a")
        monkeypatch.setenv(VARIABLE, database)
        of_folder(tmp_path).read("a")
        ask(database, "grant select, insert, update, delete on connector_state to guest")
        monkeypatch.setenv(VARIABLE, guest)
        with of_folder(tmp_path).locked("a") as held:
            held.write(b"1")
    finally:
        ask(database, "drop owned by guest")
        ask(database, "drop role guest")


def test_schemas_keep_deployments_apart(database, monkeypatch, tmp_path):
    states = []
    for name in ("blue", "green"):
        ask(database, f"create schema {name}")
        monkeypatch.setenv(VARIABLE, f"{database}?options=-csearch_path%3D{name}")
        states.append(of_folder(tmp_path))
    with states[0].locked("a") as one, states[1].locked("a") as other:
        one.write(b"blue")
        assert other.read() is None


class Pool:
    """A proxy that names another process than the one it talks to, as pools do."""

    def __init__(self, port):
        self._server, self._port = socket.create_server(("127.0.0.1", 0)), port
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=[source, target], daemon=True).start()

    def _copy(self, source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(re.sub(rb"K\x00\x00\x00\x0c....", b"K\0\0\0\x0c\0\0\0\1", data, flags=re.DOTALL))
            target.shutdown(socket.SHUT_WR)

    def close(self):
        self._server.close()


def test_a_pool_of_connections_is_refused(database, postgres, monkeypatch, tmp_path):
    pool = Pool(postgres.port)
    try:
        monkeypatch.setenv(VARIABLE, database.replace(f":{postgres.port}/", f":{pool.port}/") + "?sslmode=disable")
        with pytest.raises(SettingsError, match="pools connections"), of_folder(tmp_path).locked("a"):
            pass
    finally:
        pool.close()
