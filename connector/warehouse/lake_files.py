"""Where a lake's Parquet files are: a folder, or a bucket of an object store that speaks S3."""

from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from connector.errors import SettingsError
from connector.redaction import conceal, excerpt
from connector.settings import Environment
from connector.system.files import private_folder
from connector.warehouse import extensions
from connector.warehouse.sql import text

VARIABLE = "DUCKLAKE_DATA_PATH"
# One part of an upload has a ten-thousandth of this; DuckDB's default needs more memory than a landing has.
LARGEST_FILE = "50GB"


class DataPath:
    """One place for files, as an absolute path or URL that ends in a slash.

    Raises:
        SettingsError: it is neither a folder nor in a bucket.
    """

    def __init__(self, given: str, env: Environment) -> None:
        self._env = env
        if "://" in given:
            if not given.lower().startswith("s3://") or not urlsplit(given).netloc:
                raise SettingsError(
                    VARIABLE, f"is {excerpt(given, 80)!r}", next_step="use a folder, or s3://bucket/prefix/."
                )
            self.folder = None
            self.path = given.rstrip("/") + "/"
        else:
            self.folder = Path(given).expanduser().absolute()
            self.path = f"{self.folder}/"

    def prepare(self, root: duckdb.DuckDBPyConnection) -> None:
        """Give a DuckDB what it needs to reach the files."""
        if self.folder is not None:
            return
        extensions.load(root, "httpfs")
        # Global, or it would not reach cursors.
        root.execute(f"set global s3_uploader_max_filesize = '{LARGEST_FILE}'")
        options = {"type": "s3", "scope": text(self.path)}
        for option, variable in _S3.items():
            if value := self._env.values.get(variable, "").strip():
                options[option] = text(value)
                if variable in _SECRET:
                    conceal(value)
        if endpoint := self._env.values.get("AWS_ENDPOINT_URL", "").strip():
            parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
            options |= {
                "endpoint": text(parts.netloc + parts.path.rstrip("/")),
                "url_style": text("path"),
                "use_ssl": "false" if parts.scheme == "http" else "true",
            }
        root.execute(f"create secret lake_files ({', '.join(f'{name} {value}' for name, value in options.items())})")

    def must_be_free(self, root: duckdb.DuckDBPyConnection) -> None:
        """Refuse a place that holds files: two lakes in one place delete each other's.

        Raises:
            SettingsError: it does, or it cannot be looked at or made.
        """
        try:
            if self.folder is not None:
                private_folder(self.folder)
                taken = next(self.folder.iterdir(), None) is not None
            else:
                taken = root.execute(f"from glob({text(self.path + '**')}) limit 1").fetchone() is not None
        except (OSError, duckdb.Error) as fault:
            raise SettingsError(
                VARIABLE,
                f"is {self.path}, which cannot be used: {excerpt(str(fault), 200)}",
                next_step="check the folder or bucket and its rights; for S3 also AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL.",
            ) from None
        if taken:
            raise SettingsError(
                VARIABLE,
                f"is {self.path}, which holds files, though the lake does not exist yet",
                next_step="use a place of its own for each lake: its maintenance removes files that it does not know.",
            )

    def must_exist(self) -> None:
        """Raises SettingsError if the folder is gone, while the catalogue is not."""
        if self.folder is not None and not self.folder.is_dir():
            raise SettingsError(
                VARIABLE,
                f"is {self.path}, which is no folder, though the lake's catalogue says that its files are there",
                next_step="bring the folder back (a disk that is not mounted?) before anything else is landed.",
            )


_S3 = {
    "key_id": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "region": "AWS_REGION",
}
_SECRET = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
