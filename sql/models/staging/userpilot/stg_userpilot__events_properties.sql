-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- userpilot.events_properties with our names; every row and column is kept.
-- grain:  one row per property of events
-- key:    property_id
-- late:   no; an item that the vendor no longer lists stays, with is_current false
select
    ---------- as sent
    id as property_id,
    key as property_key,
    display_name,
    data_type,
    category,
    description as property_description,
    "event" as property_event,
    inserted_at as first_known_at_text,
    last_seen as last_used_at_text,
    is_archived,
    is_auto_property,
    is_mobile_auto_property,

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
from {{ landed('userpilot', 'events_properties') }}
