-- One day of a company and its people in Userpilot.
-- grain:  one row per company, user (empty where no person is known) and UTC day
-- key:    company_id, user_id, day
-- late:   yes; a landed day replaces its rows here
{{ config(meta={'landed': ['userpilot.events']}) }}

{%- set name = "(metadata ->> '" ~ var('userpilot_company_name_property') ~ "')" %}
{%- set plan = "(metadata ->> '" ~ var('userpilot_company_plan_property') ~ "')" %}

select
    company_id,
    coalesce(user_id, '') as user_id,
    day,
    count(*) as events,
    min(occurred_at) as first_at,
    max(occurred_at) as last_at,
    max(struct_pack(at := occurred_at, text := {{ name }})) filter (
        where event_type = 'identify_company' and {{ name }} <> ''
    ) as company_name,
    max(struct_pack(at := occurred_at, text := {{ plan }})) filter (
        where event_type = 'identify_company' and {{ plan }} <> ''
    ) as company_plan,
    now() as built_at
from {{ ref('stg_userpilot__events') }}
where company_id is not null and {{ days_to_build() }}
group by company_id, coalesce(user_id, ''), day
