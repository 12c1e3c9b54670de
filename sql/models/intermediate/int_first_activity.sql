-- The first day of a user or visitor. A run changes only members whose first day has changed.
-- grain:  one row per audience and member
-- key:    audience, member_id
-- late:   yes; a late event moves a first day back, an event that is gone moves it on
{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key=['audience', 'member_id']) }}

{% set dates = dates_of_run() %}

with

{% if is_incremental() %}
    -- Rows of this run, and of earlier runs that did not come to this model.
    fresh as (
        select
            audience,
            member_id,
            min(day) as first_day
        from {{ ref('int_activity_days') }}
        where built_at > {{ last_build() }}
        group by audience, member_id
    ),

    -- Members whose first day is no day of theirs any more: all of their days are read.
    gone as (
        select
            known.audience,
            known.member_id
        from {{ this }} as known
        anti join {{ ref('int_activity_days') }} as active
            on
                known.audience = active.audience
                and known.member_id = active.member_id
                and known.first_day = active.day
        where
            known.first_day is not null
            {% if dates[0] %}
                and known.first_day between date '{{ dates[0] }}' and date '{{ dates[1] }}'
            {% endif %}
    ),

    moved as (
        select
            gone.audience,
            gone.member_id,
            min(active.day) as first_day
        from gone
        left join {{ ref('int_activity_days') }} as active
            on gone.audience = active.audience and gone.member_id = active.member_id
        group by gone.audience, gone.member_id
    ),

    found as (
        select
            coalesce(moved.audience, fresh.audience) as audience,
            coalesce(moved.member_id, fresh.member_id) as member_id,
            if(moved.member_id is null, least(known.first_day, fresh.first_day), moved.first_day) as first_day,
            known.member_id is not null as is_known,
            known.first_day as known_first_day,
            known.first_days as known_first_days
        from fresh
        full join moved on fresh.audience = moved.audience and fresh.member_id = moved.member_id
        left join {{ this }} as known
            on
                coalesce(moved.audience, fresh.audience) = known.audience
                and coalesce(moved.member_id, fresh.member_id) = known.member_id
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
