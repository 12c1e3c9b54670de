"""The `connector` command. A ``.env`` in the working directory is read as Dagster reads it.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 75 still in progress (run it again later). It does not retry.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connector.cli import lakes, nightly, openpanel, properties, upkeep, userpilot
from connector.cli.log import log, logging_to_stderr
from connector.cli.output import DONE, FAILED, IN_PROGRESS, WRONG_ARGUMENTS, WrongArgumentsError, say, say_error
from connector.errors import ConnectorError, InProgressError, SettingsError
from connector.system.terminal import begin_again_in_utf8, never_fail_on_a_character

PACKAGE = "openpanel-userpilot-connector"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    if arguments is None:
        begin_again_in_utf8("connector.cli")
    never_fail_on_a_character()
    options = _parser().parse_args(arguments)
    with logging_to_stderr(quiet=options.quiet, as_json=options.log_format == "json"):
        try:
            _read_dotenv(Path(".env"))
            code: int = options.run(options)
            return code
        except WrongArgumentsError as wrong:
            say_error(wrong.error, as_json=options.json)
            return WRONG_ARGUMENTS
        except ConnectorError as error:
            say_error(error, as_json=options.json)
            if isinstance(error, SettingsError) and error.variable.startswith("--"):
                return WRONG_ARGUMENTS
            return IN_PROGRESS if isinstance(error, InProgressError) else FAILED
        except KeyboardInterrupt:
            log.error("stopped; landed days stay landed, and the day in progress is unchanged.")
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


class _Version(argparse.Action):
    """Prints the version; looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        say(f"connector {metadata.version(PACKAGE)}")
        parser.exit(DONE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="connector",
        description="OpenPanel and Userpilot into DuckDB, landed whole by day.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong arguments, 75 still in progress (run it again later).",
    )
    parser.set_defaults(json=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--quiet", action="store_true", help="tell errors only; what --json prints stays")
    shared.add_argument("--log-format", choices=("text", "json"), default="text", help="of the lines on standard error")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for module in (nightly, openpanel, userpilot, properties, upkeep, lakes):
        module.add_verbs(verbs, shared)
    verb = verbs.add_parser("sandbox", parents=[shared], help="both vendors on this machine, filled with sample data")
    verb.add_argument("--port", type=int, default=8890, help="and the two after it")
    verb.add_argument("--days", type=int, default=14, help="days of sample data, up to today")
    verb.add_argument("--export-seconds", type=float, default=10.0, help="how long an export of Userpilot takes")
    verb.set_defaults(run=_sandbox)
    return parser


def _sandbox(options: argparse.Namespace) -> int:
    from connector.sandbox.__main__ import main as run

    run(["--port", str(options.port), "--days", str(options.days), "--job-seconds", str(options.export_seconds)])
    return DONE
