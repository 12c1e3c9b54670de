-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.insights_pages with our names; every row and column is kept.
-- grain:  one row per page and day
-- key:    project_id, day, origin, path
-- late:   yes; the numbers of a day change until its sessions have closed
select
    ---------- as sent
    project_id,
    date as metric_date,
    origin,
    path,
    title,
    sessions,
    pageviews as page_views,
    revenue as revenue_cents,
    bounce_rate as bounce_percent,
    avg_duration as average_seconds_on_page,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as landed_day
from {{ landed('openpanel', 'insights_pages') }}
