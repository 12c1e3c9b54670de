"""Where shared state is kept: in files of this machine, or in the database that the environment names."""

from pathlib import Path

from connector.errors import SettingsError
from connector.redaction import excerpt
from connector.settings import Environment, environment
from connector.state.files import FileState
from connector.state.kinds import VARIABLE, State
from connector.system.files import machine_folder


def of_machine(folder: Path | None = None) -> State:
    """What all projects of this user share: request budgets, and when profiles were changed.

    Args:
        folder: for the files; by default one private folder per user in the system's temporary folder.

    Raises:
        SettingsError: the folder cannot be used, or CONNECTOR_SHARED_STATE is malformed.
    """
    return in_database("machine") or FileState(machine_folder(folder))


def of_folder(folder: Path, *, scope: str = "") -> State:
    """What belongs to one folder of the spool: the ledger of exports, or the journals of Track.

    Args:
        scope: what all machines call the folder; its name if left out.

    Raises:
        SettingsError: CONNECTOR_SHARED_STATE is malformed.
    """
    return in_database(scope or folder.name) or FileState(folder)


def folders(parent: Path, name: str) -> list[Path]:
    """The folders in a folder of the spool for which something is kept under this name, on any machine."""
    everywhere = in_database("")
    if everywhere is None:
        return [file.parent for file in sorted(parent.glob(f"*/{name}"))]
    return [parent / found.removesuffix(f"/{name}") for found in everywhere.names(f"/{name}")]


def in_database(scope: str, env: Environment | None = None) -> State | None:
    """The state in PostgreSQL; None if CONNECTOR_SHARED_STATE is not set.

    Args:
        scope: stands before every name, as a folder would; names of all scopes if it is empty.

    Raises:
        SettingsError: the variable is malformed, or the driver is not installed.
    """
    url = (env or environment()).text(VARIABLE, "")
    if not url:
        return None
    try:
        from connector.state.postgres import PostgresState  # and with it the driver, which the default install lacks
    except ImportError as fault:
        raise SettingsError(
            VARIABLE,
            f"needs psycopg, which cannot be imported: {excerpt(str(fault), 160)}",
            next_step="pip install 'openpanel-userpilot-connector[postgres]'.",
        ) from None

    return PostgresState(url, scope)
