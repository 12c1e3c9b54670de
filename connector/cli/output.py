"""What the command prints, and its exit codes."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from connector.errors import ConnectorError, InProgressError, RejectedError
from connector.stream import Receipt

if TYPE_CHECKING:
    from connector.userpilot.exports.job import Job


_LOG = logging.getLogger("connector")  # `log.py` shows its lines

DONE, FAILED, WRONG_ARGUMENTS, IN_PROGRESS = 0, 1, 2, 75


class WrongArgumentsError(Exception):
    """What was asked for cannot be: the command ends with exit code 2, as for an argument that does not exist."""

    def __init__(self, error: ConnectorError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def checking_arguments() -> Iterator[None]:
    """What is refused inside is refused because of the arguments."""
    try:
        yield
    except RejectedError as error:
        raise WrongArgumentsError(error) from None


def say_job(job: "Job", *, as_json: bool) -> None:
    sentence = job.sentence(datetime.now(UTC))
    fields = {"job_id": job.job_id, "state": job.state, "from": job.request.first, "to": job.request.last}
    say_result(sentence, {**fields, "attempts": job.attempts, "sentence": sentence} if as_json else None)


def say(line: str, stream: TextIO | None = None) -> None:
    """Print one line, on standard output unless told otherwise. A closed pipe does not stop the command."""
    stream = stream or sys.stdout
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        # The stream would try to write the line again with the next one, and at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def say_result(line: str, fields: Mapping[str, object] | None = None) -> None:
    """One result: ``fields`` as JSON if there are any, else the line, unless only errors are told."""
    if fields is not None:
        say(json.dumps(fields, default=str))
    elif _LOG.isEnabledFor(logging.INFO):
        say(line)


def say_line(line: str) -> None:
    """A line about the work, beside its results."""
    _LOG.info("%s", line)


def say_receipt(receipt: Receipt, *, as_json: bool) -> None:
    fields = {**asdict(receipt), "strangers": sorted(receipt.strangers), "sample": None}
    say_result(
        f"{receipt.table}[{receipt.day}]  {receipt.landed:>9,} rows  {receipt.duplicates} duplicates  "
        f"{receipt.requests} requests  {receipt.seconds:.1f} s",
        fields if as_json else None,
    )


def error_fields(error: ConnectorError) -> dict[str, str]:
    """An error as JSON objects show it."""
    return {"error": type(error).__name__, "what": error.what, "where": error.where, "next": error.next_step}


def say_error(error: ConnectorError, *, as_json: bool) -> None:
    """Tell an error on standard error, and with ``--json`` on standard output as well.

    That something is in progress is information: with ``--quiet`` the exit code says so.
    """
    if as_json:
        say(json.dumps(error_fields(error)))
    level = logging.INFO if isinstance(error, InProgressError) else logging.ERROR
    _LOG.log(level, "%s: %s", type(error).__name__, error, extra={"fields": error_fields(error)})
