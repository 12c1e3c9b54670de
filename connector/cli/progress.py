"""How far a command is: a display that moves on a terminal, a line every few seconds everywhere else."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from importlib.util import find_spec
from typing import TYPE_CHECKING

from connector.cli.log import lines_go_to, log
from connector.meter import Pace
from connector.stream import Page, Stream

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Called for a day that begins; what it returns is called after every page of that day.
OfDay = Callable[[Stream, date], Callable[[Page], None]]


@contextmanager
def progress(days: int = 0) -> Iterator[tuple[OfDay, Callable[[], None]]]:
    """What to call for a day that begins, and what after a day that ended.

    Args:
        days: how many there are; 0 if that is not known.
    """
    # Only the extras `terminal` and `dagster` bring rich.
    moves = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and find_spec("rich") is not None
    if moves and log.isEnabledFor(logging.INFO):
        with _display(days) as shown:
            yield shown
    else:
        yield _lines, lambda: None


def _lines(stream: Stream, day: date) -> Callable[[Page], None]:
    pace = Pace(stream.partition(day))

    def tell(page: Page) -> None:
        if sentence := pace.sentence(page):
            log.info(sentence)

    return tell


@contextmanager
def _display(days: int) -> Iterator[tuple[OfDay, Callable[[], None]]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} {task.fields[unit]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    # Results go to standard output: only one that is this terminal may be written above the display.
    with Progress(
        *columns, console=console, transient=True, redirect_stderr=False, redirect_stdout=sys.stdout.isatty()
    ) as shown:
        whole = shown.add_task("days", total=days, unit="days") if days else None

        def ended() -> None:
            if whole is not None:
                shown.advance(whole)

        with lines_go_to(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)):
            yield lambda stream, day: _pages(shown, stream, day), ended


def _pages(shown: "Progress", stream: Stream, day: date) -> Callable[[Page], None]:
    task: TaskID | None = None

    def tell(page: Page) -> None:
        nonlocal task
        name = f"{stream.partition(day)}  page {page.number}/{page.of}"
        if task is None:
            task = shown.add_task(name, total=page.announced, unit="rows")
        shown.update(task, description=name, total=page.announced, advance=page.rows)
        if page.number >= page.of:
            shown.remove_task(task)
            task = None

    return tell
