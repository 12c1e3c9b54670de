-- Our sessions beside the numbers of OpenPanel's own overview, by day. They are equal once both are landed and the
-- day's sessions have closed. If a day stays different, land it again, and check that OPENPANEL_TIMEZONE is the
-- organization's timezone.
-- grain:  one row per project and local day of which the vendor's numbers and all events are landed
-- key:    project_id, local_day
-- late:   yes; built whole

with

ours as (
    select
        project_id,
        local_day,
        count(*) as sessions,
        count(distinct visitor_id) as visitors,
        sum(page_views)::bigint as page_views,
        {{ percent('count(*) filter (where is_bounce)', 'count(*)') }} as bounce_percent,
        round(avg(duration_seconds) filter (where duration_seconds > 0), 2) as average_session_seconds,
        sum(revenue_cents)::bigint as revenue_cents
    from {{ ref('sessions') }}
    group by project_id, local_day
),

-- A day of another timezone spans two UTC days, so the first and the last landed day do not give a whole one.
landed as (
    select
        min(day) + {{ 0 if openpanel_timezone() == 'UTC' else 1 }} as first_day,
        max(day) - {{ 0 if openpanel_timezone() == 'UTC' else 1 }} as last_day
    from {{ ref('daily_active') }}
    where openpanel_events > 0
)

select
    vendors.project_id,
    vendors.day as local_day,
    coalesce(ours.sessions, 0) as sessions,
    vendors.sessions as vendor_sessions,
    coalesce(ours.visitors, 0) as visitors,
    vendors.visitors as vendor_visitors,
    coalesce(ours.page_views, 0) as page_views,
    vendors.page_views as vendor_page_views,
    ours.bounce_percent,
    vendors.bounce_percent as vendor_bounce_percent,
    ours.average_session_seconds,
    round(vendors.average_session_seconds, 2) as vendor_average_session_seconds,
    coalesce(ours.revenue_cents, 0) as revenue_cents,
    vendors.revenue_cents::bigint as vendor_revenue_cents
from {{ ref('stg_openpanel__insights_metrics') }} as vendors
inner join landed on vendors.day between landed.first_day and landed.last_day
left join ours on vendors.project_id = ours.project_id and vendors.day = ours.local_day
