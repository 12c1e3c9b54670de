"""What the command prints, and its exit codes."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, TextIO

from connector.catalogue.openpanel import STREAMS
from connector.catalogue.userpilot import LOOKUPS
from connector.errors import ConnectorError
from connector.stream import Receipt

if TYPE_CHECKING:
    from connector.userpilot.exports.job import Job


DONE, FAILED, IN_PROGRESS = 0, 1, 75
LOOKUPS_BY_NAME = {stream.name: stream for stream in LOOKUPS}
TABLE_NAMES = sorted(stream.table for stream in STREAMS)


def say_job(job: "Job", *, as_json: bool) -> None:
    sentence = job.sentence(datetime.now(UTC))
    if not as_json:
        say(sentence)
        return
    fields = {"job_id": job.job_id, "state": job.state, "from": job.request.first, "to": job.request.last}
    say(json.dumps({**fields, "attempts": job.attempts, "sentence": sentence}, default=str))


def say_line(line: str) -> None:
    say(line, sys.stderr)


def say(line: str, stream: TextIO | None = None) -> None:
    """Print one line, on standard output unless told otherwise. A closed pipe does not stop the command."""
    stream = stream or sys.stdout
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        # The stream keeps what it could not write and tries again with the next line, and at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def days_between(first: date, last: date) -> Iterator[date]:
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write YYYY-MM-DD") from None


def say_receipt(receipt: Receipt, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps({**asdict(receipt), "strangers": sorted(receipt.strangers), "sample": None}, default=str))
        return
    say(
        f"{receipt.table}[{receipt.day}]  {receipt.landed:>9,} rows  {receipt.duplicates} duplicates  "
        f"{receipt.requests} requests  {receipt.seconds:.1f} s"
    )


def say_error(error: ConnectorError, *, as_json: bool) -> None:
    if as_json:
        fields = {"error": type(error).__name__, "what": error.what, "where": error.where, "next": error.next_step}
        say(json.dumps(fields))
    say(f"{type(error).__name__}: {error}", sys.stderr)
