-- Every account: OpenPanel's groups and Userpilot's companies, one by id.
-- grain:  one row per company
-- key:    company_id
-- late:   yes; built whole, from days, so any landed day may change any row
{{ config(materialized='table') }}

with

days as (
    select
        company_id,
        day,
        first_at,
        last_at,
        events as openpanel_events,
        0 as userpilot_events,
        revenue_cents,
        user_id as openpanel_user_id,
        null as userpilot_user_id,
        null::struct("at" timestamptz, "text" varchar) as company_name,
        null::struct("at" timestamptz, "text" varchar) as company_plan
    from {{ ref('int_openpanel__company_days') }}
    union all
    select
        company_id,
        day,
        first_at,
        last_at,
        0 as openpanel_events,
        events as userpilot_events,
        0 as revenue_cents,
        null as openpanel_user_id,
        user_id as userpilot_user_id,
        company_name,
        company_plan
    from {{ ref('int_userpilot__company_days') }}
)

select
    days.company_id,
    (max(days.company_name) filter (where days.company_name is not null))['text'] as company_name,
    (max(days.company_plan) filter (where days.company_plan is not null))['text'] as plan,
    count(distinct people.person_id) as people,
    count(distinct days.day) as active_days,
    min(days.first_at) as first_seen_at,
    max(days.last_at) as last_seen_at,
    sum(days.openpanel_events)::bigint as openpanel_events,
    sum(days.userpilot_events)::bigint as userpilot_events,
    sum(days.revenue_cents)::bigint as revenue_cents
from days
left join {{ ref('people') }} as people
    on days.openpanel_user_id = people.openpanel_user_id or days.userpilot_user_id = people.userpilot_user_id
group by days.company_id
