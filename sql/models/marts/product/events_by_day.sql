-- How often each event happened, and by how many.
-- grain:  one row per UTC day, vendor, kind of event and event
-- key:    day, vendor, event_type, event_name
-- late:   yes; a landed day replaces its rows
{{ config(materialized='by_day', tags='by_day', meta={
    'landed': ['openpanel.events', 'userpilot.events']
}) }}

with

openpanel as (
    select
        day,
        'openpanel' as vendor,
        'event' as event_type,
        event_name,
        visitor_id,
        user_id,
        session_id,
        group_ids as company_ids,
        revenue_cents
    from {{ ref('stg_openpanel__events') }}
    where {{ days_to_build() }}
),

userpilot as (
    select
        day,
        'userpilot' as vendor,
        event_type,
        coalesce(event_name, '(none)') as event_name,
        null as visitor_id,
        user_id,
        null as session_id,
        case when company_id is not null then [company_id] end as company_ids,
        0 as revenue_cents
    from {{ ref('stg_userpilot__events') }}
    where {{ days_to_build() }}
),

together as (
    select * from openpanel
    union all
    select * from userpilot
)

select
    day,
    vendor,
    event_type,
    event_name,
    count(*) as events,
    count(distinct visitor_id) as visitors,
    count(distinct user_id) as users,
    count(distinct session_id) as sessions,
    len(list_distinct(flatten(array_agg(company_ids) filter (where company_ids is not null)))) as companies,
    sum(revenue_cents)::bigint as revenue_cents,
    now() as built_at
from together
group by day, vendor, event_type, event_name
