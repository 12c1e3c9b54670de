-- Who used which tracked feature or event in Userpilot, with its current name.
-- grain:  one row per UTC day, kind and feature that was used
-- key:    day, feature_kind, feature_key
-- late:   yes; built whole from days, so a new name applies to every day

with

-- Keys are not unique in the vendor's list. A current item wins, then the one that was seen last.
names as (
    select
        coalesce(feature_key, feature_id) as feature_key,
        arg_max(
            display_name, row(is_current, last_seen_at, feature_id)
        ) filter (where display_name is not null) as feature_name
    from (
        select
            feature_key,
            feature_id,
            display_name,
            is_current,
            last_seen_at
        from {{ ref('stg_userpilot__features_events') }}
        union
        -- Where the list has ids, the events of a feature hold its id instead of its key.
        select
            feature_id as feature_key,
            feature_id,
            display_name,
            is_current,
            last_seen_at
        from {{ ref('stg_userpilot__features_events') }}
    ) as listed
    group by 1
)

select
    used.day,
    used.feature_kind,
    used.feature_key,
    coalesce(names.feature_name, used.feature_key) as feature_name,
    used.uses,
    used.users,
    used.companies,
    used.active_users,
    {{ percent('used.users', 'used.active_users') }} as adoption_percent,
    used.built_at
from {{ ref('int_userpilot__feature_days') }} as used
left join names on used.feature_key = names.feature_key
