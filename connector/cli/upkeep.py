"""The verbs that care for an installation: `doctor`, `prune` and `forget`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain

from connector.cli.output import DONE, FAILED, say
from connector.errors import SettingsError
from connector.settings import Settings, environment


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verb = verbs.add_parser(
        "forget",
        help="remove a person from all tables, and keep them out",
        description="Remove people from every landed table, waiting files and journals; later landings leave them out.",
    )
    verb.add_argument("--profile-id", action="append", default=[], metavar="ID", help="a person in OpenPanel")
    verb.add_argument("--user-id", action="append", default=[], metavar="ID", help="a person in Userpilot")
    verb.add_argument("--instance", metavar="NAME", help="only this instance's tables; all if left out")
    verb.add_argument("--keep-devices", action="store_true", help="keep anonymous events of the person's devices")
    verb.add_argument("--dry-run", action="store_true", help="count, and change nothing")
    verb.add_argument("--json", action="store_true", help="one JSON object a table on standard output")
    verb.set_defaults(run=forget)

    verb = verbs.add_parser(
        "prune",
        help="remove files and receipts that nobody needs any more",
        description="Remove what dead runs left and receipts that no row refers to; what is needed to go on stays.",
    )
    verb.add_argument("--files-days", type=float, default=4.0, metavar="DAYS", help="age of waiting export files")
    verb.add_argument("--receipts-days", type=float, default=400.0, metavar="DAYS", help="age of receipts")
    verb.add_argument("--dry-run", action="store_true", help="count, and remove nothing")
    verb.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    verb.set_defaults(run=prune)

    verb = verbs.add_parser(
        "doctor",
        help="is everything well? says what to do if not",
        description="Look at settings, credentials, vendors, clock, disks, warehouse, spool and the Dagster instance.",
    )
    verb.add_argument("--offline", action="store_true", help="look at the vendors' variables only, ask nobody")
    verb.add_argument("--json", action="store_true", help="one JSON object a finding on standard output")
    verb.set_defaults(run=doctor)


def forget(options: argparse.Namespace) -> int:
    from connector.catalogue.openpanel import EVENTS
    from connector.catalogue.userpilot import EVENTS as EXPORTED
    from connector.openpanel.track.journal import forget as forget_sent
    from connector.privacy.forget import forget, instances
    from connector.privacy.policy import Privacy
    from connector.spool import sweep
    from connector.userpilot.exports.files import remove_files
    from connector.warehouse.connection import Warehouse

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
        say(json.dumps({**asdict(one), "dry_run": options.dry_run}) if options.json else text)
    rest = {"waiting exports": len(exports), "left spools": len(swept), "rows noted as sent back": noted}
    for what, count in rest.items():
        say(json.dumps({"table": what, "rows": count}) if options.json else f"{what}  {count} {word}")
    if not options.json and not options.dry_run:
        say("build what is made from these tables once more: dbt build --full-refresh")
    return DONE


def _people(ids: Sequence[str]) -> list[str]:
    if not all(one.strip() for one in ids):
        raise SettingsError("--profile-id or --user-id", "is empty", next_step="nobody is not a person; name one.")
    return list(dict.fromkeys(one.strip() for one in ids))


def prune(options: argparse.Namespace) -> int:
    from connector.upkeep.prune import Pruned, prune_files, prune_receipts
    from connector.userpilot.exports.files import prune_files as prune_exports
    from connector.warehouse.connection import Warehouse

    settings, dry = Settings.load(), bool(options.dry_run)
    exports = prune_exports(settings.spool_dir, older_than=options.files_days * 86_400, dry_run=dry)
    found = [
        *prune_files(settings.spool_dir, older_than_days=options.files_days, dry_run=dry),
        Pruned("files of exports that nobody landed", len(exports)),
        *prune_receipts(Warehouse(settings.warehouse), older_than_days=options.receipts_days, dry_run=dry),
    ]
    for one in found:
        text = f"{one.what}  {one.count} {'to remove' if dry else 'removed'}"
        say(json.dumps({**asdict(one), "dry_run": dry}) if options.json else text)
    return DONE


def doctor(options: argparse.Namespace) -> int:
    from connector.openpanel import doctor as openpanel
    from connector.upkeep import doctor
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
        say(json.dumps(asdict(finding)) if options.json else line)
    return code
