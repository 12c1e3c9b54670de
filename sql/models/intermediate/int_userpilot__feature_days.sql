-- The use of a tracked feature or event on one day. The mart adds the names, because a new name applies to all days.
-- grain:  one row per kind, feature and UTC day
-- key:    feature_kind, feature_key, day
-- late:   yes; a landed day replaces its rows here
{{ config(meta={'landed': ['userpilot.events']}) }}

with

events as (
    select *
    from {{ ref('stg_userpilot__events') }}
    where {{ days_to_build() }}
),

active as (
    select
        day,
        count(distinct user_id) as active_users
    from events
    where event_type not in ('identify_user', 'identify_company')
    group by day
)

select
    case events.event_type when 'track_feature' then 'feature' else 'event' end as feature_kind,
    events.event_name as feature_key,
    events.day,
    count(*) as uses,
    count(distinct events.user_id) as users,
    count(distinct events.company_id) as companies,
    any_value(active.active_users) as active_users,
    now() as built_at
from events
inner join active on events.day = active.day
where events.event_type in ('track_feature', 'track') and events.event_name is not null
group by events.event_type, events.event_name, events.day
