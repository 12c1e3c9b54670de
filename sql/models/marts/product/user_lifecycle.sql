-- Who is new, who stays, who comes back and who is lost.
-- grain:  one row per audience and UTC day, from the first to the newest day with activity
-- key:    audience, day
-- late:   yes; a landed day replaces its row and those of the 28 days after it, and of days on which a person no longer
--         is new, or is new now
{{ config(materialized='by_day', tags='by_day', meta={
    'landed': ['openpanel.events', 'userpilot.events'], 'memory_days': 28, 'of_first_days': true
}) }}

with

newest as (
    select max(day) as day
    from {{ ref('int_activity_days') }}
),

-- Every day of the calendar: a person may be lost on a day without activity.
days as (
    select
        begun.audience,
        unnest(generate_series(
            greatest(begun.first_day, {{ first_day() }}),
            least((select newest.day from newest), {{ last_day() }}),
            interval 1 day
        ))::date as day
    from (
        select
            audience,
            min(first_day) as first_day
        from {{ ref('int_first_activity') }}
        group by audience
    ) as begun
),

-- Who was active on a day to build, or is lost on one if not seen since. Most nights build one day, and these are few.
members_of_days as (
    select
        audience,
        member_id
    from {{ ref('int_activity_days') }}
    where
        {{ days_to_build(behind=28) }}
        and (
            day >= {{ first_day() }}
            or day <= least((select newest.day from newest), {{ last_day() }}) - 28
        )
),

active as (
    select
        audience,
        member_id,
        day,
        lag(day) over in_order as previous_day,
        lead(day) over in_order as next_day
    from {{ ref('int_activity_days') }}
    where
        {{ days_to_build(behind=28) }}
        and (audience, member_id) in (
            select (chosen.audience, chosen.member_id) from members_of_days as chosen
        )
    window in_order as (partition by audience, member_id order by day)
),

here as (
    select
        active.audience,
        active.day,
        count(*) as active_members,
        count(*) filter (where members.first_day = active.day) as new_members,
        count(*) filter (where active.previous_day >= active.day - 28) as returning_members
    from active
    inner join days on active.audience = days.audience and active.day = days.day
    inner join {{ ref('int_first_activity') }} as members
        on active.audience = members.audience and active.member_id = members.member_id
    group by active.audience, active.day
),

lost as (
    select
        audience,
        day + 28 as day,
        count(*) as churned_members
    from active
    where next_day is null or next_day > day + 28
    group by audience, day
)

select
    days.audience,
    days.day,
    coalesce(here.active_members, 0) as active_members,
    coalesce(here.new_members, 0) as new_members,
    coalesce(here.returning_members, 0) as returning_members,
    coalesce(here.active_members - here.new_members - here.returning_members, 0) as resurrected_members,
    coalesce(lost.churned_members, 0) as churned_members,
    now() as built_at
from days
left join here on days.audience = here.audience and days.day = here.day
left join lost on days.audience = lost.audience and days.day = lost.day
