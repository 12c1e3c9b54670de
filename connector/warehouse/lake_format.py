"""What a lake's catalogue says of itself, and whether this version may use it."""

from dataclasses import dataclass

import duckdb

from connector.errors import SettingsError
from connector.redaction import excerpt
from connector.settings import Environment
from connector.warehouse.lake_files import VARIABLE, DataPath

# The format of the catalogues that DuckDB 1.5.5 writes.
FORMAT = "1.0"


@dataclass(frozen=True)
class Stored:
    """What an existing catalogue says of itself: the version of its format, and where the files are."""

    version: str
    data_path: str


def usable(
    stored: Stored | None, files: DataPath | None, root: duckdb.DuckDBPyConnection, env: Environment
) -> DataPath:
    """Where the lake's files are, ready to be used.

    Args:
        stored: None for a lake that is about to be made.
        files: as the settings say; None for where the catalogue says.

    Raises:
        SettingsError: the catalogue has another format, its files are elsewhere, or a new lake's place is taken.
    """
    if stored is None:
        if files is None:
            raise SettingsError(
                VARIABLE,
                "is not set, and the lake does not exist yet",
                next_step="set it to a folder or to s3://bucket/prefix/ that holds nothing else.",
            )
        files.must_be_free(root)
        return files
    if stored.version != FORMAT:
        raise SettingsError(
            "WAREHOUSE",
            f"has a catalogue of format {excerpt(stored.version, 20)}, and this version reads {FORMAT}",
            next_step="if it is older: back the catalogue up, then run connector migrate-lake; no older version can "
            "open it afterwards. If it is newer: install the version that wrote it.",
        )
    if files is None:
        files = DataPath(stored.data_path, env)
        files.prepare(root)
    elif files.path != stored.data_path:
        raise SettingsError(
            VARIABLE,
            f"is {files.path}, and the lake's files are in {excerpt(stored.data_path, 200)}",
            next_step="set it to where they are; if they were moved on purpose: connector migrate-lake --moved.",
        )
    files.must_exist()
    return files
