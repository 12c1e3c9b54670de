"""The verbs for the upkeep of an installation: `doctor`, `prune` and `forget`."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from connector.cli.days import not_negative
from connector.cli.output import DONE, FAILED, say, say_result
from connector.settings import Settings


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    verb = verbs.add_parser(
        "forget",
        parents=[shared],
        help="remove a person from all tables, and keep them out",
        description="Remove people from every landed table, waiting files and journals; later landings leave them out.",
    )
    verb.add_argument("--profile-id", action="append", default=[], metavar="ID", help="a person in OpenPanel")
    verb.add_argument("--user-id", action="append", default=[], metavar="ID", help="a person in Userpilot")
    verb.add_argument("--instance", metavar="NAME", help="only this instance's tables; all if left out")
    verb.add_argument("--keep-devices", action="store_true", help="keep anonymous events of the person's devices")
    verb.add_argument("--dry-run", action="store_true", help="count, and change nothing")
    verb.add_argument("--json", action="store_true", help="one JSON object a table on standard output")
    verb.set_defaults(run=run_forget)

    verb = verbs.add_parser(
        "prune",
        parents=[shared],
        help="remove files and receipts that are not needed any more",
        description="Remove what dead runs left and receipts that no row refers to; what is needed to go on stays.",
    )
    verb.add_argument(
        "--files-days", type=not_negative, default=4.0, metavar="DAYS", help="age of waiting export files"
    )
    verb.add_argument("--receipts-days", type=not_negative, default=400.0, metavar="DAYS", help="age of receipts")
    verb.add_argument("--builds-days", type=not_negative, default=4.0, metavar="DAYS", help="age of builds of models")
    verb.add_argument(
        "--dbt-target", type=Path, default=Path("sql/target"), metavar="FOLDER", help="where builds of models lie"
    )
    verb.add_argument("--dry-run", action="store_true", help="count, and remove nothing")
    verb.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    verb.set_defaults(run=run_prune)

    verb = verbs.add_parser(
        "doctor",
        parents=[shared],
        help="check everything a run needs; say what to do about what is wrong",
        description="Look at settings, credentials, vendors, clock, disks, warehouse, spool and the Dagster instance.",
    )
    verb.add_argument("--offline", action="store_true", help="look at the vendors' variables only, send no request")
    verb.add_argument("--json", action="store_true", help="one JSON object a finding on standard output")
    verb.set_defaults(run=run_doctor)


def run_forget(options: argparse.Namespace) -> int:
    from connector.privacy.policy import Privacy
    from connector.upkeep.forget import forget
    from connector.warehouse.connection import Warehouse

    settings = Settings.load()
    gone = forget(
        Warehouse(settings.warehouse),
        settings.spool_dir,
        profile_ids=options.profile_id,
        user_ids=options.user_id,
        instance=options.instance,
        devices=not options.keep_devices,
        privacy=Privacy.from_environment(),
        dry_run=options.dry_run,
    )
    word = "to remove" if options.dry_run else "removed"
    for one in gone.tables:
        text = f"{one.table}  {one.rows:>9,} rows {word} on {one.days} days ({one.anonymous} of them anonymous)"
        say_result(text, {**asdict(one), "dry_run": options.dry_run} if options.json else None)
    for what, count in gone.elsewhere.items():
        say_result(f"{what}  {count} {word}", {"table": what, "rows": count} if options.json else None)
    if gone.left_until:
        until = f"{gone.left_until:%Y-%m-%d %H:%M} UTC"
        text = f"older snapshots hold these rows for those who read them; connector maintain removes them after {until}"
        say_result(
            text, {"table": "older snapshots", "left_until": gone.left_until.isoformat()} if options.json else None
        )
    if not options.json and not options.dry_run:
        say_result("build what is made from these tables once more: dbt build --full-refresh")
    return DONE


def run_prune(options: argparse.Namespace) -> int:
    from connector.upkeep.prune import prune, prune_builds
    from connector.warehouse.connection import Warehouse

    settings, dry = Settings.load(), bool(options.dry_run)
    pruned = prune(
        Warehouse(settings.warehouse),
        settings.spool_dir,
        files_days=options.files_days,
        receipts_days=options.receipts_days,
        dry_run=dry,
    )
    pruned.append(prune_builds(options.dbt_target, older_than_days=options.builds_days, dry_run=dry))
    for one in pruned:
        text = f"{one.what}  {one.count} {'to remove' if dry else 'removed'}"
        say_result(text, {**asdict(one), "dry_run": dry} if options.json else None)
    return DONE


def run_doctor(options: argparse.Namespace) -> int:
    from connector.upkeep.doctor import doctor

    code = DONE
    for finding in doctor(offline=options.offline):
        if finding.level == "fail":
            code = FAILED
        line = f"{finding.level:4}  {finding.about}: {finding.said}" + (f" -> {finding.todo}" if finding.todo else "")
        if finding.level != "ok" or options.json or not options.quiet:
            say(json.dumps(asdict(finding)) if options.json else line)
    return code
