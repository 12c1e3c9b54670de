"""The verbs of OpenPanel: `sync` and `track`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path

from connector.catalogue.openpanel import DIMENSIONS, STREAMS
from connector.catalogue.tables import every_stream
from connector.cli.days import Days, add_days
from connector.cli.output import (
    DONE,
    FAILED,
    checking_arguments,
    say,
    say_error,
    say_line,
    say_receipt,
)
from connector.cli.progress import progress
from connector.errors import RejectedError, SettingsError
from connector.openpanel.reports.config import Questions, asked_for, streams
from connector.openpanel.settings import OpenPanelSettings
from connector.settings import Settings, environment
from connector.stream import Receipt, Stream

TABLE_NAMES = sorted(stream.table for stream in STREAMS)


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    verb = verbs.add_parser(
        "sync",
        parents=[shared],
        help="land days of OpenPanel's tables",
        description="Land days of OpenPanel's tables, each whole. Userpilot's events: `connector export`; its lists: "
        "`connector lookups`; all that is due tonight: `connector nightly`.",
    )
    verb.add_argument(
        "streams", metavar="STREAM", nargs="+", type=_table, help=f"one or more of {', '.join(TABLE_NAMES)}"
    )
    add_days(verb)
    verb.add_argument("--allow-drop", action="store_true", help="land days that came back empty or far smaller")
    verb.add_argument("--incremental", action="store_true", help="for today: read only what is newer than landed")
    verb.add_argument("--json", action="store_true", help="one JSON object a day on standard output")
    verb.set_defaults(run=sync)

    verb = verbs.add_parser("track", parents=[shared], help="send warehouse rows to OpenPanel, each once")
    verb.add_argument("outboxes", metavar="FILE", type=Path, help="YAML: name: {kind: identify, query: select ...}")
    verb.add_argument("--only", metavar="NAME", help="one outbox of the file")
    verb.add_argument(
        "--dry-run", action="store_true", help="print what would be sent, and what not and why; send nothing"
    )
    verb.add_argument("--no-verify", action="store_true", help="do not look up the changed profiles afterwards")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=track)


def _table(name: str) -> str:
    """A table of OpenPanel's; the message for any other names the verb that lands it."""
    if name in TABLE_NAMES:
        return name
    others = {stream.table: "export land" if stream.name == "events" else "lookups" for stream in every_stream()}
    if name in others:
        raise argparse.ArgumentTypeError(f"{name} is landed by `connector {others[name]}`")
    raise argparse.ArgumentTypeError(f"{name!r} is no table of OpenPanel's; choose from {', '.join(TABLE_NAMES)}")


def sync(options: argparse.Namespace) -> int:
    from connector.openpanel.client import OpenPanel
    from connector.sync import sync_days
    from connector.warehouse.connection import Warehouse

    settings, source = Settings.load(), OpenPanelSettings.load()
    wanted = [(stream, _days(stream, options, source.timezone)) for stream in _configured(options.streams)]
    warehouse, code = Warehouse(settings.warehouse), DONE
    with (
        OpenPanel.from_settings(source) as client,
        progress(sum(len(days) for _, days in wanted)) as (of_day, ended),
    ):
        for stream, days in wanted:
            for result in sync_days(
                client,
                stream,
                days,
                warehouse=warehouse,
                spool_dir=settings.spool_dir,
                allow_drop=options.allow_drop,
                growing=days if options.incremental else (),
                progress=partial(of_day, stream),
            ):
                ended()
                if isinstance(result, Receipt):
                    say_receipt(result, as_json=options.json)
                    continue
                say_error(result, as_json=options.json)
                code = FAILED
                if isinstance(result, RejectedError):
                    if result.concerns_all:  # the next table would be refused as well
                        return FAILED
                    break  # and here the next day
    return code


def _configured(tables: Sequence[str]) -> list[Stream]:
    """Streams with the report config of OPENPANEL_REPORTS, each once, in the order given.

    Raises:
        SettingsError: no charts or funnels are configured, so every day would land empty.
    """
    questions = Questions.from_environment(environment(), dimensions=DIMENSIONS)
    known = {stream.table: stream for stream in streams(questions)}
    chosen = [known[table] for table in dict.fromkeys(tables)]
    for stream in chosen:
        if not asked_for(stream):
            raise SettingsError(
                "OPENPANEL_REPORTS",
                f"asks for no {stream.name}",
                next_step=f"name a file in OPENPANEL_REPORTS that holds {stream.name}.",
            )
    return chosen


def _days(stream: Stream, options: argparse.Namespace, timezone: str) -> list[date]:
    """The days that were asked for, if the stream can have them: others would land empty and look complete.

    Raises:
        WrongArgumentsError: the days are in the wrong order, in the future, or past for a stream without days.
    """
    zone = timezone if stream.days == "local" else "UTC"
    with checking_arguments():
        days = Days.of(options).list(zone)
        (today,) = Days(0, 0, None).list(zone)
        if stream.days == "none" and days[0] < today:
            raise RejectedError(
                f"{stream.table} tells only the present, nothing about {days[0]}.",
                where=stream.table,
                next_step="use --from today --to today.",
            )
    return days


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
