-- Our sessions beside the numbers of OpenPanel's own overview, by day. They are equal once both are landed and the
-- day's sessions have closed. The vendor's visitors and average duration also move by themselves; the tolerance below
-- covers that movement only. If a day stays different, land it again, and check that OPENPANEL_TIMEZONE is the
-- organization's timezone.
-- grain:  one row per project and local day of which the vendor's numbers and all events are landed
-- key:    project_id, local_day
-- late:   yes; built whole from days, because the newest landed day decides which days are whole
{% set duration_percent = var('vendor_duration_tolerance_percent') %}
{# Above this number of visitors the vendor estimates, to about one percent. #}
{% set counted_exactly = 65536 %}
{# Both sides round to two decimals. #}
{% set rounding = 0.011 %}

with

-- A day of another timezone spans two UTC days, so the first and the last landed day do not give a whole one.
landed as (
    select
        min(day) + {{ 0 if openpanel_timezone() == 'UTC' else 1 }} as first_day,
        max(day) - {{ 0 if openpanel_timezone() == 'UTC' else 1 }} as last_day
    from {{ ref('daily_active') }}
    where openpanel_events > 0
),

compared as (
    select
        vendors.project_id,
        vendors.day as local_day,
        coalesce(ours.sessions, 0) as sessions,
        vendors.sessions as vendor_sessions,
        coalesce(ours.visitors, 0) as visitors,
        vendors.visitors as vendor_visitors,
        coalesce(ours.unmerged_visitors, 0) as unmerged_visitors,
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
    left join {{ ref('int_openpanel__local_days') }} as ours
        on vendors.project_id = ours.project_id and vendors.day = ours.day
),

-- One row per metric, with the range in which the vendor's number agrees with ours.
metrics as (
    select
        project_id,
        local_day,
        'sessions' as metric,
        vendor_sessions as theirs,
        sessions as lowest,
        sessions as highest,
        sessions as ours
    from compared
    union all
    select
        project_id,
        local_day,
        'visitors' as metric,
        vendor_visitors as theirs,
        floor(visitors * (1 - if(visitors > {{ counted_exactly }}, 0.01, 0))) as lowest,
        ceil(unmerged_visitors * (1 + if(unmerged_visitors > {{ counted_exactly }}, 0.01, 0))) as highest,
        visitors as ours
    from compared
    union all
    select
        project_id,
        local_day,
        'page_views' as metric,
        vendor_page_views as theirs,
        page_views as lowest,
        page_views as highest,
        page_views as ours
    from compared
    union all
    select
        project_id,
        local_day,
        'bounce_percent' as metric,
        vendor_bounce_percent as theirs,
        coalesce(bounce_percent, 0) - {{ rounding }} as lowest,
        coalesce(bounce_percent, 0) + {{ rounding }} as highest,
        coalesce(bounce_percent, 0) as ours
    from compared
    union all
    select
        project_id,
        local_day,
        'average_session_seconds' as metric,
        vendor_average_session_seconds as theirs,
        coalesce(average_session_seconds, 0) * (1 - {{ duration_percent }} / 100) - {{ rounding }} as lowest,
        coalesce(average_session_seconds, 0) * (1 + {{ duration_percent }} / 100) + {{ rounding }} as highest,
        coalesce(average_session_seconds, 0) as ours
    from compared
    union all
    select
        project_id,
        local_day,
        'revenue_cents' as metric,
        vendor_revenue_cents as theirs,
        revenue_cents as lowest,
        revenue_cents as highest,
        revenue_cents as ours
    from compared
),

explained as (
    select
        project_id,
        local_day,
        coalesce(bool_and(theirs between lowest and highest), true) as agrees,
        string_agg(
            metric || if(
                theirs between lowest and highest,
                ' moves at the vendor until its store has merged the versions of a session: tolerated',
                ' differs, and not by the vendor''s own movement: land the day again'
            ),
            '; '
            order by metric
        ) filter (where abs(theirs - ours) > {{ rounding }}) as explanation
    from metrics
    group by project_id, local_day
)

select
    compared.*,
    explained.agrees,
    explained.explanation
from compared
inner join explained on compared.project_id = explained.project_id and compared.local_day = explained.local_day
