-- One day of a user, in either vendor or both, or of a visitor in OpenPanel.
-- grain:  one row per audience, member and UTC day
-- key:    audience, member_id, day
-- late:   yes; a landed day replaces its rows here
{{ config(meta={'landed': ['openpanel.events', 'userpilot.events']}) }}

select
    audience,
    member_id,
    day,
    sum(events)::bigint as events,
    now() as built_at
from (
    select
        'users' as audience,
        user_id as member_id,
        day,
        events
    from {{ ref('int_openpanel__user_days') }}
    where {{ days_to_build() }}
    union all
    select
        'users' as audience,
        user_id as member_id,
        day,
        active_events as events
    from {{ ref('int_userpilot__user_days') }}
    where active_events > 0 and {{ days_to_build() }}
    union all
    select
        'visitors' as audience,
        visitor_id as member_id,
        day,
        count(*) as events
    from {{ ref('stg_openpanel__events') }}
    where visitor_id is not null and {{ days_to_build() }}
    group by visitor_id, day
) as together
group by audience, member_id, day
