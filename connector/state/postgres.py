"""Shared state in a PostgreSQL database, where several machines meet.

A lock is an advisory lock on a connection of its own, and what is kept under it is read and written on that connection.
The server frees the lock when the connection ends: at once if the process was killed, within a minute if its machine
vanished. A holder whose connection broke can write nothing any more.
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from connector.errors import SettingsError, TransientError
from connector.redaction import conceal, excerpt
from connector.state.kinds import VARIABLE, Content, Held
from connector.system.files import RETRY_SECONDS

# Seconds that a process goes on trying when a connection that worked has broken, as while the server restarts.
PATIENCE = 30.0
# Seconds of one attempt to connect.
CONNECT_WITHIN = 10
# A client without a sign of life for a minute is given up, and with it its locks: its machine vanished. A process that
# was stopped in the middle of a change must not keep the others waiting.
_SESSION = """
    set tcp_keepalives_idle = 20; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 4;
    set idle_in_transaction_session_timeout = '60s'; set statement_timeout = 0
"""
_TABLE = """
    create table if not exists connector_state (
        name text not null, number bigint generated always as identity, content bytea not null,
        primary key (name, number)
    )
"""
_KEY = "hashtextextended('connector_state ' || current_schema() || ' ' || %s, 0)"

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresState:
    """Rows of the table ``connector_state``, which is made with the first use in the connection's own schema.

    Args:
        url: a PostgreSQL URL or ``key=value`` text, as libpq reads it. The connection must be a direct one: a proxy
            that pools by transaction loses locks.
        scope: stands before every name.

    Raises:
        SettingsError: the URL is malformed.
    """

    def __init__(self, url: str, scope: str) -> None:
        self._scope, self._conninfo = scope, _checked(url)

    @property
    def where(self) -> str:
        return f"the table connector_state of {VARIABLE}"

    @contextmanager
    def locked(self, name: str, *, patience: float = 0.0) -> Iterator[Held]:
        until = time.monotonic() + patience
        with self.connected() as connection:
            held = _Rows(connection, self._name(name))
            while not held.lock():
                if time.monotonic() >= until:
                    raise TimeoutError(f"{name} is locked")
                time.sleep(RETRY_SECONDS)
            yield held

    def read(self, name: str) -> bytes | None:
        with self.connected() as connection:
            return _Rows(connection, self._name(name)).read()

    def names(self, ending: str) -> list[str]:
        with self.connected() as connection, told():
            rows = connection.execute("select distinct name from connector_state").fetchall()
        scope = self._name("")
        return sorted(name[len(scope) :] for (name,) in rows if name.startswith(scope) and name.endswith(ending))

    def cell(self, name: str) -> "PostgresCell":
        return PostgresCell(self, self._name(name))

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection of one's own, closed in the end.

        Raises:
            TransientError: the server cannot be reached, or refuses the connection.
            SettingsError: the user may not make the table.
        """
        connection = self.connect()
        try:
            yield connection
        finally:
            connection.close()

    def connect(self) -> Connection:
        """The same for a caller who closes it."""
        with told():
            connection = psycopg.connect(self._conninfo, autocommit=True)
        try:
            with told():
                connection.execute(_SESSION)
                self._refuse_pools(connection)
                if _one(connection, "select to_regclass('connector_state')") is None:
                    _make_table(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _refuse_pools(self, connection: Connection) -> None:
        """A pool gives its clients processes of the server in turn; the one it names at first is none of them."""
        if _one(connection, "select pg_backend_pid()") != connection.info.backend_pid:
            raise SettingsError(
                VARIABLE,
                "leads through a proxy that pools connections, where a lock is lost or held by several",
                next_step="name the address of the PostgreSQL server itself.",
            )

    def _name(self, name: str) -> str:
        return f"{self._scope}/{name}" if self._scope else name


class _Rows:
    """What is kept under one name, on the connection that holds its lock."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection, self._name = connection, name
        self._ahead: float | None = None

    @property
    def ahead(self) -> float:
        if self._ahead is None:
            with told():
                self._ahead = _clock(self._connection) - time.time()
        return self._ahead

    def lock(self) -> bool:
        with told():
            return bool(_one(self._connection, f"select pg_try_advisory_lock({_KEY})", self._name))

    def read(self) -> bytes | None:
        with told():
            return _content(self._connection, self._name)

    def write(self, content: bytes, *, durable: bool = True) -> None:
        with told(), self._connection.transaction():
            self._connection.execute("delete from connector_state where name = %s", [self._name])
            if content:
                self._insert(content)

    def append(self, content: bytes, *, durable: bool = True) -> None:
        with told():
            self._insert(content)

    def _insert(self, content: bytes) -> None:
        self._connection.execute("insert into connector_state (name, content) values (%s, %s)", [self._name, content])


class PostgresCell:
    """One row and one kept connection: a change takes two round trips under the lock."""

    def __init__(self, state: PostgresState, name: str) -> None:
        self._state, self._name = state, name
        self._connection: Connection | None = None
        self._worked, self._ahead, self._threads = False, 0.0, threading.Lock()

    @contextmanager
    def changing(self) -> Iterator[Content]:
        with self._threads:
            connection, before = self._begin()
            try:
                content = Content(before or b"")
                yield content
            except BaseException:
                self.close()  # rolls back, and frees the lock
                raise
            try:
                if content.data != (before or b""):
                    connection.execute(_UPDATE if before is not None else _INSERT, [content.data, self._name])
                connection.execute("commit")
            except psycopg.OperationalError:
                # What could not be noted is one request of a window, which costs a refusal at most. The next change
                # says so if the server stays away.
                self.close()

    def now(self) -> float:
        return time.time() + self._ahead

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _begin(self) -> tuple[Connection, bytes | None]:
        """A transaction that holds the lock, and what is kept."""
        until = time.monotonic() + (PATIENCE if self._worked else 0.0)
        while True:
            try:
                with told():
                    return self._locked()
            except TransientError:
                self.close()
                if time.monotonic() >= until:
                    raise
                time.sleep(0.5)

    def _locked(self) -> tuple[Connection, bytes | None]:
        if self._connection is None:
            self._connection = self._state.connect()
            # A window is worth less than the time that a disk takes.
            self._connection.execute("set synchronous_commit = off")
        connection = self._connection
        connection.execute("begin")
        connection.execute(f"select pg_advisory_xact_lock({_KEY})", [self._name])
        # Asked after the lock was had, so that the wait for it does not count.
        self._ahead = _clock(connection) - time.time()
        self._worked = True
        return connection, _content(connection, self._name)


_UPDATE = "update connector_state set content = %s where name = %s"
_INSERT = "insert into connector_state (content, name) values (%s, %s)"


@contextmanager
def told() -> Iterator[None]:
    """Errors of the driver as ours."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as fault:
        raise TransientError(
            f"the database of {VARIABLE} cannot be used: {excerpt(str(fault), 300) or type(fault).__name__}",
            where="shared state",
            next_step=f"see that PostgreSQL runs, takes connections from here, and that {VARIABLE} is right; then "
            "rerun.",
            unsent=True,
        ) from None
    except psycopg.Error as fault:
        raise SettingsError(
            VARIABLE,
            f"names a database that refuses: {excerpt(str(fault), 300)}",
            next_step="let its user make the table connector_state in its own schema, and read and write it.",
        ) from None


def _make_table(connection: Connection) -> None:
    """Two processes that make a table at the same time fail, whatever ``if not exists`` says; hence the lock."""
    with connection.transaction():
        connection.execute(f"select pg_advisory_xact_lock({_KEY})", ["table"])
        connection.execute(_TABLE)


def _content(connection: Connection, name: str) -> bytes | None:
    query = "select string_agg(content, ''::bytea order by number) from connector_state where name = %s"
    found = _one(connection, query, name)
    return None if found is None else bytes(found)


def _clock(connection: Connection) -> float:
    return float(_one(connection, "select extract(epoch from clock_timestamp())"))


def _one(connection: Connection, query: str, *values: object) -> Any:
    row = connection.execute(query, values).fetchone()
    return row[0] if row else None


@cache
def _checked(url: str) -> str:
    """The connection's parameters as libpq takes them; passwords in them are concealed from now on."""
    conceal(url)
    # A password that is not escaped is read as other parts of the address, and shown as these.
    for piece in re.split(r"[/@:?#]", "".join(re.findall(r"//[^:/@]*:(.*)@", url))):
        conceal(piece)
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # its words may repeat a part of the password
        raise SettingsError(
            VARIABLE,
            "is no address of a PostgreSQL database",
            next_step="write it as postgresql://user:password@host:5432/database; characters such as @ / % in the "
            "password as %40 %2F %25.",
        ) from None
    for name in ("password", "sslpassword"):
        conceal(str(parts.get(name) or ""))
        conceal(quote(str(parts.get(name) or ""), safe=""))
    usual = {"connect_timeout": str(CONNECT_WITHIN), "application_name": "connector", "keepalives_idle": "20"}
    return make_conninfo(**usual | {name: str(value) for name, value in parts.items()})
