-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.groups with our names; every row and column is kept.
-- grain:  one row per group that was ever listed
-- key:    group_id
-- late:   no; an item that the vendor no longer lists stays, with is_current false
select
    ---------- as sent
    id as group_id,
    project_id,
    type as group_type,
    name as group_name,
    properties,
    created_at,
    updated_at,

    ---------- since when, until when
    _first_seen as first_seen_at,
    _last_seen as last_seen_at,
    _current as is_current,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at
from {{ landed('openpanel', 'groups') }}
