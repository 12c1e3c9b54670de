-- One day of the organization, counted from its sessions as OpenPanel's overview counts it.
-- grain:  one row per project and local day on which a session began
-- key:    project_id, day
-- late:   yes; a landed day replaces its rows, those of other days of its sessions, and local days that it touches
{# A local day of another timezone lies on two UTC days. Which timezone it is, is known later than this. #}
{{ config(meta={'landed': ['openpanel.events'], 'of_sessions': true, 'reach_days': 1, 'memory_days': 1}) }}

with

visits as (
    select *
    from {{ ref('sessions') }}
    where {{ days_to_build(ahead=1, behind=1) }} and {{ days_to_build('local_day') }}
),

-- The vendor keeps a new version of a session with every event. Until its store has merged the versions, it also counts
-- the visitors of earlier ones.
versions as (
    select
        project_id,
        local_day,
        unnest(visitor_ids) as visitor_id
    from visits
),

unmerged as (
    select
        project_id,
        local_day,
        count(distinct visitor_id) as visitors
    from versions
    group by project_id, local_day
),

counted as (
    select
        project_id,
        local_day,
        count(*) as sessions,
        count(distinct visitor_id) as visitors,
        sum(page_views)::bigint as page_views,
        {{ percent('count(*) filter (where is_bounce)', 'count(*)') }} as bounce_percent,
        round(avg(duration_seconds) filter (where duration_seconds > 0), 2) as average_session_seconds,
        sum(revenue_cents)::bigint as revenue_cents
    from visits
    group by project_id, local_day
)

select
    counted.project_id,
    counted.local_day as day,
    counted.sessions,
    counted.visitors,
    coalesce(unmerged.visitors, 0) as unmerged_visitors,
    counted.page_views,
    counted.bounce_percent,
    counted.average_session_seconds,
    counted.revenue_cents,
    now() as built_at
from counted
left join unmerged on counted.project_id = unmerged.project_id and counted.local_day = unmerged.local_day
