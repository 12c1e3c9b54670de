-- Days on which the number of landed events differs from that in the marts. With min_date and max_date, only those
-- days.
{{ config(meta={'dagster': {'ref': {'name': 'daily_active'}}}) }}

with

events as (
    select
        day,
        count(distinct event_id) as openpanel_events
    from {{ ref('stg_openpanel__events') }}
    group by day
)

select
    day,
    events.openpanel_events as landed,
    counted.openpanel_events as counted
from events
full join {{ ref('daily_active') }} as counted using (day)
where
    coalesce(events.openpanel_events, 0) is distinct from coalesce(counted.openpanel_events, 0)
    {% if var('min_date', none) and var('max_date', none) %}
        and day between date '{{ var("min_date") }}' and date '{{ var("max_date") }}'
    {% endif %}
