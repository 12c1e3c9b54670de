-- How many were active on a day, in the 7 and in the 28 days that end with it, and how sticky the product is.
-- grain:  one row per audience and UTC day on which some of it were active
-- key:    audience, day
-- late:   yes; a landed day replaces its row and those of the 27 days after it
{{ config(materialized='by_day', tags='by_day', meta={
    'landed': ['openpanel.events', 'userpilot.events'], 'memory_days': 27
}) }}

with

-- A day counts for the 28 days that begin with it, but no longer than to the member's next day.
active as (
    select
        audience,
        member_id,
        day,
        lead(day) over (partition by audience, member_id order by day) as next_day
    from {{ ref('int_activity_days') }}
    where {{ days_to_build(behind=27) }}
),

steps as (
    select
        audience,
        day,
        1 as daily,
        1 as weekly,
        1 as monthly
    from active
    union all
    select
        audience,
        day + 1 as day,
        -1 as daily,
        0 as weekly,
        0 as monthly
    from active
    union all
    select
        audience,
        least(day + 7, next_day) as day,
        0 as daily,
        -1 as weekly,
        0 as monthly
    from active
    union all
    select
        audience,
        least(day + 28, next_day) as day,
        0 as daily,
        0 as weekly,
        -1 as monthly
    from active
),

changes as (
    select
        audience,
        day,
        sum(daily) as daily,
        sum(weekly) as weekly,
        sum(monthly) as monthly
    from steps
    group by audience, day
),

counted as (
    select
        audience,
        day,
        (sum(daily) over in_order)::bigint as daily_active,
        (sum(weekly) over in_order)::bigint as weekly_active,
        (sum(monthly) over in_order)::bigint as monthly_active
    from changes
    window in_order as (partition by audience order by day)
)

select
    audience,
    day,
    daily_active,
    weekly_active,
    monthly_active,
    {{ percent('daily_active', 'monthly_active') }} as stickiness_percent,
    now() as built_at
from counted
where daily_active > 0 and {{ days_to_build() }}
