-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.charts with our names; every row and column is kept.
-- grain:  one row per point of a configured chart's series and partition
-- key:    project_id, chart_name, series_name, breakdowns, landed_day, local_starts_at, starts_at
-- late:   yes; the numbers of a day change until its sessions have closed
select
    ---------- as sent
    project_id,
    chart as chart_name,
    series as series_name,
    breakdowns,
    date as local_starts_at,
    starts_at,
    value as series_value,
    previous_value,
    previous_diff as previous_difference_percent,
    previous_state,
    metrics as series_metrics,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as landed_day
from {{ landed('openpanel', 'charts') }}
