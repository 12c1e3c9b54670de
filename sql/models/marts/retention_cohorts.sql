-- Of the people whose first activity was in a week, how many were active in each later week.
-- grain:  one row per week of first activity (Monday) and week since
-- key:    cohort_week, weeks_since
-- late:   yes; built whole, because one late event can move a person into an earlier cohort

with

-- A number takes less memory than an id, and each person is counted once for each week. In the order of ids it is the
-- same one however often it is computed.
members as (
    select
        (row_number() over (order by person_id))::integer as person,
        openpanel_user_id,
        userpilot_user_id
    from {{ ref('people') }}
),

person_weeks as (
    select
        members.person,
        date_trunc('week', active.day)::date as week
    from {{ ref('int_openpanel__user_days') }} as active
    inner join members on active.user_id = members.openpanel_user_id
    union all
    select
        members.person,
        date_trunc('week', active.day)::date as week
    from {{ ref('int_userpilot__user_days') }} as active
    inner join members on active.user_id = members.userpilot_user_id
    where active.active_events > 0
),

cohorts as (
    select
        person,
        min(week) as cohort_week
    from person_weeks
    group by person
),

sizes as (
    select
        cohort_week,
        count(*) as people
    from cohorts
    group by cohort_week
),

active as (
    select
        cohorts.cohort_week,
        person_weeks.week,
        count(distinct person_weeks.person) as active_people
    from cohorts
    inner join person_weeks on cohorts.person = person_weeks.person
    group by cohorts.cohort_week, person_weeks.week
),

-- All weeks up to the newest one, also those without active people.
weeks as (
    select
        cohort_week,
        people,
        unnest(generate_series(
            cohort_week::timestamp,
            (select max(person_weeks.week) from person_weeks)::timestamp,
            interval 7 days
        ))::date as week
    from sizes
)

select
    weeks.cohort_week,
    date_diff('day', weeks.cohort_week, weeks.week) // 7 as weeks_since,
    weeks.people,
    coalesce(active.active_people, 0) as active_people,
    {{ percent('coalesce(active.active_people, 0)', 'weeks.people') }} as retained_percent
from weeks
left join active on weeks.cohort_week = active.cohort_week and weeks.week = active.week
