-- OpenPanel insights breakdowns with names and types of our own; no joins, no filters, nothing dropped.
-- grain:  one row per value, dimension and day
-- key:    project_id, metric_date, dimension, parent_value, dimension_value
-- late:   yes; numbers of a day move until its sessions have closed
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
    _day as landed_day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at
from {{ landed('openpanel', 'insights_breakdowns') }}
