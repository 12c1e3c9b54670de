"""The verbs of OpenPanel: `sync` and `track`."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from connector.catalogue.openpanel import DIMENSIONS, ChartsQuery, FunnelsQuery
from connector.cli.output import (
    DONE,
    FAILED,
    TABLE_NAMES,
    days_between,
    parse_day,
    say,
    say_error,
    say_line,
    say_receipt,
)
from connector.errors import ConnectorError, RejectedError, SettingsError
from connector.openpanel.reports.config import Questions, streams
from connector.openpanel.settings import OpenPanelSettings
from connector.settings import Settings, environment
from connector.stream import Page, Stream


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verb = verbs.add_parser("sync", help="land days of a stream", description="Land days of a stream, each whole.")
    verb.add_argument("stream", metavar="STREAM", choices=TABLE_NAMES, help=f"one of {', '.join(TABLE_NAMES)}")
    verb.add_argument(
        "--from", dest="first", type=parse_day, required=True, metavar="DAY", help="first day, YYYY-MM-DD"
    )
    verb.add_argument("--to", dest="last", type=parse_day, required=True, metavar="DAY", help="last day, included")
    verb.add_argument("--allow-drop", action="store_true", help="land days that came back empty or far smaller")
    verb.add_argument("--incremental", action="store_true", help="for today: read only what is newer than landed")
    verb.add_argument("--json", action="store_true", help="one JSON object a day on standard output")
    verb.set_defaults(run=sync)

    verb = verbs.add_parser("track", help="send warehouse rows to OpenPanel, each once")
    verb.add_argument("outboxes", metavar="FILE", type=Path, help="YAML: name: {kind: identify, query: select ...}")
    verb.add_argument("--only", metavar="NAME", help="one outbox of the file")
    verb.add_argument(
        "--dry-run", action="store_true", help="print what would be sent, and what not and why; send nothing"
    )
    verb.add_argument("--no-verify", action="store_true", help="do not look up the changed profiles afterwards")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=track)


def sync(options: argparse.Namespace) -> int:
    from connector.openpanel.client import OpenPanel
    from connector.sync import sync_day
    from connector.warehouse.connection import Warehouse

    stream, settings, source = _configured_stream(options.stream), Settings.load(), OpenPanelSettings.load()
    _check_days(stream, options.first, options.last, timezone=source.timezone)
    warehouse, code = Warehouse(settings.warehouse), DONE
    with OpenPanel.from_settings(source) as client:
        for day in days_between(options.first, options.last):
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
                say_error(error, as_json=options.json)
                code = FAILED
                if isinstance(error, RejectedError):  # the next day would be refused as well
                    break
            else:
                say_receipt(receipt, as_json=options.json)
    return code


def _configured_stream(table: str) -> Stream:
    """A stream with the report config of OPENPANEL_REPORTS.

    Raises:
        SettingsError: no charts or funnels are configured, so every day would land empty.
    """
    questions = Questions.from_environment(environment(), dimensions=DIMENSIONS)
    stream = next(one for one in streams(questions) if one.table == table)
    if stream.query in (ChartsQuery(), FunnelsQuery()):
        raise SettingsError(
            "OPENPANEL_REPORTS",
            f"asks for no {stream.name}",
            next_step=f"name a file in OPENPANEL_REPORTS that holds {stream.name}.",
        )
    return stream


def _check_days(stream: Stream, first: date, last: date, *, timezone: str) -> None:
    """Refuse days that a stream cannot have: they would land empty and look complete.

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
            f"{stream.table} tells only the present, nothing about {first}.",
            where=stream.table,
            next_step=f"use --from {today} --to {today}.",
        )


def track(options: argparse.Namespace) -> int:
    from connector.openpanel.client import OpenPanel
    from connector.openpanel.track.plan import load_outboxes
    from connector.openpanel.track.send import deliver, describe, describe_outcome
    from connector.warehouse.connection import Warehouse

    outboxes = [one for one in load_outboxes(options.outboxes) if options.only in (None, one.name)]
    if not outboxes:
        raise SettingsError("--only", f"is {options.only!r}", next_step=f"use a name of {options.outboxes}.")
    settings, code = Settings.load(), DONE
    show = say_line if options.json else say  # standard output holds one object an outbox, nothing else
    with (
        OpenPanel.from_settings(OpenPanelSettings.load()) as client,
        client.track(verify=not options.no_verify, tell=say_line) as sender,
    ):
        for outbox in outboxes:
            done = deliver(
                outbox,
                sender,
                warehouse=Warehouse(settings.warehouse),
                folder=settings.spool_dir / "outbox",
                dry_run=(lambda message: show(describe(message))) if options.dry_run else None,
                tell=(lambda outcome: show(describe_outcome(outcome))) if options.dry_run else None,
            )
            counts = asdict(done)
            text = f"{outbox.name}: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}"
            say(json.dumps({"outbox": outbox.name, **counts}) if options.json else text)
            if done.rejected or done.failed or done.unknown:
                code = FAILED
    return code


def _progress(stream: Stream, day: date) -> Callable[[Page], None]:
    def tell(page: Page) -> None:
        if page.of > 10 and sys.stderr.isatty():
            print(f"\r{stream.partition(day)}: page {page.number}/{page.of}", end="", file=sys.stderr)

    return tell
