-- One day of a company and its people in OpenPanel. Companies are OpenPanel's groups.
-- grain:  one row per company, user (empty where no person is known) and UTC day
-- key:    company_id, user_id, day
-- late:   yes; a landed day replaces its rows here
{{ config(meta={'landed': ['openpanel.events']}) }}

with

events as (
    select
        day,
        occurred_at,
        user_id,
        revenue_cents,
        unnest(list_distinct(group_ids)) as company_id
    from {{ ref('stg_openpanel__events') }}
    where {{ days_to_build() }}
)

select
    company_id,
    coalesce(user_id, '') as user_id,
    day,
    count(*) as events,
    min(occurred_at) as first_at,
    max(occurred_at) as last_at,
    sum(revenue_cents)::bigint as revenue_cents,
    now() as built_at
from events
group by company_id, coalesce(user_id, ''), day
