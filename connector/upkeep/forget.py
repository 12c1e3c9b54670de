"""Removes people from everything that is stored: tables, waiting files, spools and the journals of Track."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from connector.catalogue.openpanel import STREAMS as OPENPANEL
from connector.catalogue.userpilot import STREAMS as USERPILOT
from connector.errors import SettingsError
from connector.openpanel.track.journal import forget_keys
from connector.privacy.forget import Removed, instances, remove_people
from connector.privacy.policy import Privacy
from connector.spool import sweep
from connector.stream import Stream
from connector.userpilot.exports.files import remove_export_files
from connector.warehouse.connection import Warehouse


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was removed, or in a dry run would be.

    Attributes:
        tables: one entry for every table that was searched.
        elsewhere: the number of waiting exports, of spools of dead runs, and of rows noted as sent.
        left_until: until then older snapshots of a lake hold the rows, for those who read them now; from then on
            maintenance removes them. None if nothing is left.
    """

    tables: tuple[Removed, ...]
    elsewhere: Mapping[str, int]
    left_until: datetime | None = None


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
    """Remove people from every table, file and journal, and leave them out of later landings.

    Args:
        profile_ids: people in OpenPanel. user_ids: people in Userpilot.
        instance: only this instance's tables; all if None.
        devices: also remove anonymous events of the devices that these people used.
        privacy: the rules; with a key, people are also searched by the hash of their id.
        dry_run: count, and change nothing.

    Raises:
        SettingsError: no person is named, an id is empty, or the instance has no table.
        BusyError: another process kept the warehouse, an export or an outbox locked.
    """
    wanted = [(OPENPANEL, _ids(profile_ids)), (USERPILOT, _ids(user_ids))]
    ids = [one for _, those in wanted for one in those]
    if not ids:
        raise SettingsError("--profile-id", "and --user-id are both missing", next_step="name the person.")
    hashed = privacy.hashed if privacy else None
    tables = [(stream, those) for streams, those in wanted if those for stream in streams if _names_people(stream)]
    people = _of_instance([(s, those) for stream, those in tables for s in instances(warehouse, stream)], instance)
    # Tables first: then a landing of waiting files that runs meanwhile leaves these people out.
    removed = remove_people(warehouse, people, hashed=hashed, devices=devices, dry_run=dry_run)
    known = [*ids, *(form for one in ids if hashed and (form := hashed(one)))]
    elsewhere = {
        "waiting exports": len(remove_export_files(spool_dir, dry_run=dry_run)) if user_ids else 0,
        "left spools": 0 if dry_run else len(sweep(spool_dir)),
        "rows noted as sent back": forget_keys(warehouse, spool_dir / "outbox", known, dry_run=dry_run),
    }
    return Forgotten(tables=tuple(removed), elsewhere=elsewhere, left_until=None if dry_run else warehouse.settle())


def _names_people(stream: Stream) -> bool:
    return any(column.identifies == "person" for column in stream.columns)


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
