"""What a lake needs done to it: old snapshots, files of dead writers, many small files, rows of forgotten people.

A reader looks at one snapshot for as long as it reads; PostgreSQL, but not SQLite, keeps that snapshot whole for it. So
nothing is removed that was current within ``keep``: what counts is not when a snapshot was made, but when the next one
took its place. DuckLake's own ``merge_adjacent_files`` and ``checkpoint`` are never used: they show a SQLite reader an
empty table without an error.

Everything here runs under the lock of all writers.
"""

from datetime import UTC, datetime, timedelta

from connector.warehouse.kind import Connection, Done, Remark, Writing
from connector.warehouse.sql import literal, quoted, text

LAKE = "'warehouse'"
# A file that no snapshot names may belong to a writer that has not committed yet. None takes so long.
ORPHANS_AFTER = timedelta(days=1)
# A table of so many files, and not more bytes than that, is written anew as few.
MANY_FILES = 40
SMALL_TABLE = 64 * 2**20
# With more snapshots than these, some of them so old, the lake is not maintained.
MANY_SNAPSHOTS = 40
OLD_SNAPSHOTS = timedelta(days=3)


def maintained(writing: Writing, keep: timedelta, now: datetime | None = None) -> list[Done]:
    """Do all of it, and say how much each was."""
    now = now or datetime.now(UTC)
    db = writing.connection
    merged = _merge_small_files(writing)
    rewritten = _rewrite(db)
    expired = _expire(db, now - keep)
    return [
        Done("tables of many small files", merged),
        Done("files with deleted rows", rewritten),
        Done("old snapshots", expired),
        # Only an expired snapshot has named them, and no reader is left that could look at one.
        Done("files of old snapshots", _count(db, f"call ducklake_cleanup_old_files({LAKE}, cleanup_all => true)")),
        Done("files of dead writers", _orphans(db, now - ORPHANS_AFTER if keep else now)),
    ]


def settled(writing: Writing, keep: timedelta, now: datetime | None = None) -> datetime | None:
    """Rewrite files that hold deleted rows; from when on no snapshot and no dead writer's file holds these rows.

    None if that is so already.
    """
    db, now = writing.connection, now or datetime.now(UTC)
    _rewrite(db)
    waits = [timedelta()]
    if _count(db, f"from ducklake_snapshots({LAKE})") > 1:
        waits.append(keep)
    if _orphans(db, now, dry_run=True):
        waits.append(ORPHANS_AFTER)
    return now + max(waits) if len(waits) > 1 else None


def overdue(connection: Connection, now: datetime | None = None) -> Remark:
    """Whether maintenance should have run."""
    now = now or datetime.now(UTC)
    count, oldest = connection.execute(
        f"select count(*), epoch_us(min(snapshot_time)) from ducklake_snapshots({LAKE})"
    ).fetchone() or (0, None)
    (files,) = connection.execute(
        f"select coalesce(sum(file_count + delete_file_count), 0)::bigint from ducklake_table_info({LAKE})"
    ).fetchone() or (0,)
    since = datetime.fromtimestamp(oldest / 1e6, UTC) if oldest else now
    if count > MANY_SNAPSHOTS and now - since > OLD_SNAPSHOTS:
        return Remark(
            "warn",
            f"maintenance is due: {count} snapshots since {since:%Y-%m-%d}, {files} files.",
            "run: connector maintain; and see whether its schedule is switched on and the daemon runs.",
        )
    return Remark("ok", f"maintenance is not due: {count} snapshots, {files} files.")


def _merge_small_files(writing: Writing) -> int:
    """Write small tables of many files anew; how many. To readers that is a landing like any other."""
    db = writing.connection
    crowded = db.execute(
        f"select table_name from ducklake_table_info({LAKE}) "
        f"where file_count >= {MANY_FILES} and file_size_bytes <= {SMALL_TABLE}"
    ).fetchall()
    tables = db.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = current_database() "
        f"and list_contains({literal([name for (name,) in crowded])}, table_name) order by all"
    ).fetchall()
    merged = 0
    for schema, name in tables:
        files = f"ducklake_list_files({LAKE}, {text(name)}, schema => {text(schema)})"
        folders = _count(db, f"select distinct parse_dirpath(data_file) from {files}")
        # Days that are stored apart stay apart: writing them anew would make as many files.
        if _count(db, f"from {files}") >= max(MANY_FILES, 2 * folders):
            table = f"{quoted(schema)}.{quoted(name)}"
            db.execute("begin")
            db.execute(f"create or replace temp table anew as from {table}")
            db.execute(f"delete from {table}")
            db.execute(f"insert into {table} from temp.anew")
            writing.must_hold()
            db.execute("commit")
            db.execute("drop table temp.anew")
            merged += 1
    return merged


def _rewrite(db: Connection) -> int:
    """Write files anew that hold deleted rows; how many. By default DuckLake leaves those with few."""
    return _count(db, f"call ducklake_rewrite_data_files({LAKE}, delete_threshold => 0)")


def _expire(db: Connection, before: datetime) -> int:
    old = db.execute(
        f"select snapshot_id from (select snapshot_id, lead(snapshot_time) over (order by snapshot_id) as until "
        f"from ducklake_snapshots({LAKE})) where until < {literal(before)}"
    ).fetchall()
    if old:
        db.execute(f"call ducklake_expire_snapshots({LAKE}, versions => {literal([number for (number,) in old])})")
    return len(old)


def _orphans(db: Connection, before: datetime, *, dry_run: bool = False) -> int:
    how = f"older_than => {literal(before)}" + (", dry_run => true" if dry_run else "")
    return _count(db, f"call ducklake_delete_orphaned_files({LAKE}, {how})")


def _count(db: Connection, sql: str) -> int:
    return len(db.execute(sql).fetchall())
