"""Which tables of the catalogue a code location lands: those of its report config, or those that it names."""

from collections.abc import Collection, Sequence
from pathlib import Path

from connector.catalogue.openpanel import DIMENSIONS
from connector.catalogue.userpilot import STREAMS as USERPILOT
from connector.errors import SettingsError
from connector.openpanel.reports.config import Questions, streams
from connector.settings import Environment, environment
from connector.stream import Stream


def chosen(catalogue: Sequence[Stream], names: Collection[str]) -> list[Stream]:
    """The streams of these names, in the catalogue's order; without names, those that are landed by default.

    Raises:
        SettingsError: there is no such stream.
    """
    known, names = [stream.name for stream in catalogue], [names] if isinstance(names, str) else names
    if unknown := sorted(set(names) - set(known)):
        raise SettingsError("tables", f"has {unknown[0]!r}", next_step=f"use {', '.join(known)}.")
    return [stream for stream in catalogue if (stream.name in names if names else stream.by_default)]


def questions_of(questions: Questions | Path | None, env: Environment) -> Questions:
    """The report config that was given, or that of OPENPANEL_REPORTS."""
    if questions is None:
        return Questions.from_environment(env, dimensions=DIMENSIONS)
    return questions if isinstance(questions, Questions) else Questions.load(questions, dimensions=DIMENSIONS)


def landed_streams(questions: Questions | Path | None = None, tables: Collection[str] = ()) -> list[Stream]:
    """What is landed of both vendors, for the models.

    Args:
        questions: see :func:`build_definitions`.
        tables: OpenPanel's, see :func:`openpanel_definitions`.
    """
    return [*chosen(streams(questions_of(questions, environment())), tables), *USERPILOT]
