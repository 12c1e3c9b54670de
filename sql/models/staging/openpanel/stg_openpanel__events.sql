-- OpenPanel events with our names; every row and column is kept.
-- grain:  one row per event
-- key:    event_id
-- late:   yes; a phone that was offline sends the events of earlier days later
{{ config(tags='by_day') }}

select
    ---------- ids
    id as event_id,
    name as event_name,
    project_id,
    nullif(session_id, '') as session_id,
    nullif(device_id, '') as device_id,
    nullif(profile_id, '') as profile_id,
    nullif(nullif(profile_id, ''), device_id) as user_id,
    coalesce(nullif(device_id, ''), nullif(profile_id, '')) as visitor_id,
    "groups" as group_ids,

    ---------- when, UTC
    created_at as occurred_at,
    _day as day,
    imported_at,

    ---------- where on the site, and from where
    nullif(path, '') as path,
    nullif(origin, '') as origin,
    nullif(referrer, '') as referrer,
    nullif(referrer_name, '') as referrer_name,
    nullif(referrer_type, '') as referrer_type,
    nullif(coalesce(properties ->> '__query.utm_source', properties ->> '$.__query.utm_source'), '') as utm_source,
    nullif(coalesce(properties ->> '__query.utm_medium', properties ->> '$.__query.utm_medium'), '') as utm_medium,
    nullif(
        coalesce(properties ->> '__query.utm_campaign', properties ->> '$.__query.utm_campaign'), ''
    ) as utm_campaign,
    nullif(coalesce(properties ->> '__query.utm_term', properties ->> '$.__query.utm_term'), '') as utm_term,
    nullif(coalesce(properties ->> '__query.utm_content', properties ->> '$.__query.utm_content'), '') as utm_content,

    ---------- place and device
    country as country_code,
    nullif(region, '') as region,
    nullif(city, '') as city,
    longitude,
    latitude,
    nullif(os, '') as os,
    nullif(os_version, '') as os_version,
    nullif(browser, '') as browser,
    nullif(browser_version, '') as browser_version,
    nullif(device, '') as device_type,
    nullif(brand, '') as brand,
    nullif(model, '') as model,

    ---------- what
    coalesce(revenue, 0) as revenue_cents,
    duration as duration_ms,
    properties,
    profile,
    meta as event_meta,
    nullif(sdk_name, '') as sdk_name,
    nullif(sdk_version, '') as sdk_version,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as event_day
from {{ landed('openpanel', 'events') }}
