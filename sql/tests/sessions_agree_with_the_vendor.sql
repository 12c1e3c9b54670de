-- Days on which our sessions are not those of OpenPanel's own overview, both landed.
-- A warning, not an error: the vendor's numbers of a day move until its sessions have closed, and both are landed at
-- different moments. A day that stays here wants landing again, or the variable openpanel_timezone is not the
-- organization's.
{{ config(severity='warn') }}

with

ours as (
    select
        project_id,
        local_day,
        count(*) as sessions,
        sum(page_views) as page_views
    from {{ ref('sessions') }}
    group by project_id, local_day
),

-- A local day is complete here when the UTC days it touches are landed.
landed as (
    select
        min(event_day) as first_day,
        max(event_day) as last_day
    from {{ ref('stg_openpanel__events') }}
)

select
    vendors.project_id,
    vendors.metric_date,
    vendors.sessions as sessions_of_the_vendor,
    ours.sessions,
    vendors.page_views as page_views_of_the_vendor,
    ours.page_views
from {{ ref('stg_openpanel__insights_metrics') }} as vendors
cross join landed
left join ours on vendors.project_id = ours.project_id and vendors.metric_date = ours.local_day
where
    vendors.metric_date between landed.first_day + {{ 0 if var('openpanel_timezone') == 'UTC' else 1 }}
    and landed.last_day - {{ 0 if var('openpanel_timezone') == 'UTC' else 1 }}
    and (
        vendors.sessions is distinct from coalesce(ours.sessions, 0)
        or vendors.page_views is distinct from coalesce(ours.page_views, 0)
    )
