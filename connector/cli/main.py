"""The same verbs without Dagster, for cron, Airflow and a terminal; a ``.env`` here is read as Dagster reads it.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 75 still in progress (ask again later). Nothing here retries or
schedules.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from connector.cli.output import DONE, FAILED, IN_PROGRESS, LOOKUPS_BY_NAME, TABLE_NAMES, parse_day, say, say_error
from connector.cli.userpilot import add_export_arguments, export_land, export_request, export_status
from connector.errors import ConnectorError, InProgressError, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        _read_dotenv(Path(".env"))
        code: int = options.run(options)
        return code
    except ConnectorError as error:
        say_error(error, as_json=options.json)
        return IN_PROGRESS if isinstance(error, InProgressError) else FAILED
    except KeyboardInterrupt:
        say("stopped; what had landed stays landed, the day in progress is as it was before.", sys.stderr)
        return FAILED


def _read_dotenv(file: Path) -> None:
    from dotenv import load_dotenv

    try:
        load_dotenv(file)  # what the environment holds already stays
    except (OSError, ValueError) as fault:
        # The class alone: the fault may repeat what the file holds.
        raise SettingsError(
            str(file), f"cannot be read: {type(fault).__name__}", next_step="make it a text file in UTF-8 of yours."
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="connector", description="OpenPanel and Userpilot into DuckDB, landed whole by day."
    )
    parser.set_defaults(json=False)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    sync = verbs.add_parser("sync", help="land days of a stream", description="Land days of a stream, each whole.")
    sync.add_argument("stream", metavar="STREAM", choices=TABLE_NAMES, help=f"one of {', '.join(TABLE_NAMES)}")
    sync.add_argument(
        "--from", dest="first", type=parse_day, required=True, metavar="DAY", help="first day, YYYY-MM-DD"
    )
    sync.add_argument("--to", dest="last", type=parse_day, required=True, metavar="DAY", help="last day, included")
    sync.add_argument("--allow-drop", action="store_true", help="land days that came back empty or far smaller")
    sync.add_argument("--incremental", action="store_true", help="for today: read only what is newer than landed")
    sync.add_argument("--json", action="store_true", help="one JSON object a day on standard output")
    sync.set_defaults(run=sync)

    track = verbs.add_parser("track", help="send warehouse rows to OpenPanel, each once")
    track.add_argument("outboxes", metavar="FILE", type=Path, help="YAML: name: {kind: identify, query: select ...}")
    track.add_argument("--only", metavar="NAME", help="one outbox of the file")
    track.add_argument("--dry-run", action="store_true", help="print what would be sent, send nothing")
    track.add_argument("--json", action="store_true")
    track.set_defaults(run=track)

    export = verbs.add_parser("export", help="Userpilot's events: ask for an export, look at it, land it")
    acts = export.add_subparsers(required=True, metavar="ACT")
    request = acts.add_parser("request", help="ask for an export of days; over in seconds")
    add_export_arguments(request)
    request.set_defaults(run=export_request)
    status = acts.add_parser("status", help="how far our exports are; 75 while one is under way")
    status.add_argument("--json", action="store_true", help="one JSON object an export on standard output")
    status.set_defaults(run=export_status)
    land = acts.add_parser("land", help="land days from a completed export; asks for one if there is none")
    add_export_arguments(land)
    land.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait in place; 0 looks once")
    land.add_argument("--allow-drop", action="store_true", help="land days that came back empty or far smaller")
    land.set_defaults(run=export_land)

    lookups = verbs.add_parser("lookups", help="land Userpilot's names of features, flows, surveys ...")
    lookups.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LOOKUPS_BY_NAME)}; all if left out")
    lookups.add_argument("--json", action="store_true", help="one JSON object a table on standard output")
    lookups.set_defaults(run=lookups)

    forget = verbs.add_parser(
        "forget",
        help="remove a person from all tables, and keep them out",
        description="Remove people from every landed table, waiting files and journals; later landings leave them out.",
    )
    forget.add_argument("--profile-id", action="append", default=[], metavar="ID", help="a person in OpenPanel")
    forget.add_argument("--user-id", action="append", default=[], metavar="ID", help="a person in Userpilot")
    forget.add_argument("--instance", metavar="NAME", help="only this instance's tables; all if left out")
    forget.add_argument("--keep-devices", action="store_true", help="keep anonymous events of the person's devices")
    forget.add_argument("--dry-run", action="store_true", help="count, and change nothing")
    forget.add_argument("--json", action="store_true", help="one JSON object a table on standard output")
    forget.set_defaults(run=forget)

    prune = verbs.add_parser(
        "prune",
        help="remove files and receipts that nobody needs any more",
        description="Remove what dead runs left and receipts that no row refers to; what is needed to go on stays.",
    )
    prune.add_argument("--files-days", type=float, default=4.0, metavar="DAYS", help="age of waiting export files")
    prune.add_argument("--receipts-days", type=float, default=400.0, metavar="DAYS", help="age of receipts")
    prune.add_argument("--dry-run", action="store_true", help="count, and remove nothing")
    prune.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    prune.set_defaults(run=prune)

    doctor = verbs.add_parser(
        "doctor",
        help="is everything well? says what to do if not",
        description="Look at settings, credentials, vendors, clock, disks, warehouse, spool and the Dagster instance.",
    )
    doctor.add_argument("--offline", action="store_true", help="look at the vendors' variables only, ask nobody")
    doctor.add_argument("--json", action="store_true", help="one JSON object a finding on standard output")
    doctor.set_defaults(run=doctor)

    sandbox = verbs.add_parser("sandbox", help="a vendor on this machine, filled with sample data")
    sandbox.add_argument("--port", type=int, default=8890, help="and the two after it")
    sandbox.add_argument("--days", type=int, default=14, help="days of sample data, up to today")
    sandbox.set_defaults(run=_sandbox)
    return parser


def _sandbox(options: argparse.Namespace) -> int:
    from connector.sandbox.__main__ import main as run

    run(["--port", str(options.port), "--days", str(options.days)])
    return DONE
