"""Compares the landed lists of profiles and groups with the landed events: both tell who and what there is.

Only what is in the warehouse is compared; nothing is asked of the vendor.
"""

from dataclasses import dataclass

from connector.catalogue.openpanel_lists import GROUPS, PROFILES
from connector.stream import Stream
from connector.warehouse.connection import Warehouse
from connector.warehouse.sql import literal, quoted_table

# Events are seen in the export some seconds after their profile is stored, or before; nothing takes this long.
_SETTLED = "interval 15 minutes"


@dataclass(frozen=True)
class Compared:
    """Ids of events against those of a list.

    Attributes:
        seen: ids that events name.
        unlisted: of these, known people or groups that the list lacks. anonymous: devices that it lacks.
        unseen: listed ids that no event names.
    """

    seen: int
    unlisted: int
    anonymous: int
    unseen: int


def compare_with_events(warehouse: Warehouse, listed: Stream, events: Stream) -> Compared | None:
    """Compare what is listed now with the events up to then; None if either table is missing.

    Args:
        listed: ``profiles`` or ``groups`` of the catalogue.
        events: the events of the same instance.
    """
    ids = {
        PROFILES.name: "profile_id as id, profile_id is not distinct from device_id as anonymous",
        GROUPS.name: "unnest(groups) as id, false as anonymous",
    }[listed.name]
    table = quoted_table(listed)
    sql = (
        f"with listed as (select id from {table} where _current), "
        f"seen as (select id, bool_and(anonymous) as anonymous from (select {ids} from {quoted_table(events)} "
        f"where created_at < (select max(_landed_at) from {table}) - {_SETTLED}) "
        "where coalesce(id, '') <> '' group by id) "
        "select count(seen.id), count(seen.id) filter (listed.id is null and not anonymous), "
        "count(seen.id) filter (listed.id is null and anonymous), count(listed.id) filter (seen.id is null) "
        "from seen full join listed using (id)"
    )
    tables = [listed.table, events.table]
    with warehouse.read() as connection:
        there = connection.execute(
            "select count(*) from duckdb_tables() where database_name = current_database() "
            f"and list_contains({literal(tables)}, schema_name || '.' || table_name)"
        ).fetchone()
        row = connection.execute(sql).fetchone() if there == (len(tables),) else None
    return Compared(*row) if row else None
