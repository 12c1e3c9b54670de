"""What the text in WAREHOUSE means: which kind of warehouse, and where."""

import re

from connector.errors import SettingsError
from connector.redaction import conceal, excerpt
from connector.settings import environment
from connector.warehouse.file import File
from connector.warehouse.kind import Kind

_LAKE = re.compile(r"^ducklake:(.*)$", re.IGNORECASE | re.DOTALL)
_SQLITE = re.compile(r"^sqlite:(?://)?(.+)$", re.IGNORECASE | re.DOTALL)
# Keywords, or a URL with or without DuckDB's own prefix before it.
_POSTGRES = re.compile(
    r"^(?:postgres(?:ql)?:)?(postgres(?:ql)?://.*)$|^postgres(?:ql)?:(.*)$", re.IGNORECASE | re.DOTALL
)
_MOTHERDUCK = re.compile(r"^(?:md|motherduck):(.*)$", re.IGNORECASE | re.DOTALL)
_NOT_A_FILE = re.compile(r"^(s3|gs|az|https?|postgres(ql)?):", re.IGNORECASE)
_FORMS = "a file path, ducklake:sqlite:<file>, ducklake:postgres:<keywords or URL>, or md:<database>"


def kind_of(url: str) -> Kind:
    """The kind of warehouse that a text names; nothing is opened.

    Raises:
        SettingsError: it names none, or a part that this kind needs is missing.
    """
    if lake := _LAKE.match(url):
        return _lake(lake[1])
    if named := _MOTHERDUCK.match(url):
        from connector.warehouse.motherduck import MotherDuck

        return MotherDuck(named[1], environment())
    if _NOT_A_FILE.match(url):
        _hide_password(url)
        raise _refused(url, "which is no warehouse that this version can write")
    return File(url)


def _lake(catalogue: str) -> Kind:
    env = environment()
    if place := _SQLITE.match(catalogue):
        from connector.warehouse.lake_sqlite import SqliteLake

        return SqliteLake(place[1], env)
    if server := _POSTGRES.match(catalogue):
        from connector.warehouse.lake_postgres import PostgresLake

        return PostgresLake(server[1] or server[2], env)
    raise _refused(f"ducklake:{catalogue}", "and a lake needs its catalogue in SQLite or PostgreSQL")


def _refused(url: str, because: str) -> SettingsError:
    return SettingsError(
        "WAREHOUSE", f"is {excerpt(url.split('?')[0], 60)!r}, {because}", next_step=f"set WAREHOUSE to {_FORMS}."
    )


def _hide_password(url: str) -> None:
    if found := re.match(r"[^/]*//[^/@]*:([^@]*)@", url):
        conceal(found[1])
