-- The first day of a user or visitor. A run changes only members whose first day has changed.
-- grain:  one row per audience and member
-- key:    audience, member_id
-- late:   yes; a late event moves a first day back, an event that is gone moves it on
{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key=['audience', 'member_id']) }}

{% set built = last_build() if is_incremental() %}

with

{% if is_incremental() %}
    -- Rows of this run, and of earlier runs that did not come to this model.
    fresh as (
        select
            audience,
            member_id,
            min(day) as first_day
        from {{ ref('int_activity_days') }}
        where built_at > {{ built }}
        group by audience, member_id
    ),

    -- Days that were built again since, or have become empty. Only a first day among them may not be one any more.
    changed_days as (
        select known.first_day as day
        from (select distinct first_day from {{ this }}) as known
        where known.first_day not in (
            -- Without `distinct` DuckDB keeps a row for each member and day of all history.
            select distinct active.day
            from {{ ref('int_activity_days') }} as active
            where active.built_at <= {{ built }}
        )
    ),

    active_then as (
        select *
        from {{ ref('int_activity_days') }}
        where day in (select changed_days.day from changed_days)
    ),

    -- Members whose first day is no day of theirs any more: all of their days are read.
    gone as (
        select
            known.audience,
            known.member_id
        from {{ this }} as known
        anti join active_then as active
            on
                known.audience = active.audience
                and known.member_id = active.member_id
                and known.first_day = active.day
        where known.first_day in (select changed_days.day from changed_days)
    ),

    -- A semi join picks the days of these few, so that no join needs memory for all members.
    days_of_gone as (
        select *
        from {{ ref('int_activity_days') }}
        where (audience, member_id) in (select (gone.audience, gone.member_id) from gone)
    ),

    moved as (
        select
            gone.audience,
            gone.member_id,
            min(active.day) as first_day
        from gone
        left join days_of_gone as active
            on gone.audience = active.audience and gone.member_id = active.member_id
        group by gone.audience, gone.member_id
    ),

    changed as (
        select
            coalesce(moved.audience, fresh.audience) as audience,
            coalesce(moved.member_id, fresh.member_id) as member_id,
            moved.member_id is not null as is_moved,
            moved.first_day as moved_day,
            fresh.first_day as fresh_day
        from fresh
        full join moved on fresh.audience = moved.audience and fresh.member_id = moved.member_id
    ),

    known_before as (
        select *
        from {{ this }}
        where (audience, member_id) in (select (changed.audience, changed.member_id) from changed)
    ),

    found as (
        select
            changed.audience,
            changed.member_id,
            if(changed.is_moved, changed.moved_day, least(known.first_day, changed.fresh_day)) as first_day,
            known.member_id is not null as is_known,
            known.first_day as known_first_day,
            known.first_days as known_first_days
        from changed
        left join known_before as known
            on changed.audience = known.audience and changed.member_id = known.member_id
    )

    select
        audience,
        member_id,
        first_day,
        list_sort(list_distinct(list_concat(coalesce(known_first_days, []), [first_day]))) as first_days,
        now() as built_at
    from found
    where not is_known or first_day is distinct from known_first_day
{% else %}
    days as (
        select
            audience,
            member_id,
            min(day) as first_day
        from {{ ref('int_activity_days') }}
        group by audience, member_id
    )

    select
        audience,
        member_id,
        first_day,
        [first_day] as first_days,
        now() as built_at
    from days
{% endif %}
