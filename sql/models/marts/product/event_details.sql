-- OpenPanel events with their session and the person behind them. A view: it is current whenever the others are, and a
-- day costs nothing to build; name the days that you read.
-- grain:  one row per event
-- key:    event_id
-- late:   yes; computed when it is read
{{ config(materialized='view') }}

select
    happened.event_id,
    happened.event_name,
    happened.project_id,
    happened.occurred_at,
    happened.day,
    happened.path,
    happened.origin,
    happened.country_code,
    happened.device_type,
    happened.revenue_cents,
    happened.properties,

    ---------- the session
    happened.session_id,
    visits.started_at as session_started_at,
    visits.channel as session_channel,
    coalesce(visits.utm_source, visits.referrer_name, visits.referrer) as session_source,
    visits.entry_path as session_entry_path,
    visits.page_views as session_page_views,
    visits.is_bounce as session_is_bounce,

    ---------- who
    happened.visitor_id,
    happened.user_id,
    people.person_id,
    people.company_id,
    people.first_seen_at as person_first_seen_at
from {{ ref('stg_openpanel__events') }} as happened
left join {{ ref('sessions') }} as visits on happened.session_id = visits.session_id
left join {{ ref('people') }} as people on happened.user_id = people.openpanel_user_id
