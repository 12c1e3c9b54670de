-- Sessions, computed from events by OpenPanel's own rules. Their numbers agree with OpenPanel's overview.
-- grain:  one row per session
-- key:    session_id
-- late:   yes; a session is computed again when any of its days is landed again, also the part before or after midnight
{{ config(
    materialized='by_day', tags='by_day',
    meta={'landed': ['openpanel.events'], 'built_by': 'session', 'split_by': 'session_id'}
) }}

with

parts as (
    select
        *,
        -- The vendor's marks, session_start and session_end, count only if the session has no other event.
        not is_mark or bool_and(is_mark) over (partition by session_id) as counts
    from {{ ref('int_openpanel__session_days') }}
    where {{ days_to_build() }} {{ of_sessions_to_build() }}
),

whole as (
    select
        session_id,
        count(*) as part_count,
        min(day) as first_day,
        max(day) as last_day,
        bool_or(is_import) as is_imported,
        sum(events) filter (where counts)::bigint as events,
        sum(page_views) filter (where counts)::bigint as page_views,
        sum(page_views_with_path) filter (where counts)::bigint as page_views_with_path,
        sum(revenue_cents) filter (where counts)::bigint as revenue_cents,
        arg_min(first_event, day) filter (where counts) as entry,
        arg_max(last_event, day) filter (where counts) as leave,
        arg_min(first_path, day) filter (where counts and first_path is not null) as first_path,
        arg_min(first_origin, day) filter (where counts and first_origin is not null) as first_origin,
        arg_max(last_path, day) filter (where counts and last_path is not null) as last_path,
        arg_max(last_origin, day) filter (where counts and last_origin is not null) as last_origin,
        arg_max(last_user_id, day) filter (where counts and last_user_id is not null) as last_user_id,
        flatten(array_agg(user_ids) filter (where counts and user_ids is not null)) as user_ids,
        flatten(array_agg(group_ids) filter (where counts and group_ids is not null)) as group_ids,
        -- The marks of an import date its session and name its person.
        min(first_event.at) filter (where counts or is_import) as started_at,
        max(last_event.at) filter (where counts or is_import) as ended_at,
        arg_min(first_known.user_id, row(first_known.at, is_mark)) filter (
            where (counts or is_import) and first_known is not null
        ) as first_user_id
    from parts
    group by session_id
),

-- The vendor keeps a session of an import by rules of its own; docs/models.md lists both.
kept as (
    select
        *,
        if(is_imported, first_user_id, last_user_id) as user_id,
        if(
            is_imported,
            page_views,
            page_views_with_path + (entry.is_page_view and entry.path is null)::integer
        ) as kept_page_views,
        if(is_imported, entry.path, first_path) as entry_path,
        if(is_imported, entry.origin, first_origin) as entry_origin,
        if(is_imported, leave.path, last_path) as exit_path,
        if(is_imported, leave.origin, last_origin) as exit_origin
    from whole
)

select
    session_id,
    entry.project_id as project_id,
    user_id,
    coalesce(user_id, entry.profile_id) as visitor_id,
    (started_at at time zone 'UTC')::date as day,
    (started_at at time zone '{{ openpanel_timezone() }}')::date as local_day,
    started_at,
    ended_at,
    -- From the first to the last event, also of an import. A decimal, so that sums do not depend on the order of rows.
    (date_diff('millisecond', entry.at, leave.at) / 1000)::decimal(18, 3) as duration_seconds,
    events,
    kept_page_views as page_views,
    kept_page_views <= 1 as is_bounce,
    revenue_cents,
    entry_path,
    entry_origin,
    exit_path,
    exit_origin,
    {{ channel(
        'entry.utm_medium', 'entry.utm_source', 'entry.utm_campaign',
        'entry.referrer', 'entry.referrer_name', 'entry.referrer_type'
    ) }} as channel,
    entry.referrer as referrer,
    entry.referrer_name as referrer_name,
    entry.referrer_type as referrer_type,
    entry.utm_source as utm_source,
    entry.utm_medium as utm_medium,
    entry.utm_campaign as utm_campaign,
    entry.country_code as country_code,
    entry.region as region,
    entry.city as city,
    entry.device_type as device_type,
    entry.os as os,
    entry.browser as browser,
    list_sort(list_distinct(group_ids)) as company_ids,
    is_imported,
    list_sort(
        list_distinct(
            if(is_imported, [coalesce(user_id, entry.profile_id)], list_concat([entry.profile_id], user_ids))
        )
    ) as visitor_ids,
    part_count,
    first_day,
    last_day,
    now() as built_at
from kept
