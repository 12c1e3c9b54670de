-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.insights_metrics with our names; every row and column is kept.
-- grain:  one row per project and day
-- key:    project_id, day
-- late:   yes; the numbers of a day change until its sessions have closed
select
    ---------- as sent
    project_id,
    date as metric_date,
    unique_visitors as visitors,
    total_sessions as sessions,
    total_screen_views as page_views,
    views_per_session as page_views_per_session,
    bounce_rate as bounce_percent,
    avg_session_duration as average_session_seconds,
    total_revenue as revenue_cents,
    series as hours,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as landed_day
from {{ landed('openpanel', 'insights_metrics') }}
