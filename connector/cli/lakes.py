"""The verbs for warehouses of more than one kind: `maintain`, `move` and `migrate-lake`."""

import argparse
from dataclasses import asdict
from datetime import timedelta

from connector.cli.output import DONE, say_result
from connector.errors import SettingsError
from connector.settings import Settings


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    verb = verbs.add_parser(
        "maintain",
        parents=[shared],
        help="remove old versions of rows from a lake, and merge its small files",
        description="Remove what a lake keeps of replaced rows, and files of dead writers. A DuckDB file needs none.",
    )
    verb.add_argument(
        "--keep-hours", type=float, default=24.0, metavar="HOURS",
        help="how long replaced rows stay readable; 0 only without readers and writers",
    )  # fmt: skip
    verb.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    verb.set_defaults(run=run_maintain)

    verb = verbs.add_parser(
        "move",
        parents=[shared],
        help="copy the warehouse into another one, of whatever kind",
        description="Copy what was landed from WAREHOUSE into another warehouse, day by day, compared; run again, it "
        "goes on. Nothing is removed. Stop landings meanwhile, and set WAREHOUSE afterwards.",
    )
    verb.add_argument("--to", required=True, metavar="URL", help="as WAREHOUSE would have it")
    verb.add_argument("--json", action="store_true", help="one JSON object a table on standard output")
    verb.set_defaults(run=run_move)

    verb = verbs.add_parser(
        "migrate-lake",
        parents=[shared],
        help="bring a lake's catalogue to this version's format",
        description="After an update of the extra [lake]. Back the catalogue up first: no older version opens it then.",
    )
    verb.add_argument("--backed-up", action="store_true", help="yes, there is a copy of the catalogue")
    verb.add_argument("--moved", action="store_true", help="the files were moved to DUCKLAKE_DATA_PATH; note that, too")
    verb.add_argument("--json", action="store_true", help="one JSON object on standard output")
    verb.set_defaults(run=run_migrate_lake)


def run_maintain(options: argparse.Namespace) -> int:
    from connector.warehouse.connection import Warehouse

    done = Warehouse(Settings.load().warehouse).maintain(keep=timedelta(hours=options.keep_hours))
    for one in done:
        say_result(f"{one.what}  {one.count}", asdict(one) if options.json else None)
    if not done and not options.json:
        say_result("nothing is to be done for a warehouse of this kind")
    return DONE


def run_move(options: argparse.Namespace) -> int:
    from connector.upkeep.move import move
    from connector.warehouse.connection import Warehouse

    settings = Settings.load()
    for one in move(Warehouse(settings.warehouse), Warehouse(options.to), settings.spool_dir):
        newer = f", {one.newer} newer over there" if one.newer else ""
        text = f"{one.table}  {one.copied} copied ({one.rows:,} rows), {one.equal} equal{newer}"
        say_result(text, asdict(one) if options.json else None)
    if not options.json:
        say_result("all is compared; set WAREHOUSE to the new one, and build the models: dbt build --full-refresh")
    return DONE


def run_migrate_lake(options: argparse.Namespace) -> int:
    from connector.warehouse.connection import Warehouse

    warehouse = Warehouse(Settings.load().warehouse)
    if not options.backed_up:
        raise SettingsError(
            "--backed-up",
            "is missing, and no older version opens the catalogue afterwards",
            next_step="copy the catalogue (its SQLite file and the files beside it, or pg_dump), then add --backed-up.",
        )
    said = warehouse.migrate(moved=options.moved)
    say_result(said, {"said": said} if options.json else None)
    return DONE
