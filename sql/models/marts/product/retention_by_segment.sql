-- Of the users whose first activity was in a week, how many were active in each later week, by what their first
-- session was like. The variable `retention_segments` names columns of `sessions`.
-- grain:  one row per segment, value, week of first activity (Monday) and week since
-- key:    segment, segment_value, cohort_week, weeks_since
-- late:   yes; built whole from days, because one late event can move a user into an earlier cohort

with

-- As the users of int_activity_days, which would also read the visitors of all days.
member_weeks as (
    select
        user_id as member_id,
        date_trunc('week', day)::date as week
    from {{ ref('int_openpanel__user_days') }}
    union
    select
        user_id as member_id,
        date_trunc('week', day)::date as week
    from {{ ref('int_userpilot__user_days') }}
    where active_events > 0
),

cohorts as (
    select
        member_id,
        min(week) as cohort_week
    from member_weeks
    group by member_id
),

-- Only the columns that are asked for: a window over whole sessions would sort all of them. They also decide between
-- sessions that began at the same moment: the ids of all sessions would be as much as everything else that is read.
first_sessions as (
    select
        user_id,
        min(
            {
                'began': started_at,
                {%- for segment in var('retention_segments') %}
                    '{{ segment }}': {{ segment }}::varchar{{ "," if not loop.last }}
                {%- endfor %}
            }
        ) as first_session
    from {{ ref('sessions') }}
    where user_id is not null
    group by user_id
),

segments as (
    {% for segment in var('retention_segments') %}
        select
            cohorts.member_id,
            cohorts.cohort_week,
            '{{ segment }}' as segment,
            coalesce(first_sessions.first_session['{{ segment }}'], '(none)') as segment_value
        from cohorts
        left join first_sessions on cohorts.member_id = first_sessions.user_id
        {{ "union all" if not loop.last }}
    {% endfor %}
),

sizes as (
    select
        segment,
        segment_value,
        cohort_week,
        count(*) as users
    from segments
    group by segment, segment_value, cohort_week
),

active as (
    select
        segments.segment,
        segments.segment_value,
        segments.cohort_week,
        member_weeks.week,
        count(*) as active_users
    from segments
    inner join member_weeks on segments.member_id = member_weeks.member_id
    group by segments.segment, segments.segment_value, segments.cohort_week, member_weeks.week
),

-- All weeks up to the newest one, also those without active users.
weeks as (
    select
        segment,
        segment_value,
        cohort_week,
        users,
        unnest(generate_series(
            cohort_week::timestamp,
            (select max(member_weeks.week) from member_weeks)::timestamp,
            interval 7 days
        ))::date as week
    from sizes
)

select
    weeks.segment,
    weeks.segment_value,
    weeks.cohort_week,
    date_diff('day', weeks.cohort_week, weeks.week) // 7 as weeks_since,
    weeks.users,
    coalesce(active.active_users, 0) as active_users,
    {{ percent('coalesce(active.active_users, 0)', 'weeks.users') }} as retained_percent
from weeks
left join active
    on
        weeks.segment = active.segment
        and weeks.segment_value = active.segment_value
        and weeks.cohort_week = active.cohort_week
        and weeks.week = active.week
