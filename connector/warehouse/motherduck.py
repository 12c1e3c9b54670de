"""MotherDuck: DuckDB as a service. No lock of ours reaches it, so conflicts are retried and days looked at.

Nothing of this ran against an account; docs/warehouse.md says what was tried in its place.
"""

import contextlib
import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import parse_qsl

import duckdb

from connector.errors import RejectedError, SettingsError, TransientError
from connector.redaction import conceal, excerpt
from connector.settings import Environment
from connector.warehouse import extensions
from connector.warehouse.kind import WRITE_SETTINGS, At, Connection, Kind, Remark, Writing
from connector.warehouse.sql import quoted, text

TOKEN = "MOTHERDUCK_TOKEN"  # noqa: S105  the variable's name


class MotherDuck(Kind):
    """One database of an account.

    Args:
        database: its name, perhaps with ``?motherduck_token=...``, as people paste it.

    Raises:
        SettingsError: there is no name, or no token.
    """

    has_other_writers = True

    def __init__(self, database: str, env: Environment) -> None:
        name, _, query = database.partition("?")
        options = dict(parse_qsl(query))
        token = options.pop("motherduck_token", "") or env.values.get(TOKEN, "") or env.values.get(TOKEN.lower(), "")
        conceal(token)
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or options:
            raise SettingsError(
                "WAREHOUSE",
                f"is {excerpt(f'md:{name}', 60)!r}" + (f" with {', '.join(sorted(options))}" if options else ""),
                next_step="write md: and the name of one database, such as md:analytics.",
            )
        if not token.strip():
            raise SettingsError(TOKEN, "is not set", next_step=f"set {TOKEN} to an access token of the account.")
        self._token = token.strip()
        self.url, self.catalog = f"md:{name}", name
        self.environment = {"WAREHOUSE": self.url, TOKEN: self._token}

    def exists(self) -> bool:
        return True  # a database of an account is made there, before anything is landed

    @contextlib.contextmanager
    def write(self, *, lock_wait: float, where: str) -> Iterator[Writing]:
        with self._connected(where) as connection:
            for name, value in WRITE_SETTINGS.items():
                connection.execute(f"set {name} = '{value}'")
            yield Writing(connection)

    @contextlib.contextmanager
    def read(self, *, lock_wait: float, where: str, at: At | None = None) -> Iterator[Connection]:
        if at is not None:
            raise RejectedError(
                f"{self.url} is read as it is now", where=where, next_step="leave `at` out, or use MotherDuck's own."
            )
        with self._connected(where) as connection:
            yield connection

    def settle(self, *, lock_wait: float, now: datetime | None = None) -> datetime | None:
        return None  # what MotherDuck keeps of deleted rows, and for how long, is in its settings

    def remarks(self) -> Iterator[Remark]:
        try:
            with self._connected("warehouse") as connection:
                row = connection.execute(
                    "select count(*) from duckdb_tables() where database_name = current_database()"
                ).fetchone()
        except (RejectedError, TransientError) as error:
            yield Remark("fail", error.what.rstrip(".") + ".", error.next_step)
            return
        yield Remark("ok", f"{self.url} opens: {row[0] if row else 0} tables, DuckDB {duckdb.__version__}.")

    @contextlib.contextmanager
    def _connected(self, where: str) -> Iterator[Connection]:
        connection = duckdb.connect(":memory:")
        try:
            self._attach(connection, where)
            connection.execute(f"use {quoted(self.catalog)}; set TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()

    def _attach(self, connection: Connection, where: str) -> None:
        extensions.load(connection, "motherduck")
        try:
            for statement in self._statements():
                connection.execute(statement)
        except duckdb.Error as fault:
            said, raw = excerpt(str(fault), 200), str(fault).lower()
            if any(words in raw for words in ("token", "auth", "no database", "not found", "does not exist")):
                raise RejectedError(
                    f"{self.url} cannot be opened: {said}",
                    where=where,
                    next_step=f"check {TOKEN}, and make the database in MotherDuck first.",
                ) from None
            raise TransientError(
                f"{self.url} cannot be reached: {said}", where=where, next_step="rerun; nothing was changed."
            ) from None

    def _statements(self) -> Iterator[str]:
        yield f"set motherduck_token = {text(self._token)}"
        yield f"attach {text(self.url)}"
