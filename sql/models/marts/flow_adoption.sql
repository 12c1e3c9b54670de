-- How people reacted to flows, checklists, surveys, banners and spotlights, with their current titles.
-- grain:  one row per UTC day, kind of content and content
-- key:    day, content_type, content_id
-- late:   yes; built whole from days, so a new title applies to every day

{%- set listed = [
    ('experience', 'flows', 'flow_id', 'title'),
    ('checklist', 'checklists', 'checklist_id', 'coalesce(title, display_name)'),
    ('checklist', 'checklists', 'checklist_key', 'coalesce(title, display_name)'),
    ('survey', 'surveys', 'survey_id', 'title'),
    ('banner', 'banners', 'banner_id', 'title'),
    ('embed', 'embeds', 'embed_id', 'title'),
    ('spotlight', 'spotlights', 'spotlight_id', 'title'),
    ('resource_center', 'resource_center_modules', 'module_id', 'coalesce(title, display_name)'),
    ('resource_center', 'resource_center_modules', 'module_key', 'coalesce(title, display_name)'),
] %}

with

titles as (
    select
        content_type,
        content_id,
        arg_max(title, row(is_current, last_seen_at, title)) as title
    from (
        {% for content_type, table, id, title in listed %}
            select
                '{{ content_type }}' as content_type,
                {{ id }} as content_id,
                {{ title }} as title,
                is_current,
                last_seen_at
            from {{ ref('stg_userpilot__' ~ table) }}
            {{ "union all" if not loop.last }}
        {% endfor %}
    ) as listed
    where content_id is not null and title is not null
    group by content_type, content_id
)

select
    shown.day,
    -- The vendor's events say `experience` for what its web app calls a flow.
    case shown.content_type when 'experience' then 'flow' else shown.content_type end as content_type,
    shown.content_id,
    coalesce(titles.title, shown.content_id) as title,
    shown.interactions,
    shown.users,
    shown.companies,
    shown.times_seen,
    shown.users_seen,
    shown.times_completed,
    shown.users_completed,
    shown.times_dismissed,
    shown.users_dismissed,
    {{ percent('shown.users_completed', 'shown.users') }} as completed_percent,
    {{ percent('shown.users_dismissed', 'shown.users') }} as dismissed_percent,
    shown.built_at
from {{ ref('int_userpilot__content_days') }} as shown
left join titles
    on
        shown.content_type = titles.content_type
        -- Ids of the resource centre begin with their kind, such as module:5.
        and split_part(shown.content_id, ':', -1) = titles.content_id
