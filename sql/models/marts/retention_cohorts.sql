-- Of the people whose first activity was in a week, how many were active in each later week.
-- grain:  one row per week of first activity (Monday) and week since
-- key:    cohort_week, weeks_since
-- late:   yes; built whole, because one late event can move a person into an earlier cohort

with

person_days as (
    select
        people.person_id,
        active.day
    from {{ ref('int_openpanel__user_days') }} as active
    inner join {{ ref('people') }} as people on active.user_id = people.openpanel_user_id
    union
    select
        people.person_id,
        active.day
    from {{ ref('int_userpilot__user_days') }} as active
    inner join {{ ref('people') }} as people on active.user_id = people.userpilot_user_id
    where active.active_events > 0
),

person_weeks as (
    select distinct
        person_id,
        date_trunc('week', day)::date as week
    from person_days
),

cohorts as (
    select
        person_id,
        min(week) as cohort_week
    from person_weeks
    group by person_id
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
        count(*) as active_people
    from cohorts
    inner join person_weeks on cohorts.person_id = person_weeks.person_id
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
