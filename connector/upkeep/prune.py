"""Removes what is not needed any more: files of dead runs, and old receipts that no row and no check needs.

Some things stay at any age: files of a running process, journals with outcomes that are not in the tables yet, the
newest receipts of every day, and every receipt whose landing still has rows.
"""

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from connector.spool import sweep
from connector.system.files import locked
from connector.userpilot.exports.files import prune_export_files
from connector.warehouse.connection import Connection, MissingTableError, Warehouse, retry_conflicts
from connector.warehouse.coverage import of_loads
from connector.warehouse.sql import literal, quoted

# The vendor forgets an export after three days. Files that were not landed by then need a new export.
FILES_DAYS = 4.0
RECEIPTS_DAYS = 400.0
# What a build of models leaves: its own manifest, compiled SQL and log, some megabytes each.
BUILDS_DAYS = 4.0


@dataclass(frozen=True)
class Pruned:
    """What was removed, and how many of it."""

    what: str
    count: int


def prune(
    warehouse: Warehouse,
    spool_dir: Path,
    *,
    files_days: float = FILES_DAYS,
    receipts_days: float = RECEIPTS_DAYS,
    dry_run: bool = False,
) -> list[Pruned]:
    """Remove files of dead runs, export files that were never landed, and old receipts that are not needed.

    Args:
        files_days: age after which export files that were not landed are removed.
        receipts_days: age after which receipts are removed if no row refers to them.
        dry_run: count, and remove nothing.

    Raises:
        BusyError: another process kept the warehouse locked.
    """
    exports = prune_export_files(spool_dir, older_than=files_days * 86_400, dry_run=dry_run)
    return [
        *prune_files(spool_dir, older_than_days=files_days, dry_run=dry_run),
        Pruned("files of exports that were not landed", len(exports)),
        *prune_receipts(warehouse, older_than_days=receipts_days, dry_run=dry_run),
    ]


def prune_builds(target: Path, *, older_than_days: float = BUILDS_DAYS, dry_run: bool = False) -> Pruned:
    """Remove what dagster-dbt left of old builds in a dbt project's ``target`` folder; the prepared manifest stays.

    Args:
        target: the folder; it may be missing.
        older_than_days: age of a build's folder.
    """
    limit, gone = time.time() - older_than_days * 86_400, 0
    for folder in target.glob("models_*-*-*"):
        with suppress(OSError):
            if folder.is_dir() and not folder.is_symlink() and folder.stat().st_mtime < limit:
                gone += 1
                if not dry_run:
                    shutil.rmtree(folder)
    return Pruned("folders of old builds of models", gone)


def prune_files(spool_dir: Path, *, older_than_days: float = FILES_DAYS, dry_run: bool = False) -> list[Pruned]:
    """Remove spools of dead runs, and empty journals and lock files, from a spool folder.

    Args:
        older_than_days: age of journals and lock files. A dead run's spool is removed at any age.
    """
    limit = time.time() - older_than_days * 86_400
    spools = sweep(spool_dir, dry_run=dry_run)
    empty = 0
    for path in (*spool_dir.glob("outbox/*.journal"), *spool_dir.glob("outbox/*.lock")):
        with suppress(OSError):
            if path.stat().st_mtime < limit and path.stat().st_size == 0:
                empty += _remove_unlocked(path, path.with_suffix(".lock"), dry_run=dry_run)
    return [Pruned("spools of dead runs", len(spools)), Pruned("empty journals and locks", empty)]


def prune_receipts(
    warehouse: Warehouse, *, older_than_days: float = RECEIPTS_DAYS, dry_run: bool = False, now: datetime | None = None
) -> list[Pruned]:
    """Remove old receipts, exports and counts from schema ``connector``, in one transaction.

    A receipt stays if it is among a day's newest (the last landing, and the last failure if that came later), or if
    rows of its landing are still in the table.

    Raises:
        BusyError: another process kept the warehouse locked.
    """
    limit = (now or datetime.now(UTC)) - timedelta(days=older_than_days)
    if not warehouse.exists():
        return []
    if not dry_run:
        warehouse.sweep()
    return retry_conflicts(lambda: _prune_receipts(warehouse, limit, dry_run=dry_run))


def _prune_receipts(warehouse: Warehouse, limit: datetime, *, dry_run: bool) -> list[Pruned]:
    with warehouse.read() if dry_run else warehouse.transaction() as connection:
        made = {
            name
            for (name,) in connection.execute(
                "select table_name from duckdb_tables() "
                "where schema_name = 'connector' and database_name = current_database()"
            ).fetchall()
        }
        if "landings" not in made:
            return []
        listed = f"(select unnest({literal(_unreferenced(connection, limit))}::varchar[]))"
        counts = [_delete(connection, "landings", f"load_id || ' ' || day in {listed}", dry_run)]
        if "export_jobs" in made:
            gone = (
                f"landed_at < {literal(limit)} and load_id not in (select load_id from connector.landings "
                f"where load_id || ' ' || day not in {listed})"
            )
            counts.append(_delete(connection, "export_jobs", gone, dry_run))
        # A count is not needed any more after a later landing.
        newer = (
            "select 1 from connector.landings as l where l.table_name = probes.table_name and l.day = probes.day "
            "and l.status = 'landed' and l.landed_at > probes.asked_at"
        )
        counts.append(_delete(connection, "probes", f"asked_at < {literal(limit)} and exists ({newer})", dry_run))
    return counts


def _unreferenced(connection: Connection, limit: datetime) -> list[str]:
    """Old receipts (load id and day) that are not a day's newest and have no rows."""
    rows = connection.execute(
        f"select table_name, load_id, day from (from connector.landings select *, "
        "row_number() over (partition by table_name, day order by landed_at desc, load_id) as last_of_any, "
        "row_number() over (partition by table_name, day, status order by landed_at desc, load_id) as last_of_kind) "
        f"where landed_at < {literal(limit)} and last_of_any > 1 and not (status = 'landed' and last_of_kind = 1)"
    ).fetchall()
    by_table: dict[str, list[tuple[str, date]]] = {}
    for table, load_id, day in rows:
        by_table.setdefault(table, []).append((load_id, day))
    found: list[str] = []
    for table, receipts in by_table.items():
        try:
            living = _with_rows(connection, table, receipts)
        except MissingTableError:  # the table was dropped or renamed: nothing refers to its receipts
            living = set()
        found += [f"{load_id} {day}" for load_id, day in receipts if (load_id, day) not in living]
    return found


def _with_rows(connection: Connection, table: str, receipts: Sequence[tuple[str, date]]) -> set[tuple[str, date]]:
    """Those of these receipts (load id and day) of whose landing rows are left."""
    name = ".".join(quoted(part) for part in table.split(".", 1))
    rows = connection.execute(
        f"select distinct _load_id from {name} where {of_loads(connection, table, receipts)}"
    ).fetchall()
    living = {load_id for (load_id,) in rows}
    return {receipt for receipt in receipts if receipt[0] in living}


def _delete(connection: Connection, table: str, condition: str, dry_run: bool) -> Pruned:
    verb = "select count(*)" if dry_run else "delete"
    row = connection.execute(f"{verb} from connector.{table} where {condition}").fetchone()
    return Pruned(f"connector.{table}", int(row[0]) if row else 0)


def _remove_unlocked(path: Path, lock_file: Path, *, dry_run: bool) -> int:
    try:
        with locked(lock_file):
            if not dry_run:
                path.unlink(missing_ok=True)
    except TimeoutError:
        return 0
    return 1
