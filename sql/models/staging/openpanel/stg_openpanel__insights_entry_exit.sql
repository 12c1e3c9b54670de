-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.insights_entry_exit with our names; every row and column is kept.
-- grain:  one row per page, mode (entry or exit) and day
-- key:    project_id, day, mode, origin, path
-- late:   yes; the numbers of a day change until its sessions have closed
select
    ---------- as sent
    project_id,
    date as metric_date,
    mode,
    origin,
    path,
    sessions,
    pageviews as page_views,
    revenue as revenue_cents,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at
from {{ landed('openpanel', 'insights_entry_exit') }}
