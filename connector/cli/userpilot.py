"""The verbs of Userpilot: `export request`, `export status`, `export land` and `lookups`."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connector.errors import ConnectorError, RejectedError, SettingsError
from connector.settings import Settings

if TYPE_CHECKING:
    from connector.userpilot.exports.request import Request
    from connector.userpilot.exports.run import Exports
from connector.cli.output import (
    DONE,
    FAILED,
    IN_PROGRESS,
    LOOKUPS_BY_NAME,
    parse_day,
    say,
    say_error,
    say_job,
    say_line,
    say_receipt,
)


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    export = verbs.add_parser("export", help="Userpilot's events: ask for an export, look at it, land it")
    acts = export.add_subparsers(required=True, metavar="ACT")
    act = acts.add_parser("request", help="ask for an export of days; over in seconds")
    add_export_arguments(act)
    act.set_defaults(run=export_request)
    act = acts.add_parser("status", help="how far our exports are; 75 while one is under way")
    act.add_argument("--json", action="store_true", help="one JSON object an export on standard output")
    act.set_defaults(run=export_status)
    act = acts.add_parser("land", help="land days from a completed export; asks for one if there is none")
    add_export_arguments(act)
    act.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait in place; 0 looks once")
    act.add_argument("--allow-drop", action="store_true", help="land days that came back empty or far smaller")
    act.add_argument(
        "--allow-undated", action="store_true", help="leave out and count rows without a usable time, and land the rest"
    )
    act.set_defaults(run=export_land)

    verb = verbs.add_parser("lookups", help="land Userpilot's names of features, flows, surveys ...")
    verb.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LOOKUPS_BY_NAME)}; all if left out")
    verb.add_argument("--json", action="store_true", help="one JSON object a table on standard output")
    verb.set_defaults(run=lookups)


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="first", type=parse_day, required=True, metavar="DAY", help="first UTC day")
    parser.add_argument(
        "--to", dest="last", type=parse_day, required=True, metavar="DAY", help="last UTC day, included"
    )
    parser.add_argument("--format", choices=("json", "csv"), default="json")
    for name in ("event-type", "user-id", "company-id"):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar="VALUE", help="may be given several times"
        )
    parser.add_argument("--segment-id", default="", metavar="ID")
    parser.add_argument("--exclusions", action="store_true", help="leave out who is excluded in the web app")
    parser.add_argument("--email", dest="emails", action="append", default=[], help="who is sent download links")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _request_of(options: argparse.Namespace) -> "Request":
    from connector.userpilot.exports.request import Options, Request

    names = ("format", "event_type", "user_id", "company_id", "segment_id", "exclusions", "emails")
    export_options = Options.of({name: getattr(options, name) for name in names})
    return Request.checked(options.first, options.last, export_options, today=datetime.now(UTC).date())


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
        for job in exports.wait(request, patience=options.wait, tell=None if options.json else say_line):
            receipt = exports.land(
                job, warehouse=warehouse, allow_drop=options.allow_drop, allow_undated=options.allow_undated
            )
            for warning in receipt.warnings:
                say_line(f"{receipt.table}: {warning}")
            for day in receipt.days:
                fields = {"table": receipt.table, **asdict(day), "load_id": receipt.load_id, "job_id": receipt.job_id}
                text = f"{receipt.table}[{day.day}]  {day.landed:>9,} rows  {day.duplicates} duplicates"
                say(json.dumps(fields, default=str) if options.json else text)
    return DONE


def lookups(options: argparse.Namespace) -> int:
    from connector.userpilot.lookups import sync_lookup
    from connector.warehouse.connection import Warehouse

    settings, code = Settings.load(), DONE
    if unknown := sorted(set(options.names) - set(LOOKUPS_BY_NAME)):
        raise SettingsError("NAME", f"is {unknown[0]!r}", next_step=f"use {', '.join(LOOKUPS_BY_NAME)}.")
    with _exports() as exports:
        for name in options.names or LOOKUPS_BY_NAME:
            try:
                receipts = sync_lookup(
                    exports.client,
                    LOOKUPS_BY_NAME[name],
                    warehouse=Warehouse(settings.warehouse),
                    spool_dir=settings.spool_dir,
                )
            except ConnectorError as error:
                say_error(error, as_json=options.json)
                code = FAILED
                # A wrong setting or key fails every lookup; another refusal concerns one lookup only.
                if isinstance(error, SettingsError) or (
                    isinstance(error, RejectedError) and error.status in (401, 403)
                ):
                    break
                continue
            for receipt in receipts:
                say_receipt(receipt, as_json=options.json)
    return code
