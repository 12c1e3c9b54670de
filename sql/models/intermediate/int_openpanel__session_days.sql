-- One day of a session. The mart `sessions` combines these rows, so it need not read the events of other days.
-- grain:  one row per session, UTC day and kind (the vendor's session_start and session_end, or other events)
-- key:    session_id, day, is_mark
-- late:   yes; a landed day replaces its rows here
{{ config(meta={'landed': ['openpanel.events'], 'split_by': 'session_id'}) }}

with

events as (
    select
        *,
        event_name in ('session_start', 'session_end') as is_mark,
        event_name = '{{ var("page_view_event") }}' as is_page_view,
        -- The vendor adds session_start and session_end to the events of an import under this name.
        coalesce(sdk_name = 'import-session-reconstruction', false) as is_import
    from {{ ref('stg_openpanel__events') }}
    where session_id is not null and {{ days_to_build() }}
)

select
    session_id,
    day,
    is_mark,
    -- Finds the other days of a session: a number is read faster than an id.
    any_value({{ session_key('session_id') }}) as session_key,
    bool_or(is_import) as is_import,
    count(*) as events,
    count(*) filter (where is_page_view) as page_views,
    count(*) filter (where is_page_view and path is not null) as page_views_with_path,
    sum(revenue_cents)::bigint as revenue_cents,
    -- Events of the same millisecond are ordered by id.
    arg_min(
        {
            'at': occurred_at,
            'project_id': project_id,
            'profile_id': profile_id,
            'is_page_view': is_page_view,
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
            'browser': browser
        },
        row(occurred_at, event_id)
    ) as first_event,
    arg_max(
        {
            'at': occurred_at,
            'path': path,
            'origin': origin
        },
        row(occurred_at, event_id)
    ) as last_event,
    arg_min(
        {
            'at': occurred_at,
            'user_id': user_id
        },
        row(occurred_at, event_id)
    ) filter (where user_id is not null) as first_known,
    arg_max(user_id, row(occurred_at, event_id)) filter (where user_id is not null) as last_user_id,
    list_sort(array_agg(distinct user_id) filter (where user_id is not null)) as user_ids,
    arg_min(path, row(occurred_at, event_id)) filter (where path is not null) as first_path,
    arg_min(origin, row(occurred_at, event_id)) filter (where origin is not null) as first_origin,
    arg_max(path, row(occurred_at, event_id)) filter (where path is not null) as last_path,
    arg_max(origin, row(occurred_at, event_id)) filter (where origin is not null) as last_origin,
    list_sort(list_distinct(flatten(array_agg(group_ids) filter (where group_ids is not null)))) as group_ids,
    now() as built_at
from events
group by session_id, day, is_mark
-- Keys in a row take half the space, and each build reads those of all days.
order by session_key
