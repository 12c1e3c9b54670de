-- Every account. An OpenPanel group and a Userpilot company with the same id are one company.
-- grain:  one row per company
-- key:    company_id
-- late:   yes; built whole from days, because any landed day may change any row

with

days as (
    select
        seen.company_id,
        seen.day,
        seen.first_at,
        seen.last_at,
        seen.events as openpanel_events,
        0 as userpilot_events,
        seen.revenue_cents,
        people.person_id,
        null::struct("at" timestamptz, "text" varchar) as company_name,
        null::struct("at" timestamptz, "text" varchar) as company_plan
    from {{ ref('int_openpanel__company_days') }} as seen
    left join {{ ref('people') }} as people on seen.user_id = people.openpanel_user_id
    union all
    select
        seen.company_id,
        seen.day,
        seen.first_at,
        seen.last_at,
        0 as openpanel_events,
        seen.events as userpilot_events,
        0 as revenue_cents,
        people.person_id,
        seen.company_name,
        seen.company_plan
    from {{ ref('int_userpilot__company_days') }} as seen
    left join {{ ref('people') }} as people on seen.user_id = people.userpilot_user_id
)

select
    company_id,
    (max(company_name) filter (where company_name is not null))['text'] as company_name,
    (max(company_plan) filter (where company_plan is not null))['text'] as plan,
    count(distinct person_id) as people,
    count(distinct day) as active_days,
    min(first_at) as first_seen_at,
    max(last_at) as last_seen_at,
    sum(openpanel_events)::bigint as openpanel_events,
    sum(userpilot_events)::bigint as userpilot_events,
    sum(revenue_cents)::bigint as revenue_cents
from days
group by company_id
