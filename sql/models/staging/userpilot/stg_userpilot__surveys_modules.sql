-- Made by `python -m connector.sources`; a test compares it with the catalogue.
-- userpilot.surveys_modules with our names; every row and column is kept.
-- grain:  one row per question of a survey
-- key:    survey_id, question_id
-- late:   no; an item that the vendor no longer lists stays, with is_current false
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
    _day as day,

    ---------- bookkeeping
    _extra as extra,
    _load_id as load_id,
    _landed_at as landed_at,

    ---------- earlier names, kept for existing readers
    _day as landed_day
from {{ landed('userpilot', 'surveys_modules') }}
