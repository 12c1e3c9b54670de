-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- openpanel.insights_live with our names; every row and column is kept.
-- grain:  one row per sample
-- key:    project_id, sampled_at
-- late:   no; a sample cannot be taken again
select
    ---------- as sent
    project_id,
    sampled_at,
    visitors,

    ---------- when
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as sampled_day
from {{ landed('openpanel', 'insights_live') }}
