-- How many people were active on a day, identified or not, in both vendors together.
-- grain:  one row per UTC day that has an event
-- key:    day
-- late:   yes; a landed day replaces its row
{{ config(materialized='by_day', tags='by_day', meta={
    'landed': ['openpanel.events', 'userpilot.events']
}) }}

with

openpanel as (
    select
        day,
        visitor_id,
        user_id,
        unnest(case when len(group_ids) > 0 then group_ids else [null] end) as company_id,
        event_id
    from {{ ref('stg_openpanel__events') }}
    where {{ days_to_build() }}
),

userpilot as (
    select
        day,
        user_id,
        company_id
    from {{ ref('stg_userpilot__events') }}
    where
        -- Identify events describe a person or company. They are not activity.
        event_type not in ('identify_user', 'identify_company')
        and {{ days_to_build() }}
),

together as (
    select
        day,
        visitor_id,
        user_id as openpanel_user_id,
        null as userpilot_user_id,
        user_id,
        company_id,
        event_id,
        false as in_userpilot
    from openpanel
    union all
    select
        day,
        null as visitor_id,
        null as openpanel_user_id,
        user_id as userpilot_user_id,
        user_id,
        company_id,
        null as event_id,
        true as in_userpilot
    from userpilot
)

select
    day,
    count(distinct visitor_id) as visitors,
    count(distinct user_id) as users,
    count(distinct openpanel_user_id) as openpanel_users,
    count(distinct userpilot_user_id) as userpilot_users,
    count(distinct company_id) as companies,
    count(distinct event_id) as openpanel_events,
    count(*) filter (where in_userpilot) as userpilot_events,
    now() as built_at
from together
group by day
