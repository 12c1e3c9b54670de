-- One day of a session. The mart `sessions` combines these rows, so it need not read the events of other days.
-- grain:  one row per session, UTC day and kind (the vendor's session_start and session_end, or other events)
-- key:    session_id, day, is_mark
-- late:   yes; a landed day replaces its rows here
{{ config(meta={'landed': ['openpanel.events']}) }}

with

events as (
    select
        *,
        event_name in ('session_start', 'session_end') as is_mark,
        event_name = '{{ var("page_view_event") }}' as is_page_view
    from {{ ref('stg_openpanel__events') }}
    where session_id is not null and {{ days_to_build() }}
)

select
    session_id,
    day,
    is_mark,
    count(*) as events,
    count(*) filter (where is_page_view) as page_views,
    sum(revenue_cents)::bigint as revenue_cents,
    -- Events of the same millisecond are ordered by id.
    arg_min(
        {
            'at': occurred_at,
            'event_id': event_id,
            'project_id': project_id,
            'profile_id': profile_id,
            'path': path,
            'origin': origin,
            'referrer': referrer,
            'referrer_name': referrer_name,
            'referrer_type': referrer_type,
            'utm_source': utm_source,
            'utm_medium': utm_medium,
            'utm_campaign': utm_campaign,
            'country_code': country_code,
            'region': region,
            'city': city,
            'device_type': device_type,
            'os': os,
            'browser': browser,
            'group_ids': group_ids
        },
        row(occurred_at, event_id)
    ) as first_event,
    arg_max(
        {
            'at': occurred_at,
            'event_id': event_id,
            'path': path,
            'origin': origin
        },
        row(occurred_at, event_id)
    ) as last_event,
    arg_min(
        {
            'at': occurred_at,
            'event_id': event_id,
            'user_id': user_id
        },
        row(occurred_at, event_id)
    ) filter (where user_id is not null) as first_known,
    now() as built_at
from events
group by session_id, day, is_mark
