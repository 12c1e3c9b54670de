-- Userpilot surveys modules with names and types of our own; no joins, no filters, nothing dropped.
-- grain:  one row per question of a survey
-- key:    survey_id, question_id
-- late:   no; what vanished stays, marked as no longer current
select
    ---------- as sent
    parent_id as survey_id,
    ordinal,
    id as question_id,
    "order" as vendor_order,
    type as question_type,
    question as question_text,

    ---------- since when, until when
    _first_seen as first_seen_at,
    _last_seen as last_seen_at,
    _current as is_current,

    ---------- when
    _day as landed_day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at
from {{ landed('userpilot', 'surveys_modules') }}
