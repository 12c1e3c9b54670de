-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.sessions with our names; every row and column is kept.
-- grain:  one row per session, as the server keeps it
-- key:    session_id
-- late:   yes; the numbers of a day change until its sessions have closed
select
    ---------- as sent
    id as session_id,
    project_id,
    profile_id,
    device_id,
    "groups" as group_ids,
    created_at as started_at,
    ended_at,
    is_bounce,
    entry_origin,
    entry_path,
    exit_origin,
    exit_path,
    screen_view_count as page_views,
    revenue as revenue_cents,
    event_count as other_events,
    duration as duration_ms,
    country,
    region,
    city,
    longitude,
    latitude,
    device as device_type,
    brand,
    model,
    browser,
    browser_version,
    os,
    os_version,
    utm_medium,
    utm_source,
    utm_campaign,
    utm_content,
    utm_term,
    referrer,
    referrer_name,
    referrer_type,
    sign as vendor_sign,
    version as vendor_version,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at
from {{ landed('openpanel', 'sessions') }}
