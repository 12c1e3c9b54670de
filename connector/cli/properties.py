"""The verbs of event properties: `properties` and `models`."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from connector.cli.days import Days, parse_day
from connector.cli.output import DONE, FAILED, say, say_line, say_result
from connector.settings import Settings

if TYPE_CHECKING:
    from connector.properties.catalogue import Property
    from connector.warehouse.connection import Warehouse


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    verb = verbs.add_parser(
        "properties",
        parents=[shared],
        help="the properties of every event: how often, of which type, since when",
        description="Look at the landed days that were not looked at yet, and tell the properties of every event.",
    )
    verb.add_argument("--table", default="", help="such as openpanel.events; all if left out")
    verb.add_argument("--event", default="", metavar="NAME", help="one event; all if left out")
    verb.add_argument(
        "--changes-since",
        type=parse_day,
        metavar="DAY",
        help="tell instead what is new, has vanished or changed its type since then",
    )
    verb.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    verb.set_defaults(run=run_properties)

    verb = verbs.add_parser(
        "models",
        parents=[shared],
        help="a dbt model for each event, with its properties as typed columns",
        description="Write a dbt model for each event of a file, with its properties as typed columns, tested.",
    )
    verb.add_argument("file", metavar="FILE", type=Path, help="YAML: which properties become columns")
    verb.add_argument("folder", metavar="FOLDER", type=Path, help="below the models of a dbt project")
    verb.add_argument("--check", action="store_true", help="change nothing; exit code 1 if something would change")
    verb.add_argument("--json", action="store_true", help="one JSON object a file on standard output")
    verb.set_defaults(run=run_models)


def run_properties(options: argparse.Namespace) -> int:
    from connector.properties.catalogue import every_property
    from connector.properties.look import look, sources
    from connector.warehouse.connection import Warehouse

    warehouse = Warehouse(Settings.load().warehouse)
    for source in sources(warehouse):
        looked = look(warehouse, source)
        if looked.days:
            say_line(f"{source.stream.table}: looked at {len(looked.days)} days, {looked.days[0]} to {looked.days[-1]}")
    if options.changes_since is not None:
        return _say_changes(warehouse, options)
    found = every_property(warehouse, options.table, options.event)
    if not found:
        say_line("no property was found: land events first, or look at the names that were given")
    if options.json:
        for one in found:
            say_result("", asdict(one))
        return DONE
    for (table, event), those in groupby(found, key=lambda one: (one.table, one.event)):
        _say_event(table, event, list(those))
    return DONE


def run_models(options: argparse.Namespace) -> int:
    from connector.properties.catalogue import every_property
    from connector.properties.config import load
    from connector.properties.look import look, sources
    from connector.properties.models import write
    from connector.properties.plan import plan
    from connector.warehouse.connection import Warehouse

    wanted, warehouse = load(options.file), Warehouse(Settings.load().warehouse)
    for source in sources(warehouse):
        look(warehouse, source)
    models = plan(wanted, every_property(warehouse), options.file.name)
    done = write(models, options.folder, made_from=options.file.name, dry_run=options.check)
    for what, files in (("written", done.changed), ("removed", done.removed)):
        for file in files:
            text = f"{file}  {'to be ' if options.check else ''}{what}"
            fields = {"file": str(file), "what": what, "check": options.check}
            say_result(text, fields if options.json else None)
    say_line(f"{len(models)} models, {len(done.changed)} files changed, {len(done.removed)} removed")
    return FAILED if options.check and (done.changed or done.removed) else DONE


def _say_event(table: str, event: str, found: "Sequence[Property]") -> None:
    say(f"{table}  {event}  {found[0].event_rows:,} rows")
    wide = min(max(len(one.property) for one in found), 40)
    for one in found:
        kind = one.fits if len(one.kinds) == 1 else f"{one.fits} ({', '.join(one.kinds)})"
        examples = ", ".join(one.examples)
        say(
            f"  {one.property:{wide}}  {one.filled_percent:6.2f} %  {one.first_day} to {one.last_day}  {kind}"
            + (f"  such as {examples}" if examples else "")
        )


def _say_changes(warehouse: "Warehouse", options: argparse.Namespace) -> int:
    from connector.properties.changes import changes
    from connector.properties.look import sources

    days = Days(options.changes_since, 0, None).list("UTC")
    for source in sources(warehouse):
        table = source.stream.table
        for one in changes(warehouse, table, days) if options.table in ("", table) else ():
            if options.event in ("", one.event):
                name = f"{one.event}  {one.property}" if one.property else one.event
                text = f"{one.day}  {table}  {name}  {one.what}: {one.sentence}"
                say_result(text, {"table": table, **asdict(one)} if options.json else None)
    return DONE
