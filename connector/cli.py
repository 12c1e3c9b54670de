"""The same verbs without Dagster, for cron, Airflow and a terminal.

Exit codes: 0 done, 1 failed, 75 still in progress (ask again later). Nothing here retries or schedules.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

from connector.errors import ConnectorError, SettingsError
from connector.openpanel.settings import OpenPanelSettings
from connector.openpanel.streams import STREAMS
from connector.settings import Settings
from connector.stream import Page, Receipt, Stream

DONE, FAILED, IN_PROGRESS = 0, 1, 75
_BY_NAME = {stream.table: stream for stream in STREAMS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except ConnectorError as error:
        _say_error(error, as_json=options.json)
        return FAILED
    except KeyboardInterrupt:
        print("stopped; what had landed stays landed, the day in progress is as it was before.", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="connector", description="OpenPanel and Userpilot into DuckDB, landed whole by day."
    )
    parser.set_defaults(json=False)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    sync = verbs.add_parser("sync", help="land days of a stream", description="Land days of a stream, each whole.")
    sync.add_argument(
        "stream", metavar="STREAM", choices=sorted(_BY_NAME), help=f"one of {', '.join(sorted(_BY_NAME))}"
    )
    sync.add_argument("--from", dest="first", type=_day, required=True, metavar="DAY", help="first UTC day, YYYY-MM-DD")
    sync.add_argument("--to", dest="last", type=_day, required=True, metavar="DAY", help="last UTC day, included")
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

    sandbox = verbs.add_parser("sandbox", help="a vendor on this machine, filled with sample data")
    sandbox.add_argument("--port", type=int, default=8890)
    sandbox.add_argument("--days", type=int, default=14, help="days of sample data, up to yesterday")
    sandbox.set_defaults(run=_sandbox)
    return parser


def _sync(options: argparse.Namespace) -> int:
    from connector.openpanel.client import OpenPanel
    from connector.sync import sync_day
    from connector.warehouse import Warehouse

    stream, settings = _BY_NAME[options.stream], Settings.load()
    if options.last < options.first:
        raise SettingsError("--to", f"is {options.last}, before --from", next_step="swap the two days.")
    warehouse, code = Warehouse(settings.warehouse), DONE
    with OpenPanel.from_settings(OpenPanelSettings.load()) as client:
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
                if not error.is_transient:
                    break
            else:
                _say_receipt(receipt, as_json=options.json)
    return code


def _track(options: argparse.Namespace) -> int:
    from connector.openpanel.client import OpenPanel
    from connector.openpanel.track import deliver, describe, load_outboxes
    from connector.warehouse import Warehouse

    outboxes = [one for one in load_outboxes(options.outboxes) if options.only in (None, one.name)]
    if not outboxes:
        raise SettingsError("--only", f"is {options.only!r}", next_step=f"use a name of {options.outboxes}.")
    settings, code = Settings.load(), DONE
    with OpenPanel.from_settings(OpenPanelSettings.load()) as client, client.track() as track:
        for outbox in outboxes:
            done = deliver(
                outbox,
                track,
                warehouse=Warehouse(settings.warehouse),
                folder=settings.spool_dir / "outbox",
                dry_run=(lambda message: print(describe(message))) if options.dry_run else None,
            )
            print(json.dumps({"outbox": outbox.name, **asdict(done)}) if options.json else f"{outbox.name}: {done}")
            if done.rejected or done.failed or done.unknown:
                code = FAILED
    return code


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
        print(
            json.dumps({**asdict(receipt), "strangers": sorted(receipt.strangers), "sample": None}, default=str),
            flush=True,
        )
        return
    print(
        f"{receipt.table}[{receipt.day}]  {receipt.landed:>9,} rows  {receipt.duplicates} duplicates  "
        f"{receipt.requests} requests  {receipt.seconds:.1f} s",
        flush=True,
    )


def _say_error(error: ConnectorError, *, as_json: bool) -> None:
    if as_json:
        fields = {"error": type(error).__name__, "what": error.what, "where": error.where, "next": error.next_step}
        print(json.dumps(fields), flush=True)
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
