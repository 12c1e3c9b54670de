-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.funnels with our names; every row and column is kept.
-- grain:  one row per step of a configured funnel and day
-- key:    project_id, funnel_name, day, step_number
-- late:   yes; the numbers of a day change until its sessions have closed
select
    ---------- as sent
    project_id,
    funnel as funnel_name,
    date as metric_date,
    step as step_number,
    days,
    event_name,
    users as entrants,
    conversion_rate_from_start as conversion_percent,
    dropoff_percent,
    is_highest_dropoff,
    total_users as entrants_at_start,
    completed_users as entrants_at_end,
    overall_conversion_rate as overall_conversion_percent,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as landed_day
from {{ landed('openpanel', 'funnels') }}
