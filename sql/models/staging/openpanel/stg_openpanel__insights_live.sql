-- OpenPanel insights live with names and types of our own; no joins, no filters, nothing dropped.
-- grain:  one row per sample
-- key:    project_id, sampled_at
-- late:   no; a sample cannot be taken again
select
    ---------- as sent
    project_id,
    sampled_at,
    visitors,

    ---------- when
    _day as sampled_day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at
from {{ landed('openpanel', 'insights_live') }}
