-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.insights_breakdowns with our names; every row and column is kept.
-- grain:  one row per value, dimension and day
-- key:    project_id, day, dimension, parent_value, dimension_value
-- late:   yes; the numbers of a day change until its sessions have closed
select
    ---------- as sent
    project_id,
    date as metric_date,
    dimension,
    "prefix" as parent_value,
    name as dimension_value,
    sessions,
    pageviews as page_views,
    revenue as revenue_cents,
    bounce_rate as bounce_percent,
    avg_session_duration as average_session_seconds,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as landed_day
from {{ landed('openpanel', 'insights_breakdowns') }}
