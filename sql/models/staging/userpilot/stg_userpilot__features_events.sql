-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- userpilot.features_events with our names; every row and column is kept.
-- grain:  one row per tracked feature or event
-- key:    feature_id
-- late:   no; an item that the vendor no longer lists stays, with is_current false
select
    ---------- as sent
    id as feature_id,
    key as feature_key,
    display_name,
    data_type,

    ---------- since when, until when
    _first_seen as first_seen_at,
    _last_seen as last_seen_at,
    _current as is_current,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as landed_day
from {{ landed('userpilot', 'features_events') }}
