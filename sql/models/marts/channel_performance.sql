-- Where sessions came from, and what they were worth.
-- grain:  one row per UTC day on which sessions began, channel, source, medium and campaign
-- key:    day, channel, source, medium, campaign
-- late:   yes; a landed day replaces its rows, and those of other days of its sessions
{{ config(materialized='by_day', tags='by_day', meta={
    'landed': ['openpanel.events'], 'of_sessions': true
}) }}

select
    day,
    channel,
    coalesce(utm_source, referrer_name, referrer, '(none)') as source,
    coalesce(utm_medium, '(none)') as medium,
    coalesce(utm_campaign, '(none)') as campaign,
    count(*) as sessions,
    count(distinct visitor_id) as visitors,
    count(distinct user_id) as users,
    sum(page_views)::bigint as page_views,
    count(*) filter (where is_bounce) as bounces,
    {{ percent('count(*) filter (where is_bounce)', 'count(*)') }} as bounce_percent,
    round(avg(duration_seconds) filter (where duration_seconds > 0), 3) as average_session_seconds,
    sum(revenue_cents)::bigint as revenue_cents,
    now() as built_at
from {{ ref('sessions') }}
where {{ days_to_build() }}
group by 1, 2, 3, 4, 5
