-- Days on which the number of landed events differs from that in the marts; in a build, of the days that it built.
{{ config(meta={'dagster': {'ref': {'name': 'daily_active'}}}) }}

with

-- Not count(distinct): over years it wants all ids in memory, where these rows go to a temporary folder.
distinct_events as (
    select distinct
        day,
        event_id
    from {{ ref('stg_openpanel__events') }}
    where {{ is_built(ref('daily_active')) }}
),

events as (
    select
        day,
        count(*) as openpanel_events
    from distinct_events
    group by day
),

counted as (
    select
        day,
        openpanel_events
    from {{ ref('daily_active') }}
    where {{ is_built(ref('daily_active')) }}
)

select
    day,
    events.openpanel_events as landed,
    counted.openpanel_events as counted
from events
full join counted using (day)
where coalesce(events.openpanel_events, 0) is distinct from coalesce(counted.openpanel_events, 0)
