-- Every person with a user id in either vendor, once. First rule: one user id is one person. Second rule: an e-mail
-- address joins two user ids, one of each vendor, if exactly one unmatched person has it on each side.
-- grain:  one row per person
-- key:    person_id
-- late:   yes; built whole from days, because any landed day may change any row

with

-- Not a list of each user's devices of all days, which grows with the days.
devices_of_users as (
    select
        user_id,
        count(*) as devices
    from (
        select distinct
            user_id,
            unnest(device_ids) as device_id
        from {{ ref('int_openpanel__user_days') }}
    ) as seen
    group by user_id
),

openpanel as (
    select
        user_id,
        sum(events)::bigint as events,
        sum(revenue_cents)::bigint as revenue_cents,
        count(*) as active_days,
        min(first_at) as first_at,
        max(last_at) as last_at,
        arg_max(profile, day) filter (where profile is not null) as profile,
        arg_max(group_ids[1], day) filter (where len(group_ids) > 0) as company_id
    from {{ ref('int_openpanel__user_days') }}
    group by user_id
),

openpanel_known as (
    select
        openpanel.*,
        devices_of_users.devices,
        nullif(lower(trim(openpanel.profile ->> 'email')), '') as email,
        nullif(
            trim(concat_ws(' ', openpanel.profile ->> 'firstName', openpanel.profile ->> 'lastName')), ''
        ) as full_name
    from openpanel
    left join devices_of_users on openpanel.user_id = devices_of_users.user_id
),

userpilot as (
    select
        user_id,
        sum(events)::bigint as events,
        count(*) filter (where active_events > 0) as active_days,
        min(first_at) as first_at,
        max(last_at) as last_at,
        arg_max(company_id, day) filter (where company_id is not null) as company_id,
        nullif(lower(trim(arg_max(email, day) filter (where email is not null))), '') as email,
        nullif(trim(arg_max(full_name, day) filter (where full_name is not null)), '') as full_name
    from {{ ref('int_userpilot__user_days') }}
    group by user_id
),

unmatched_openpanel as (
    select
        user_id,
        email
    from openpanel_known
    where email is not null and user_id not in (select userpilot.user_id from userpilot)
    qualify count(*) over (partition by email) = 1
),

unmatched_userpilot as (
    select
        user_id,
        email
    from userpilot
    where email is not null and user_id not in (select openpanel_known.user_id from openpanel_known)
    qualify count(*) over (partition by email) = 1
),

pairs as (
    select
        openpanel_known.user_id as openpanel_user_id,
        userpilot.user_id as userpilot_user_id,
        'user id' as matched_by
    from openpanel_known
    inner join userpilot on openpanel_known.user_id = userpilot.user_id
    {% if var('match_people_by_email') %}
        union all
        select
            unmatched_openpanel.user_id as openpanel_user_id,
            unmatched_userpilot.user_id as userpilot_user_id,
            'e-mail' as matched_by
        from unmatched_openpanel
        inner join unmatched_userpilot on unmatched_openpanel.email = unmatched_userpilot.email
    {% endif %}
),

all_people as (
    select * from pairs
    union all
    select
        user_id as openpanel_user_id,
        null as userpilot_user_id,
        null as matched_by
    from openpanel_known
    where user_id not in (select pairs.openpanel_user_id from pairs)
    union all
    select
        null as openpanel_user_id,
        user_id as userpilot_user_id,
        null as matched_by
    from userpilot
    where user_id not in (select pairs.userpilot_user_id from pairs)
)

select
    coalesce(all_people.openpanel_user_id, all_people.userpilot_user_id) as person_id,
    all_people.openpanel_user_id,
    all_people.userpilot_user_id,
    all_people.matched_by,
    coalesce(openpanel_known.email, userpilot.email) as email,
    coalesce(openpanel_known.full_name, userpilot.full_name) as full_name,
    -- The vendor that saw the person last decides.
    case
        when userpilot.last_at > openpanel_known.last_at then coalesce(userpilot.company_id, openpanel_known.company_id)
        else coalesce(openpanel_known.company_id, userpilot.company_id)
    end as company_id,
    least(openpanel_known.first_at, userpilot.first_at) as first_seen_at,
    greatest(openpanel_known.last_at, userpilot.last_at) as last_seen_at,
    coalesce(openpanel_known.events, 0) as openpanel_events,
    coalesce(userpilot.events, 0) as userpilot_events,
    coalesce(openpanel_known.active_days, 0) as openpanel_active_days,
    coalesce(userpilot.active_days, 0) as userpilot_active_days,
    coalesce(openpanel_known.devices, 0) as devices,
    coalesce(openpanel_known.revenue_cents, 0) as revenue_cents
from all_people
left join openpanel_known on all_people.openpanel_user_id = openpanel_known.user_id
left join userpilot on all_people.userpilot_user_id = userpilot.user_id
