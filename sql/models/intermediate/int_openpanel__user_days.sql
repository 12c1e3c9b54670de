-- One day of an identified person in OpenPanel.
-- grain:  one row per user and UTC day
-- key:    user_id, day
-- late:   yes; a landed day replaces its rows here
{{ config(meta={'landed': ['openpanel.events'], 'split_by': 'user_id'}) }}

select
    user_id,
    day,
    count(*) as events,
    count(distinct session_id) as sessions,
    min(occurred_at) as first_at,
    max(occurred_at) as last_at,
    sum(revenue_cents)::bigint as revenue_cents,
    list_sort(array_agg(distinct device_id) filter (where device_id is not null)) as device_ids,
    arg_max(profile, row(occurred_at, event_id)) filter (where profile is not null) as profile,
    arg_max(group_ids, row(occurred_at, event_id)) filter (where len(group_ids) > 0) as group_ids,
    now() as built_at
from {{ ref('stg_openpanel__events') }}
where user_id is not null and {{ days_to_build() }}
group by user_id, day
