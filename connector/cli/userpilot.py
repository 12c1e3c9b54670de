"""The verbs of Userpilot: `export request`, `export status`, `export land` and `lookups`."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connector.catalogue.userpilot import LOOKUPS
from connector.cli.days import Days, add_days, not_negative
from connector.cli.output import (
    DONE,
    FAILED,
    IN_PROGRESS,
    WrongArgumentsError,
    checking_arguments,
    say_error,
    say_job,
    say_line,
    say_receipt,
    say_result,
)
from connector.errors import SettingsError
from connector.settings import Settings
from connector.stream import Receipt

if TYPE_CHECKING:
    from connector.userpilot.exports.request import Options, Request
    from connector.userpilot.exports.run import Exports

LOOKUPS_BY_NAME = {stream.name: stream for stream in LOOKUPS}


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    export = verbs.add_parser(
        "export",
        help="Userpilot's events: ask for an export, look at it, land it",
        description="Userpilot's events. OpenPanel's tables: `connector sync`; all that is due: `connector nightly`.",
    )
    acts = export.add_subparsers(required=True, metavar="ACT")
    act = acts.add_parser("request", parents=[shared], help="ask for an export of days; over in seconds")
    _add_days_and_options(act)
    act.set_defaults(run=export_request)
    act = acts.add_parser(
        "status",
        parents=[shared],
        help="ask the vendor how far our exports are; 75 while one is under way",
        description="Ask the vendor how far our exports are. What is landed and missing: `connector status`.",
    )
    act.add_argument("--json", action="store_true", help="one JSON object an export on standard output")
    act.set_defaults(run=export_status)
    act = acts.add_parser(
        "land", parents=[shared], help="land days from a completed export; asks for one if there is none"
    )
    _add_days_and_options(act)
    act.add_argument("--wait", type=not_negative, default=0.0, metavar="SECONDS", help="wait in place; 0 looks once")
    act.add_argument("--allow-drop", action="store_true", help="land days that came back empty or far smaller")
    act.add_argument(
        "--allow-undated", action="store_true", help="leave out and count rows without a usable time, and land the rest"
    )
    act.set_defaults(run=export_land)

    verb = verbs.add_parser("lookups", parents=[shared], help="land Userpilot's names of features, flows, surveys ...")
    verb.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LOOKUPS_BY_NAME)}; all if left out")
    verb.add_argument("--json", action="store_true", help="one JSON object a table on standard output")
    verb.set_defaults(run=lookups)


def _add_days_and_options(parser: argparse.ArgumentParser) -> None:
    add_days(parser, "UTC ")
    add_export_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """What an export asks for besides its days."""
    parser.add_argument("--format", choices=("json", "csv"), default="json", help="of the vendor's files")
    for name in ("event-type", "user-id", "company-id"):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar="VALUE", help="may be given several times"
        )
    parser.add_argument("--segment-id", default="", metavar="ID")
    parser.add_argument("--exclusions", action="store_true", help="leave out who is excluded in the web app")
    parser.add_argument("--email", dest="emails", action="append", default=[], help="who is sent download links")


def export_options(options: argparse.Namespace) -> "Options":
    """The options of :func:`add_export_options`, checked.

    Raises:
        WrongArgumentsError: an event type does not exist, or a text is empty.
    """
    from connector.userpilot.exports.request import Options

    names = ("format", "event_type", "user_id", "company_id", "segment_id", "exclusions", "emails")
    with checking_arguments():
        return Options.of({name: getattr(options, name) for name in names})


def _request_of(options: argparse.Namespace) -> "Request":
    from connector.userpilot.exports.request import Request

    chosen = export_options(options)
    with checking_arguments():
        first, last = Days.of(options).range("UTC")
        return Request.checked(first, last, chosen, today=datetime.now(UTC).date())


@contextmanager
def _exports() -> Iterator["Exports"]:
    from connector.userpilot.client import Userpilot
    from connector.userpilot.exports.run import Exports
    from connector.userpilot.settings import UserpilotSettings

    with Userpilot.from_settings(UserpilotSettings.load()) as client:
        yield Exports(client, Settings.load().spool_dir)


def export_request(options: argparse.Namespace) -> int:
    with _exports() as exports:
        job = exports.ask(_request_of(options))
        say_job(job, as_json=options.json)
    return FAILED if job.state.is_terminal else DONE if job.job_id else IN_PROGRESS


def export_status(options: argparse.Namespace) -> int:
    under_way = False
    with _exports() as exports:
        for job in exports.ledger.jobs():
            if not job.state.is_terminal:
                job = exports.look(job)
                exports.ledger.write(job)
            under_way |= job.state.awaits_vendor
            say_job(job, as_json=options.json)
    return IN_PROGRESS if under_way else DONE


def export_land(options: argparse.Namespace) -> int:
    from connector.warehouse.connection import Warehouse

    request, warehouse = _request_of(options), Warehouse(Settings.load().warehouse)
    with _exports() as exports:
        for job in exports.wait(request, patience=options.wait, tell=say_line):
            receipt = exports.land(
                job, warehouse=warehouse, allow_drop=options.allow_drop, allow_undated=options.allow_undated
            )
            for warning in receipt.warnings:
                say_line(f"{receipt.table}: {warning}")
            for day in receipt.days:
                fields = {"table": receipt.table, **asdict(day), "load_id": receipt.load_id, "job_id": receipt.job_id}
                text = f"{receipt.table}[{day.day}]  {day.landed:>9,} rows  {day.duplicates} duplicates"
                say_result(text, fields if options.json else None)
    return DONE


def lookups(options: argparse.Namespace) -> int:
    from connector.userpilot.lookups import sync_lookups
    from connector.warehouse.connection import Warehouse

    settings, code = Settings.load(), DONE
    if unknown := sorted(set(options.names) - set(LOOKUPS_BY_NAME)):
        names = ", ".join(LOOKUPS_BY_NAME)
        raise WrongArgumentsError(SettingsError("NAME", f"is {unknown[0]!r}", next_step=f"use {names}."))
    chosen = [LOOKUPS_BY_NAME[name] for name in options.names or LOOKUPS_BY_NAME]
    with _exports() as exports:
        for result in sync_lookups(
            exports.client, chosen, warehouse=Warehouse(settings.warehouse), spool_dir=settings.spool_dir
        ):
            if isinstance(result, Receipt):
                say_receipt(result, as_json=options.json)
            else:
                say_error(result, as_json=options.json)
                code = FAILED
    return code
