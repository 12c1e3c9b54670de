-- Userpilot events with our names; every row and column is kept.
-- grain:  one row per exported event
-- key:    none that is proven: records that differ in metadata alone are both real
-- late:   yes; imports can be back-dated without limit
{{ config(tags='by_day') }}

select
    ---------- ids
    app_token as environment_id,
    event_type,
    nullif(event_name, '') as event_name,
    nullif(user_id, '') as user_id,
    nullif(company_id, '') as company_id,
    "session" as session_number,
    internal_event_id as vendor_event_id,

    ---------- when, UTC
    inserted_at as occurred_at,
    _day as day,

    ---------- what a person did with what the product showed: type:id:status, split at the first and the last colon
    case
        when event_type = 'interaction' and event_name like '%:%:%' then split_part(event_name, ':', 1)
    end as content_type,
    case
        when event_type = 'interaction' and event_name like '%:%:%'
            then array_to_string(string_split(event_name, ':')[2:-2], ':')
    end as content_id,
    case
        when event_type = 'interaction' and event_name like '%:%:%' then split_part(event_name, ':', -1)
    end as content_status,

    ---------- where
    nullif(source, '') as source,
    nullif(hostname, '') as hostname,
    nullif(pathname, '') as path,
    nullif(country_code, '') as country_code,

    ---------- device
    lower(nullif(device_type, '')) as device_type,
    nullif(operating_system, '') as os,
    nullif(browser, '') as browser,
    nullif(browser_language, '') as browser_language,
    nullif(user_agent, '') as user_agent,
    nullif(screen_width, 0) as screen_width_px,
    nullif(screen_height, 0) as screen_height_px,

    ---------- what
    metadata,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as event_day
from {{ landed('userpilot', 'events') }}
