"""A lake of several machines: the catalogue in PostgreSQL, the files in a bucket or a shared folder.

The lock is PostgreSQL's own, on a connection apart from DuckDB's: it ends with its session, and a session that ended
has lost it. So it is asked for once more before every commit.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from connector.errors import BusyError, SettingsError, TransientError
from connector.redaction import conceal, excerpt
from connector.settings import Environment
from connector.warehouse.kind import Connection
from connector.warehouse.lake import Lake
from connector.warehouse.lake_files import VARIABLE, DataPath
from connector.warehouse.lake_format import Stored
from connector.warehouse.sql import quoted, text

if TYPE_CHECKING:
    import psycopg

SCHEMA = "DUCKLAKE_METADATA_SCHEMA"
# libpq's own variables for what a URL leaves out.
_VARIABLES = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER"}
# Seconds to wait for an answer to the first word; without it a host that drops packets is waited for for minutes.
CONNECT_TIMEOUT = "10"
_SECRET_NAME = "lake_catalogue"  # noqa: S105  the name of a DuckDB secret


class PostgresLake(Lake):
    """A lake with its catalogue in a schema of a PostgreSQL database.

    Args:
        place: libpq keywords or a URL; what it leaves out is PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD.

    Raises:
        SettingsError: the text cannot be read, or the PostgreSQL driver is not installed.
    """

    extension = "postgres_scanner"

    def __init__(self, place: str, env: Environment) -> None:
        super().__init__(env)
        conninfo = _driver().conninfo
        try:
            given = conninfo.conninfo_to_dict(place)
        except Exception as fault:  # noqa: BLE001  psycopg's ProgrammingError, which has no name before its import
            raise SettingsError(
                "WAREHOUSE",
                # Not the driver's words: they repeat the text, and with it a password.
                f"cannot be read as PostgreSQL's keywords or URL ({type(fault).__name__})",
                next_step="write ducklake:postgres:host=db dbname=lake user=me, or ducklake:postgresql://me@db/lake; "
                "the password belongs into PGPASSWORD.",
            ) from None
        self._password = str(given.pop("password", "") or "")
        for secret in (self._password, env.values.get("PGPASSWORD", "")):
            conceal(secret)
        known = {name: env.values[variable] for name, variable in _VARIABLES.items() if env.values.get(variable)}
        self._keywords: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, **known, **given}
        shown = {name: value for name, value in {**known, **given}.items() if value is not None}
        self.url = f"ducklake:postgres:{conninfo.make_conninfo('', **shown)}"
        self.schema = env.text(SCHEMA, "ducklake")
        path = env.values.get(VARIABLE, "").strip()
        self.files = DataPath(path, env) if path else None
        self.place = self.files.folder if self.files else None
        self.environment = {"WAREHOUSE": self.url, SCHEMA: self.schema}
        if self.files:
            self.environment[VARIABLE] = self.files.path
        if self._password:
            self.environment["PGPASSWORD"] = self._password

    @contextlib.contextmanager
    def lock(self, *, lock_wait: float, where: str) -> Iterator[Callable[[], None]]:
        errors = _driver().errors
        with self._connected(where) as connection:
            key = f"ducklake {self.schema}"
            try:
                connection.execute(_KEEPALIVE)
                connection.execute(f"set lock_timeout = {max(1, int(lock_wait * 1000))}")
                connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [key])
            except errors.LockNotAvailable:
                raise BusyError(
                    f"{_holder(connection, key)} has kept the warehouse {self.url} (schema {self.schema}) locked for "
                    f"{lock_wait:.0f} s",
                    where=where,
                    next_step="wait until it has ended, then rerun; the lock ends with the session that holds it.",
                ) from None
            except errors.Error as fault:
                raise self._unreachable(fault, where) from None

            def must_hold() -> None:
                try:
                    held = connection.execute(_MINE, [key]).fetchone()
                except errors.Error:
                    held = None
                if not held:
                    raise TransientError(
                        "the session that held the warehouse's lock ended, so nothing was committed",
                        where=where,
                        next_step="rerun; if it repeats, let WAREHOUSE name the PostgreSQL itself instead of a pooler.",
                    )

            yield must_hold

    def look(self, root: Connection) -> Stored | None:
        with self._connected("warehouse") as connection:
            table = f"{quoted(self.schema)}.ducklake_metadata"
            if connection.execute("select to_regclass(%s)", [table]).fetchone() == (None,):
                return None
            rows = dict(connection.execute(f"select key, value from {table} where scope is null").fetchall())
        return Stored(rows.get("version", "?"), rows.get("data_path", ""))

    def secrets(self) -> Iterator[str]:
        password = f", password {text(self._password)}" if self._password else ""
        yield f"create secret {_SECRET_NAME} (type postgres{password})"

    def attachment(self) -> tuple[str, Mapping[str, str | int]]:
        keywords = _driver().conninfo.make_conninfo("", **self._keywords)
        return f"ducklake:postgres:{keywords}", {"META_SECRET": _SECRET_NAME, "METADATA_SCHEMA": self.schema}

    def store_data_path(self, root: Connection, path: str) -> None:
        with self._connected("migration") as connection:
            table = f"{quoted(self.schema)}.ducklake_metadata"
            connection.execute(f"update {table} set value = %s where key = 'data_path' and scope is null", [path])

    @contextlib.contextmanager
    def _connected(self, where: str) -> "Iterator[psycopg.Connection[Any]]":
        psycopg = _driver()
        try:
            connection = psycopg.connect(
                **self._keywords,
                **({"password": self._password} if self._password else {}),
                autocommit=True,
                application_name=excerpt(f"connector {where} on {socket.gethostname()}", 60),
            )
        except psycopg.Error as fault:
            raise self._unreachable(fault, where) from None
        try:
            yield connection
        finally:
            connection.close()

    def _unreachable(self, fault: Exception, where: str) -> TransientError | SettingsError:
        said = excerpt(str(fault), 200)
        if any(words in said for words in ("authentication failed", "no password supplied", "permission denied")):
            return SettingsError(
                "WAREHOUSE",
                f"names a PostgreSQL that refuses us: {said}",
                next_step="check user and database in WAREHOUSE, PGPASSWORD, and the user's rights on the schema.",
            )
        return TransientError(
            f"the lake's catalogue cannot be reached: {said}",
            where=where,
            next_step="see whether the PostgreSQL of WAREHOUSE runs, then rerun; the old rows are still in place.",
        )


# A client whose machine vanished is given up after a minute, and with it its lock.
_KEEPALIVE = "set tcp_keepalives_idle = 20; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 4"
_LOCK = "locktype = 'advisory' and granted and (classid::bigint << 32) | objid::bigint = hashtextextended(%s, 0)"
_MINE = f"select 1 from pg_locks where pid = pg_backend_pid() and {_LOCK}"
_HELD_BY = f"select application_name, pid from pg_locks join pg_stat_activity using (pid) where {_LOCK}"


def _holder(connection: "psycopg.Connection[Any]", key: str) -> str:
    row = connection.execute(_HELD_BY, [key]).fetchone()
    return f"{row[0] or 'a session'} (PostgreSQL process {row[1]})" if row else "another session"


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise SettingsError(
            "WAREHOUSE",
            "names a PostgreSQL, whose driver psycopg is not installed",
            next_step="install this package with its extra [lake].",
        ) from None
    return psycopg
