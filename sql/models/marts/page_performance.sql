-- How often each page was seen on a day, and how many sessions began or ended there.
-- grain:  one row per UTC day, origin and path
-- key:    day, origin, path
-- late:   yes; a landed day replaces its rows, and those of other days of its sessions
{{ config(materialized='by_day', tags='by_day', meta={
    'landed': ['openpanel.events'], 'of_sessions': true
}) }}

with

events as (
    select
        day,
        coalesce(origin, '') as origin,
        path,
        session_id,
        visitor_id,
        event_name = '{{ var("page_view_event") }}' as is_page_view,
        -- A decimal, so that averages do not depend on the order of rows.
        (
            date_diff('millisecond', occurred_at, lead(occurred_at) over in_session) / 1000
        )::decimal(18, 3) as seconds_on_page
    from {{ ref('stg_openpanel__events') }}
    where event_name not in ('session_start', 'session_end') and {{ days_to_build() }}
    window in_session as (
        partition by day, coalesce(session_id, event_id)
        order by occurred_at, event_id
    )
),

visits as (
    select *
    from {{ ref('sessions') }}
    where {{ days_to_build() }}
),

seen as (
    select
        day,
        origin,
        path,
        count(*) as page_views,
        count(distinct session_id) as sessions,
        count(distinct visitor_id) as visitors,
        avg(seconds_on_page) as average_seconds_on_page
    from events
    where is_page_view and path is not null
    group by day, origin, path
),

entered as (
    select
        day,
        coalesce(entry_origin, '') as origin,
        entry_path as path,
        count(*) as entries,
        count(*) filter (where is_bounce) as bounces
    from visits
    where entry_path is not null
    group by all
),

-- An exit counts on the day its session began, like everything else of a session.
left_from as (
    select
        day,
        coalesce(exit_origin, '') as origin,
        exit_path as path,
        count(*) as exits
    from visits
    where exit_path is not null
    group by all
)

select
    day,
    origin,
    path,
    coalesce(seen.page_views, 0) as page_views,
    coalesce(seen.sessions, 0) as sessions,
    coalesce(seen.visitors, 0) as visitors,
    round(seen.average_seconds_on_page, 3) as average_seconds_on_page,
    coalesce(entered.entries, 0) as entries,
    coalesce(left_from.exits, 0) as exits,
    coalesce(entered.bounces, 0) as bounces,
    {{ percent('entered.bounces', 'entered.entries') }} as bounce_percent,
    now() as built_at
from seen
full join entered using (day, origin, path)
full join left_from using (day, origin, path)
