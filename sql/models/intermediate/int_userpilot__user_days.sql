-- One day of a person in Userpilot.
-- grain:  one row per user and UTC day
-- key:    user_id, day
-- late:   yes; a landed day replaces its rows here
{{ config(meta={'landed': ['userpilot.events']}) }}

{%- set email = "(metadata ->> '" ~ var('userpilot_email_property') ~ "')" %}
{%- set name = "(metadata ->> '" ~ var('userpilot_name_property') ~ "')" %}

select
    user_id,
    day,
    count(*) as events,
    -- Identify events describe a person or company. They are not activity.
    count(*) filter (where event_type not in ('identify_user', 'identify_company')) as active_events,
    min(occurred_at) as first_at,
    max(occurred_at) as last_at,
    -- At equal times the greater value wins, so every run gives the same answer.
    arg_max(company_id, row(occurred_at, company_id)) filter (where company_id is not null) as company_id,
    arg_max({{ email }}, row(occurred_at, {{ email }})) filter (
        where event_type = 'identify_user' and {{ email }} <> ''
    ) as email,
    arg_max({{ name }}, row(occurred_at, {{ name }})) filter (
        where event_type = 'identify_user' and {{ name }} <> ''
    ) as full_name,
    now() as built_at
from {{ ref('stg_userpilot__events') }}
where user_id is not null and {{ days_to_build() }}
group by user_id, day
