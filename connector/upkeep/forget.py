"""Removes people from everything that is kept: tables, waiting files, spools and the journals of Track."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from connector.catalogue.openpanel import EVENTS
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.errors import SettingsError
from connector.openpanel.track.journal import forget as forget_sent
from connector.privacy.forget import Removed, instances, remove_people
from connector.privacy.policy import Privacy
from connector.spool import sweep
from connector.stream import Stream
from connector.userpilot.exports.files import remove_files
from connector.warehouse.connection import Warehouse


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was removed, or would be.

    Attributes:
        tables: an entry for every table that was looked at.
        elsewhere: how many waiting exports, spools of dead runs and rows noted as sent back.
    """

    tables: tuple[Removed, ...]
    elsewhere: Mapping[str, int]


def forget(
    warehouse: Warehouse,
    spool_dir: Path,
    *,
    profile_ids: Sequence[str] = (),
    user_ids: Sequence[str] = (),
    instance: str | None = None,
    devices: bool = True,
    privacy: Privacy | None = None,
    dry_run: bool = False,
) -> Forgotten:
    """Remove people from every table, file and journal, and remember to leave them out of later landings.

    Args:
        profile_ids: people in OpenPanel. user_ids: people in Userpilot.
        instance: only this instance's tables; all if None.
        devices: also remove anonymous events of the devices that the people were seen on.
        privacy: the rules in force; where a column is hashed, people are looked for by their hash as well.
        dry_run: count, and change nothing.

    Raises:
        SettingsError: no person was named, an id is empty, or there is no table of that instance.
        BusyError: another process kept the warehouse, an export or an outbox to itself.
    """
    wanted = [(EVENTS, _ids(profile_ids)), (EXPORTED, _ids(user_ids))]
    ids = [one for _, those in wanted for one in those]
    if not ids:
        raise SettingsError("--profile-id", "and --user-id are both missing", next_step="name the person.")
    hashed = privacy.hashed if privacy else None
    people = _of_instance([(s, those) for one, those in wanted if those for s in instances(warehouse, one)], instance)
    # Tables first: a landing of waiting files that runs meanwhile leaves the people out.
    tables = remove_people(warehouse, people, hashed=hashed, devices=devices, dry_run=dry_run)
    known = [*ids, *(form for one in ids if hashed and (form := hashed(one)))]
    return Forgotten(
        tables=tuple(tables),
        elsewhere={
            "waiting exports": len(remove_files(spool_dir, dry_run=dry_run)) if user_ids else 0,
            "left spools": 0 if dry_run else len(sweep(spool_dir)),
            "rows noted as sent back": forget_sent(warehouse, spool_dir / "outbox", known, dry_run=dry_run),
        },
    )


def _ids(given: Sequence[str]) -> list[str]:
    if not all(one.strip() for one in given):
        raise SettingsError("--profile-id or --user-id", "is empty", next_step="an empty id names no person; give one.")
    return list(dict.fromkeys(one.strip() for one in given))


def _of_instance(found: Sequence[tuple[Stream, list[str]]], instance: str | None) -> list[tuple[Stream, list[str]]]:
    people = [(stream, those) for stream, those in found if instance in (None, stream.instance)]
    if instance is not None and not people:
        names = sorted({repr(stream.instance) for stream, _ in found})
        raise SettingsError(
            "--instance",
            f"is {instance!r}, of which there is no table",
            next_step=f"use one of {', '.join(names) or 'none (nothing was landed)'}, or leave it out for all.",
        )
    return people
