"""DuckDB's extensions that lakes need: from the wheels of the extra ``lake``, else from where DuckDB keeps its own.

Nothing is downloaded here: a run must not depend on another's server, nor on what that serves today.
"""

from importlib import metadata, util
from pathlib import Path

import duckdb

from connector.errors import SettingsError, TransientError
from connector.redaction import excerpt
from connector.warehouse.sql import text


def load(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Load extensions, named as DuckDB names them.

    Raises:
        SettingsError: one is not installed, or was built for another DuckDB.
        TransientError: one needs a service to start, and cannot reach it.
    """
    for name in names:
        wheel = f"duckdb-extension-{name.replace('_', '-')}"
        file = _in_wheel(name)
        try:
            connection.execute(f"load {text(str(file)) if file else name}")
        except duckdb.Error as fault:
            if "threw an exception" in str(fault):  # it was loaded, and asks its service before it is ready
                said = excerpt(str(fault).rpartition("threw an exception: ")[2], 200)
                raise TransientError(
                    f"DuckDB's extension {name} could not start: {said}",
                    where="warehouse",
                    next_step="see whether this machine reaches the network, then rerun; nothing was changed.",
                ) from None
            there = _version(wheel)
            problem = (
                f"needs DuckDB's extension {name}, whose package {wheel} is of version {there} and DuckDB of "
                f"{duckdb.__version__}"
                if there and there != duckdb.__version__
                else f"needs DuckDB's extension {name}, which cannot be loaded: {excerpt(str(fault), 160)}"
            )
            raise SettingsError(
                "WAREHOUSE",
                problem,
                next_step="install this package with its extra [lake], which pins both, or run `install "
                f"{name}` once in the DuckDB of this version.",
            ) from None


def _in_wheel(name: str) -> Path | None:
    spec = util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    return file if file.exists() else None


def _version(wheel: str) -> str:
    try:
        return metadata.version(wheel)
    except metadata.PackageNotFoundError:
        return ""
