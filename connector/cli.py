"""The same verbs without Dagster, for cron, Airflow and a terminal; a ``.env`` here is read as Dagster reads it.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 75 still in progress (ask again later). Nothing here retries or
schedules.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from zoneinfo import ZoneInfo

from connector.errors import ConnectorError, InProgressError, RejectedError, SettingsError
from connector.openpanel.settings import OpenPanelSettings
from connector.openpanel.streams import DIMENSIONS, STREAMS, streams
from connector.settings import Settings, environment
from connector.stream import Page, Receipt, Stream
from connector.userpilot.streams import LOOKUPS

if TYPE_CHECKING:
    from connector.userpilot.export import Job, Request
    from connector.userpilot.sync import Exports

DONE, FAILED, IN_PROGRESS = 0, 1, 75
_LOOKUPS = {stream.name: stream for stream in LOOKUPS}
_TABLES = sorted(stream.table for stream in STREAMS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        _read_dotenv(Path(".env"))
        code: int = options.run(options)
        return code
    except ConnectorError as error:
        _say_error(error, as_json=options.json)
        return IN_PROGRESS if isinstance(error, InProgressError) else FAILED
    except KeyboardInterrupt:
        _say("stopped; what had landed stays landed, the day in progress is as it was before.", sys.stderr)
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
    sync.add_argument("stream", metavar="STREAM", choices=_TABLES, help=f"one of {', '.join(_TABLES)}")
    sync.add_argument("--from", dest="first", type=_day, required=True, metavar="DAY", help="first day, YYYY-MM-DD")
    sync.add_argument("--to", dest="last", type=_day, required=True, metavar="DAY", help="last day, included")
    sync.add_argument("--allow-drop", action="store_true", help="land days that came back empty or far smaller")
    sync.add_argument("--incremental", action="store_true", help="for today: read only what is newer than landed")
    sync.add_argument("--json", action="store_true", help="one JSON object a day on standard output")
    sync.set_defaults(run=_sync)

    track = verbs.add_parser("track", help="send warehouse rows to OpenPanel, each once")
    track.add_argument("outboxes", metavar="FILE", type=Path, help="YAML: name: {kind: identify, query: select ...}")
    track.add_argument("--only", metavar="NAME", help="one outbox of the file")
    track.add_argument("--dry-run", action="store_true", help="print what would be sent, send nothing")
    track.add_argument("--json", action="store_true")
    track.set_defaults(run=_track)

    export = verbs.add_parser("export", help="Userpilot's events: ask for an export, look at it, land it")
    acts = export.add_subparsers(required=True, metavar="ACT")
    request = acts.add_parser("request", help="ask for an export of days; over in seconds")
    _export_days(request)
    request.set_defaults(run=_export_request)
    status = acts.add_parser("status", help="how far our exports are; 75 while one is under way")
    status.add_argument("--json", action="store_true", help="one JSON object an export on standard output")
    status.set_defaults(run=_export_status)
    land = acts.add_parser("land", help="land days from a completed export; asks for one if there is none")
    _export_days(land)
    land.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait in place; 0 looks once")
    land.add_argument("--allow-drop", action="store_true", help="land days that came back empty or far smaller")
    land.set_defaults(run=_export_land)

    lookups = verbs.add_parser("lookups", help="land Userpilot's names of features, flows, surveys ...")
    lookups.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_LOOKUPS)}; all if left out")
    lookups.add_argument("--json", action="store_true", help="one JSON object a table on standard output")
    lookups.set_defaults(run=_lookups)

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
    forget.set_defaults(run=_forget)

    prune = verbs.add_parser(
        "prune",
        help="remove files and receipts that nobody needs any more",
        description="Remove what dead runs left and receipts that no row refers to; what is needed to go on stays.",
    )
    prune.add_argument("--files-days", type=float, default=4.0, metavar="DAYS", help="age of waiting export files")
    prune.add_argument("--receipts-days", type=float, default=400.0, metavar="DAYS", help="age of receipts")
    prune.add_argument("--dry-run", action="store_true", help="count, and remove nothing")
    prune.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    prune.set_defaults(run=_prune)

    doctor = verbs.add_parser(
        "doctor",
        help="is everything well? says what to do if not",
        description="Look at settings, credentials, vendors, clock, disks, warehouse, spool and the Dagster instance.",
    )
    doctor.add_argument("--offline", action="store_true", help="look at the vendors' variables only, ask nobody")
    doctor.add_argument("--json", action="store_true", help="one JSON object a finding on standard output")
    doctor.set_defaults(run=_doctor)

    sandbox = verbs.add_parser("sandbox", help="a vendor on this machine, filled with sample data")
    sandbox.add_argument("--port", type=int, default=8890, help="and the two after it")
    sandbox.add_argument("--days", type=int, default=14, help="days of sample data, up to today")
    sandbox.set_defaults(run=_sandbox)
    return parser


def _sync(options: argparse.Namespace) -> int:
    from connector.openpanel.client import OpenPanel
    from connector.sync import sync_day
    from connector.warehouse import Warehouse

    stream, settings, source = _asked(options.stream), Settings.load(), OpenPanelSettings.load()
    _check_days(stream, options.first, options.last, timezone=source.timezone)
    warehouse, code = Warehouse(settings.warehouse), DONE
    with OpenPanel.from_settings(source) as client:
        for day in _days(options.first, options.last):
            try:
                receipt = sync_day(
                    client,
                    stream,
                    day,
                    warehouse=warehouse,
                    spool_dir=settings.spool_dir,
                    allow_drop=options.allow_drop,
                    incremental=options.incremental,
                    progress=None if options.json else _progress(stream, day),
                )
            except ConnectorError as error:
                _say_error(error, as_json=options.json)
                code = FAILED
                if isinstance(error, RejectedError):  # the next day would be refused as well
                    break
            else:
                _say_receipt(receipt, as_json=options.json)
    return code


def _asked(table: str) -> Stream:
    """A stream with what the file of OPENPANEL_REPORTS asks of it.

    Raises:
        SettingsError: nothing is asked of charts or funnels, so every day would land empty.
    """
    from connector.openpanel.questions import Questions

    questions = Questions.from_environment(environment(), dimensions=DIMENSIONS)
    stream = next(one for one in streams(questions) if one.table == table)
    if stream.walk in ("charts", "funnels") and not stream.params[stream.walk]:
        raise SettingsError(
            "OPENPANEL_REPORTS",
            f"asks for no {stream.walk}",
            next_step=f"name a file in OPENPANEL_REPORTS that holds {stream.walk}.",
        )
    return stream


def _check_days(stream: Stream, first: date, last: date, *, timezone: str) -> None:
    """Refuse days that a stream cannot have: they would land empty and look whole for ever.

    Raises:
        RejectedError: the days are in the wrong order, in the future, or past for a stream without days.
    """
    today = datetime.now(ZoneInfo(timezone) if stream.days == "local" else UTC).date()
    if last < first:
        raise SettingsError("--to", f"is {last}, before --from", next_step="swap the two days.")
    if last > today:
        raise RejectedError(
            f"the last day {last} is in the future.", where=stream.table, next_step=f"ask for days up to {today}."
        )
    if stream.days == "none" and first < today:
        raise RejectedError(
            f"{stream.table} tells only what is now, nothing of {first}.",
            where=stream.table,
            next_step=f"ask with --from {today} --to {today}.",
        )


def _track(options: argparse.Namespace) -> int:
    from connector.openpanel.client import OpenPanel
    from connector.openpanel.track import deliver, describe, load_outboxes
    from connector.warehouse import Warehouse

    outboxes = [one for one in load_outboxes(options.outboxes) if options.only in (None, one.name)]
    if not outboxes:
        raise SettingsError("--only", f"is {options.only!r}", next_step=f"use a name of {options.outboxes}.")
    settings, code = Settings.load(), DONE
    show = _say_line if options.json else _say  # standard output holds one object an outbox, nothing else
    with OpenPanel.from_settings(OpenPanelSettings.load()) as client, client.track() as track:
        for outbox in outboxes:
            done = deliver(
                outbox,
                track,
                warehouse=Warehouse(settings.warehouse),
                folder=settings.spool_dir / "outbox",
                dry_run=(lambda message: show(describe(message))) if options.dry_run else None,
            )
            counts = asdict(done)
            text = f"{outbox.name}: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}"
            _say(json.dumps({"outbox": outbox.name, **counts}) if options.json else text)
            if done.rejected or done.failed or done.unknown:
                code = FAILED
    return code


def _export_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="first", type=_day, required=True, metavar="DAY", help="first UTC day")
    parser.add_argument("--to", dest="last", type=_day, required=True, metavar="DAY", help="last UTC day, included")
    parser.add_argument("--format", choices=("json", "csv"), default="json")
    for name in ("event-type", "user-id", "company-id"):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar="VALUE", help="may be given several times"
        )
    parser.add_argument("--segment-id", default="", metavar="ID")
    parser.add_argument("--exclusions", action="store_true", help="leave out who is excluded in the web app")
    parser.add_argument("--email", dest="emails", action="append", default=[], help="who is sent download links")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _wanted(options: argparse.Namespace) -> "Request":
    from connector.userpilot.export import Options, Request

    names = ("format", "event_type", "user_id", "company_id", "segment_id", "exclusions", "emails")
    asked = Options.of({name: getattr(options, name) for name in names})
    return Request.checked(options.first, options.last, asked, today=datetime.now(UTC).date())


@contextmanager
def _exports() -> Iterator["Exports"]:
    from connector.userpilot.client import Userpilot
    from connector.userpilot.settings import UserpilotSettings
    from connector.userpilot.sync import Exports

    with Userpilot.from_settings(UserpilotSettings.load()) as client:
        yield Exports(client, Settings.load().spool_dir)


def _export_request(options: argparse.Namespace) -> int:
    with _exports() as exports:
        job = exports.ask(_wanted(options))
        _say_job(job, as_json=options.json)
    return FAILED if job.state.is_terminal else DONE if job.job_id else IN_PROGRESS


def _export_status(options: argparse.Namespace) -> int:
    under_way = False
    with _exports() as exports:
        for job in exports.ledger.jobs():
            if not job.state.is_terminal:
                job = exports.look(job)
                exports.ledger.write(job)
            under_way |= job.state.awaits_vendor
            _say_job(job, as_json=options.json)
    return IN_PROGRESS if under_way else DONE


def _export_land(options: argparse.Namespace) -> int:
    from connector.warehouse import Warehouse

    request, warehouse = _wanted(options), Warehouse(Settings.load().warehouse)
    with _exports() as exports:
        for job in exports.wait(request, patience=options.wait, tell=None if options.json else _say_line):
            receipt = exports.land(job, warehouse=warehouse, allow_drop=options.allow_drop)
            for day in receipt.days:
                fields = {"table": receipt.table, **asdict(day), "load_id": receipt.load_id, "job_id": receipt.job_id}
                text = f"{receipt.table}[{day.day}]  {day.landed:>9,} rows  {day.duplicates} duplicates"
                _say(json.dumps(fields, default=str) if options.json else text)
    return DONE


def _lookups(options: argparse.Namespace) -> int:
    from connector.userpilot.lookups import sync_lookup
    from connector.warehouse import Warehouse

    settings, code = Settings.load(), DONE
    if unknown := sorted(set(options.names) - set(_LOOKUPS)):
        raise SettingsError("NAME", f"is {unknown[0]!r}", next_step=f"use {', '.join(_LOOKUPS)}.")
    with _exports() as exports:
        for name in options.names or _LOOKUPS:
            try:
                receipts = sync_lookup(
                    exports.client,
                    _LOOKUPS[name],
                    warehouse=Warehouse(settings.warehouse),
                    spool_dir=settings.spool_dir,
                )
            except ConnectorError as error:
                _say_error(error, as_json=options.json)
                code = FAILED
                # What is wrong with a setting or the key is wrong for every lookup; what a route refuses is its own.
                if isinstance(error, SettingsError) or (
                    isinstance(error, RejectedError) and error.status in (401, 403)
                ):
                    break
                continue
            for receipt in receipts:
                _say_receipt(receipt, as_json=options.json)
    return code


def _forget(options: argparse.Namespace) -> int:
    from connector.forgotten import forget, instances
    from connector.openpanel.streams import EVENTS
    from connector.outbox import forget as forget_sent
    from connector.privacy import Privacy
    from connector.spool import sweep
    from connector.userpilot.streams import EVENTS as EXPORTED
    from connector.userpilot.sync import remove_files
    from connector.warehouse import Warehouse

    ids = [(EVENTS, _people(options.profile_id)), (EXPORTED, _people(options.user_id))]
    if not any(who for _, who in ids):
        raise SettingsError("--profile-id", "and --user-id are both missing", next_step="name the person.")
    settings, privacy = Settings.load(), Privacy.from_environment()
    warehouse = Warehouse(settings.warehouse)
    known_in = [(stream, who) for one, who in ids if who for stream in instances(warehouse, one)]
    people = [(stream, who) for stream, who in known_in if options.instance in (None, stream.instance)]
    if options.instance is not None and not people:
        names = sorted({repr(stream.instance) for stream, _ in known_in})
        raise SettingsError(
            "--instance",
            f"is {options.instance!r}, of which there is no table",
            next_step=f"use one of {', '.join(names) or 'none (nothing was landed)'}, or leave it out for all.",
        )
    # Tables first: whoever lands waiting files meanwhile leaves the person out.
    removed = forget(
        warehouse,
        people,
        hashed=privacy.hashed if privacy else None,
        devices=not options.keep_devices,
        dry_run=options.dry_run,
    )
    exports = remove_files(settings.spool_dir, dry_run=options.dry_run) if options.user_id else []
    swept = [] if options.dry_run else sweep(settings.spool_dir)
    known = [value for _, who in ids for value in who]
    known += [form for value in known if privacy and (form := privacy.hashed(value))]
    noted = forget_sent(warehouse, settings.spool_dir / "outbox", known, dry_run=options.dry_run)
    word = "to remove" if options.dry_run else "removed"
    for one in removed:
        text = f"{one.table}  {one.rows:>9,} rows {word} on {one.days} days ({one.anonymous} of them anonymous)"
        _say(json.dumps({**asdict(one), "dry_run": options.dry_run}) if options.json else text)
    rest = {"waiting exports": len(exports), "left spools": len(swept), "rows noted as sent back": noted}
    for what, count in rest.items():
        _say(json.dumps({"table": what, "rows": count}) if options.json else f"{what}  {count} {word}")
    if not options.json and not options.dry_run:
        _say("build what is made from these tables once more: dbt build --full-refresh")
    return DONE


def _people(ids: Sequence[str]) -> list[str]:
    if not all(one.strip() for one in ids):
        raise SettingsError("--profile-id or --user-id", "is empty", next_step="nobody is not a person; name one.")
    return list(dict.fromkeys(one.strip() for one in ids))


def _prune(options: argparse.Namespace) -> int:
    from connector.retention import Pruned, prune_files, prune_receipts
    from connector.userpilot.sync import prune_files as prune_exports
    from connector.warehouse import Warehouse

    settings, dry = Settings.load(), bool(options.dry_run)
    exports = prune_exports(settings.spool_dir, older_than=options.files_days * 86_400, dry_run=dry)
    found = [
        *prune_files(settings.spool_dir, older_than_days=options.files_days, dry_run=dry),
        Pruned("files of exports that nobody landed", len(exports)),
        *prune_receipts(Warehouse(settings.warehouse), older_than_days=options.receipts_days, dry_run=dry),
    ]
    for one in found:
        text = f"{one.what}  {one.count} {'to remove' if dry else 'removed'}"
        _say(json.dumps({**asdict(one), "dry_run": dry}) if options.json else text)
    return DONE


def _doctor(options: argparse.Namespace) -> int:
    from connector import doctor
    from connector.openpanel import doctor as openpanel
    from connector.userpilot import doctor as userpilot

    env, code = environment(), DONE
    findings = chain(
        doctor.examine(env),
        openpanel.examine(env, ask=not options.offline),
        userpilot.examine(env, ask=not options.offline),
        [] if openpanel.is_configured(env) or userpilot.is_configured(env) else [doctor.nothing_configured()],
    )
    for finding in findings:
        if finding.level == "fail":
            code = FAILED
        line = f"{finding.level:4}  {finding.about}: {finding.said}" + (f" -> {finding.todo}" if finding.todo else "")
        _say(json.dumps(asdict(finding)) if options.json else line)
    return code


def _say_job(job: "Job", *, as_json: bool) -> None:
    sentence = job.sentence(datetime.now(UTC))
    if not as_json:
        _say(sentence)
        return
    fields = {"job_id": job.job_id, "state": job.state, "from": job.request.first, "to": job.request.last}
    _say(json.dumps({**fields, "attempts": job.attempts, "sentence": sentence}, default=str))


def _say_line(line: str) -> None:
    _say(line, sys.stderr)


def _say(line: str, stream: TextIO | None = None) -> None:
    """One line, on standard output if not told otherwise; that its reader left does not stop what is said with it."""
    stream = stream or sys.stdout
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        # The stream keeps what it could not write and tries again with the next line, and at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _sandbox(options: argparse.Namespace) -> int:
    from connector.sandbox.__main__ import main as run

    run(["--port", str(options.port), "--days", str(options.days)])
    return DONE


def _days(first: date, last: date) -> Iterator[date]:
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write YYYY-MM-DD") from None


def _progress(stream: Stream, day: date) -> Callable[[Page], None]:
    def tell(page: Page) -> None:
        if page.of > 10 and sys.stderr.isatty():
            print(f"\r{stream.partition(day)}: page {page.number}/{page.of}", end="", file=sys.stderr)

    return tell


def _say_receipt(receipt: Receipt, *, as_json: bool) -> None:
    if as_json:
        _say(json.dumps({**asdict(receipt), "strangers": sorted(receipt.strangers), "sample": None}, default=str))
        return
    _say(
        f"{receipt.table}[{receipt.day}]  {receipt.landed:>9,} rows  {receipt.duplicates} duplicates  "
        f"{receipt.requests} requests  {receipt.seconds:.1f} s"
    )


def _say_error(error: ConnectorError, *, as_json: bool) -> None:
    if as_json:
        fields = {"error": type(error).__name__, "what": error.what, "where": error.where, "next": error.next_step}
        _say(json.dumps(fields))
    _say(f"{type(error).__name__}: {error}", sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
