"""The verbs for a scheduler: `nightly` does what is due, `status` tells what is there and what is not."""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connector.cli.days import not_negative
from connector.cli.log import log
from connector.cli.output import DONE, FAILED, IN_PROGRESS, error_fields, say, say_job, say_line, say_result
from connector.cli.progress import progress
from connector.cli.userpilot import add_export_options, export_options

if TYPE_CHECKING:
    from connector.upkeep.nightly import Outcome


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    verb = verbs.add_parser(
        "nightly",
        parents=[shared],
        help="land all that is due, as Dagster's schedules do; for cron and Airflow",
        description="Land yesterday and the days before it again, days that were missed or came late, reports, lookups "
        "and exports of every configured vendor. Call it from 03:15 UTC on; while it ends with 75, call it again: what "
        "this night has landed is not read again.",
    )
    verb.add_argument("--wait", type=not_negative, default=0.0, metavar="SECONDS", help="wait in place for exports")
    verb.add_argument(
        "--lookback-days",
        type=not_negative,
        metavar="N",
        help="days before yesterday that are landed again; 3 if left out",
    )
    verb.add_argument("--again", action="store_true", help="land also what this night has landed already")
    add_export_options(verb)
    verb.add_argument("--json", action="store_true", help="one JSON object a day on standard output, the summary last")
    verb.set_defaults(run=run_nightly)

    verb = verbs.add_parser(
        "status",
        parents=[shared],
        help="what is landed and missing, exports under way, failures, next steps; asks no vendor",
        description="What is landed and missing, exports under way, failures and next steps, from the warehouse and "
        "the spool alone. 1 if something is wrong, 75 while an export is under way. Whether a run could work: "
        "`connector doctor`; the vendor's word on exports: `connector export status`.",
    )
    verb.add_argument("--json", action="store_true", help="one JSON object a table, export or failure")
    verb.set_defaults(run=run_status)


def run_nightly(options: argparse.Namespace) -> int:
    from connector.upkeep.nightly import nightly

    chosen = export_options(options)
    outcomes: list[Outcome] = []
    with progress() as (of_day, _):
        for outcome in nightly(
            wait=options.wait,
            lookback_days=None if options.lookback_days is None else int(options.lookback_days),
            again=options.again,
            export=chosen,
            tell=say_line,
            progress=of_day,
        ):
            outcomes.append(outcome)
            _say_outcome(outcome, as_json=options.json)
    kinds = Counter(outcome.kind for outcome in outcomes)
    code = FAILED if kinds["failed"] else IN_PROGRESS if kinds["waiting"] else DONE
    numbers = {
        "landed": kinds["landed"],
        "rows": sum(outcome.rows for outcome in outcomes),
        "requests": sum(outcome.requests for outcome in outcomes),
        "waiting": kinds["waiting"],
        "failed": kinds["failed"],
    }
    if options.json:
        say(json.dumps({"summary": numbers, "exit_code": code}))
    elif code == FAILED or not options.quiet:  # that an export is under way is no error: cron would send a mail
        say(_summary(numbers))
    return code


def _say_outcome(outcome: "Outcome", *, as_json: bool) -> None:
    error = error_fields(outcome.error) if outcome.error else {}
    if as_json:
        fields = {"outcome": outcome.kind, "where": outcome.where, "rows": outcome.rows, "requests": outcome.requests}
        say(json.dumps({**fields, "said": outcome.said, **error}))
    if outcome.kind == "failed":
        log.error("%s", outcome.error or f"{outcome.where}: {outcome.said}", extra={"fields": error})
    elif not as_json:
        rows = f"{outcome.rows:>9,} rows  {outcome.requests} requests" if outcome.kind == "landed" else "waiting"
        say_result(f"{outcome.where}  {rows}{f'  {outcome.said}' if outcome.said else ''}")


def _summary(numbers: Mapping[str, int]) -> str:
    said = f"this night: {numbers['landed']} partitions landed, {numbers['rows']:,} rows"
    if numbers["failed"]:
        said += f"; {numbers['failed']} failed, which the next call tries again"
    if numbers["waiting"]:
        waiting = numbers["waiting"]
        said += f"; {waiting} {'export is' if waiting == 1 else 'exports are'} not complete: run it again later"
    return said


def run_status(options: argparse.Namespace) -> int:
    from connector.upkeep.status import status

    found = status()
    now = datetime.now(UTC)
    code = FAILED if not found.is_well else IN_PROGRESS if found.exports else DONE
    if options.json:
        for table in found.tables:
            say(json.dumps(asdict(table), default=str))
        for job in found.exports:
            say_job(job, as_json=True)
        for failure in found.failures:
            say(json.dumps(asdict(failure), default=str))
        say(json.dumps({"next_steps": found.next_steps, "exit_code": code}))
        return code
    for table in found.tables:
        say_result(table.sentence)
    for job in found.exports:
        say_result(f"export under way, as it was last seen: {job.sentence(now)}")
    for failure in found.failures:
        say(f"failed {failure.times} times, last {failure.at:%Y-%m-%d %H:%M} UTC: {failure.error}")
    for step in found.next_steps if not options.quiet or code == FAILED else ():
        say(f"next: {step}")
    return code
