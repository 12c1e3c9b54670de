"""The `connector` command. A ``.env`` in the working directory is read as Dagster reads it.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 75 still in progress (run it again later). It does not retry.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from connector.cli import openpanel, properties, upkeep, userpilot
from connector.cli.output import DONE, FAILED, IN_PROGRESS, say, say_error
from connector.errors import ConnectorError, InProgressError, SettingsError
from connector.system.terminal import begin_again_in_utf8, never_fail_on_a_character


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    if arguments is None:
        begin_again_in_utf8("connector.cli")
    never_fail_on_a_character()
    options = _parser().parse_args(arguments)
    try:
        _read_dotenv(Path(".env"))
        code: int = options.run(options)
        return code
    except ConnectorError as error:
        say_error(error, as_json=options.json)
        return IN_PROGRESS if isinstance(error, InProgressError) else FAILED
    except KeyboardInterrupt:
        say("stopped; landed days stay landed, and the day in progress is unchanged.", sys.stderr)
        return FAILED


def _read_dotenv(file: Path) -> None:
    from dotenv import load_dotenv

    try:
        load_dotenv(file)  # variables that are set already are kept
    except (OSError, ValueError) as fault:
        # Only the error's class: its message may repeat a part of the file.
        raise SettingsError(
            str(file), f"cannot be read: {type(fault).__name__}", next_step="make it a text file in UTF-8 of yours."
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="connector", description="OpenPanel and Userpilot into DuckDB, landed whole by day."
    )
    parser.set_defaults(json=False)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    openpanel.add_verbs(verbs)
    userpilot.add_verbs(verbs)
    properties.add_verbs(verbs)
    upkeep.add_verbs(verbs)
    verb = verbs.add_parser("sandbox", help="a vendor on this machine, filled with sample data")
    verb.add_argument("--port", type=int, default=8890, help="and the two after it")
    verb.add_argument("--days", type=int, default=14, help="days of sample data, up to today")
    verb.set_defaults(run=_sandbox)
    return parser


def _sandbox(options: argparse.Namespace) -> int:
    from connector.sandbox.__main__ import main as run

    run(["--port", str(options.port), "--days", str(options.days)])
    return DONE
