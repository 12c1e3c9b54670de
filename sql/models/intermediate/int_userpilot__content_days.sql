-- How people reacted on one day to the flows, checklists, surveys, banners and spotlights they were shown.
-- grain:  one row per type, content and UTC day
-- key:    content_type, content_id, day
-- late:   yes; a landed day replaces its rows here
{{ config(meta={'landed': ['userpilot.events']}) }}

select
    content_type,
    content_id,
    day,
    count(*) as interactions,
    count(distinct user_id) as users,
    count(distinct company_id) as companies,
    {%- for status in ('seen', 'completed', 'dismissed') %}
        count(*) filter (where lower(content_status) = '{{ status }}') as times_{{ status }},
        count(distinct user_id) filter (where lower(content_status) = '{{ status }}') as users_{{ status }},
    {%- endfor %}
    now() as built_at
from {{ ref('stg_userpilot__events') }}
where content_type is not null and {{ days_to_build() }}
group by content_type, content_id, day
