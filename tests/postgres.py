"""A PostgreSQL server on loopback for tests, run by an ordinary user; its binaries come from the system."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

USER, PASSWORD = "connector", "p@ss/word%41 of postgres"


@cache
def binaries() -> Path | None:
    """The folder of the newest server's programs; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return Path(found).resolve().parent if found else folders[-1] if folders else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ordinary_user() -> dict[str, Any]:
    """Options of a process that must not run as root, which server programs refuse."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def open_folder(prefix: str) -> Path:
    """An empty folder that an ordinary user can reach and owns; those of pytest belong to whoever runs it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp" if os.geteuid() == 0 else None))
    user = ordinary_user()
    if user:
        os.chown(folder, user["user"], user["group"])
    return folder


class Postgres:
    """One server. ``database()`` makes a fresh database and returns its URL; ``stop`` and ``start`` restart it."""

    def __init__(self, programs: Path) -> None:
        self.port, self._programs, self._folder = free_port(), programs, open_folder("connector-postgres-")
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._data, self._process = self._folder / "data", None
        # Systems cut the names of sockets at about a hundred bytes.
        self.socket = self._folder if len(str(self._folder)) < 80 else None
        command = [
            programs / "initdb", "--pgdata", self._data, "--username", USER, "--pwfile", password, "--no-sync",
            "--auth=scram-sha-256", "--locale=C", "--encoding=UTF8",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, **ordinary_user())
        self.start()

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1", "port": self.port, "fsync": "off",
            "unix_socket_directories": self.socket or "",
            "max_connections": 200, "shared_buffers": "32MB",
        }  # fmt: skip
        command = [self._programs / "postgres", "-D", self._data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **ordinary_user()
            )
        ready = [self._programs / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        until = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        """The process that all others of the server come from."""
        assert self._process is not None
        return int(self._process.pid)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        import psycopg

        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"create database {name} template template0")
        return self.url(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here (apt-get install postgresql)")
    server = Postgres(programs)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(params=["files", "postgres"])
def each_state(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Once with shared state in files, once in a fresh database."""
    if request.param == "postgres":
        monkeypatch.setenv("CONNECTOR_SHARED_STATE", request.getfixturevalue("postgres").database())
    return str(request.param)
