"""Exported records that came twice: one of each is kept."""

import itertools
from collections.abc import Mapping
from datetime import date

from connector.landing.transaction import Work
from connector.records.fit import canonical
from connector.warehouse.sql import literal, quoted


def drop_equal(work: Work, received: Mapping[date, int], in_range: str) -> dict[date, int]:
    """Of records equal in every field keep one; how many were dropped, by day.

    Equal keys with other contents are two events.

    Args:
        received: rows of each day.
        in_range: SQL, a row is of these days.
    """
    columns = ", ".join([*(quoted(c.name) for c in work.stream.columns), "_extra"])
    plain = ", ".join(quoted(c.name) for c in work.stream.columns if c.type != "JSON")
    rows = work.db.execute(
        f"select _day, count(*) from (select distinct _day, hash({plain}) from {work.table} "
        f"where {in_range}) "
        "group by 1"
    ).fetchall()
    dropped: dict[date, int] = {}
    for day, distinct in sorted(rows):
        if distinct == received[day]:
            continue
        of_day = f"from {work.table} where _day = {literal(day)}"
        # Hashes only point at candidates; what decides is every field.
        candidates = f"{of_day} and hash({plain}) in (select hash({plain}) {of_day} group by 1 having count(*) > 1)"
        (count,) = work.row(
            f"delete from {work.table} where rowid in (select rowid from (select rowid, "
            f"row_number() over (partition by {columns} order by rowid) as turn {candidates}) where turn > 1)"
        )
        dropped[day] = int(count) + _drop_alike(work, candidates, plain)
    return dropped


def _drop_alike(work: Work, candidates: str, plain: str) -> int:
    """Records whose JSON says the same in another order; few are left to be read, so they are read here."""
    documents = [quoted(c.name) for c in work.stream.columns if c.type == "JSON"]
    found = work.db.execute(
        f"select rowid, min(rowid) over (partition by {plain}) as first, "
        f"{', '.join(f'{name}::varchar' for name in [*documents, '_extra'])} {candidates} order by first, rowid"
    )
    rows = itertools.chain.from_iterable(iter(lambda: found.fetchmany(10_000), []))
    again: list[int] = []
    for _, group in itertools.groupby(rows, key=lambda row: row[1]):
        seen: set[tuple[str | None, ...]] = set()
        for place, _, *said in group:
            what = tuple(None if text is None else canonical(text) for text in said)
            if what in seen:
                again.append(place)
            seen.add(what)
    if again:
        work.row(f"delete from {work.table} where rowid in (select unnest({literal(again)}))")
    return len(again)
