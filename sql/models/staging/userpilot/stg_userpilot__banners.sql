-- Userpilot banners with names and types of our own; no joins, no filters, nothing dropped.
-- grain:  one row per banner
-- key:    banner_id
-- late:   no; what vanished stays, marked as no longer current
select
    ---------- as sent
    id as banner_id,
    title,

    ---------- since when, until when
    _first_seen as first_seen_at,
    _last_seen as last_seen_at,
    _current as is_current,

    ---------- when
    _day as landed_day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at
from {{ landed('userpilot', 'banners') }}
