"""A PostgreSQL of the tests' own: on loopback, in a temporary folder, run by an ordinary user, with a password."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, PASSWORD = "lakes", "pass word'&é"
# Root may not run PostgreSQL; the package made this user.
ORDINARY = "postgres"


@dataclass(frozen=True)
class Postgres:
    """A running server, and the environment that reaches it."""

    port: int
    data: Path

    @property
    def url(self) -> str:
        return f"ducklake:postgres:host=127.0.0.1 port={self.port} dbname=postgres user={USER}"

    def environment(self, schema: str, files: Path) -> dict[str, str]:
        """Settings of one lake; each schema is one."""
        return {
            "PGPASSWORD": PASSWORD,
            "DUCKLAKE_DATA_PATH": str(files),
            "DUCKLAKE_METADATA_SCHEMA": schema,
        }

    def stop(self, how: str = "immediate") -> None:
        self._control("stop", "-m", how)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._control("start", "-o", options, "-l", str(self.data / "log"))

    def _control(self, *command: str) -> None:
        subprocess.run(
            [str(_binary("pg_ctl")), "-D", str(self.data), "-w", *command],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **_ordinary_user(),
        )


@contextmanager
def serve_postgres() -> Iterator[Postgres]:
    """A server for as long as the block lasts; the test is skipped with a reason where there is no PostgreSQL."""
    why = _why_not()
    if why:
        pytest.skip(why)
    # Not below pytest's folder: that is readable by its user only, and the server's user is another one.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(data, ORDINARY)
            shutil.chown(secret, ORDINARY)
        subprocess.run(
            [
                *(str(_binary("initdb")), "-D", str(data), "-U", USER, "-A", "scram-sha-256"),
                *("--pwfile", str(secret), "-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **_ordinary_user(),
        )
        server = Postgres(_free_port(), data)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _why_not() -> str:
    if _binary("initdb") is None:
        return "PostgreSQL is not installed: no initdb in PATH or /usr/lib/postgresql"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(ORDINARY)
        except KeyError:
            return f"root may not run PostgreSQL, and there is no user {ORDINARY}"
    return ""


def _binary(name: str) -> Path | None:
    if found := shutil.which(name):
        return Path(found)
    found_here = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found_here[-1] if found_here else None


def _ordinary_user() -> dict[str, object]:
    return {"user": ORDINARY, "group": ORDINARY} if os.geteuid() == 0 else {}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until(true: object, seconds: float = 30.0) -> None:
    """Wait for a condition, a callable without arguments."""
    until = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.01)
