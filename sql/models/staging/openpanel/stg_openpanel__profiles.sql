-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.profiles with our names; every row and column is kept.
-- grain:  one row per profile, known or anonymous, that was ever listed
-- key:    profile_id
-- late:   no; an item that the vendor no longer lists stays, with is_current false
select
    ---------- as sent
    id as profile_id,
    project_id,
    first_name,
    last_name,
    email,
    avatar,
    properties,
    is_external,
    created_at,
    last_seen_at as last_active_at,
    "groups" as group_ids,

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
from {{ landed('openpanel', 'profiles') }}
