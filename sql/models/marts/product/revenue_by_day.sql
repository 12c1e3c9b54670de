-- What was earned on a day, by where the session came from in which it was earned.
-- grain:  one row per UTC day with revenue, channel, source, medium and campaign
-- key:    day, channel, source, medium, campaign
-- late:   yes; a landed day replaces its rows, and those of other days of its sessions
{{ config(materialized='by_day', tags='by_day', meta={
    'landed': ['openpanel.events'], 'of_sessions': true
}) }}

with

payments as (
    select
        day,
        session_id,
        user_id,
        visitor_id,
        revenue_cents
    from {{ ref('stg_openpanel__events') }}
    where revenue_cents <> 0 and {{ days_to_build() }}
),

visits as (
    select *
    from {{ ref('sessions') }}
    where first_day <= {{ last_day() }} and last_day >= {{ first_day() }}
)

select
    payments.day,
    coalesce(visits.channel, '(none)') as channel,
    coalesce(visits.utm_source, visits.referrer_name, visits.referrer, '(none)') as source,
    coalesce(visits.utm_medium, '(none)') as medium,
    coalesce(visits.utm_campaign, '(none)') as campaign,
    count(*) as payments,
    count(distinct payments.user_id) as users,
    count(distinct payments.visitor_id) as visitors,
    sum(payments.revenue_cents)::bigint as revenue_cents,
    now() as built_at
from payments
left join visits on payments.session_id = visits.session_id
group by 1, 2, 3, 4, 5
