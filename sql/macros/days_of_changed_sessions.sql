{#
    Selects the days whose rows may change because a session was computed again since this model last built that day:
    every day on which such a session has events. A late event can change a session that began on an earlier day, and it
    can move the beginning of a session to an earlier day, away from a day that is not landed again.
#}
{% macro days_of_changed_sessions() -%}
    {#- Outside of the condition: dbt reads the dependencies of a model while it is not incremental. -#}
    {%- set parts = ref('int_openpanel__session_days') -%}
    {%- set sessions = ref('sessions') -%}
    {%- if is_incremental() -%}
        select touched.day
        from (
            select
                parts.day,
                max(computed.built_at) as built_at
            from {{ parts }} as parts
            inner join {{ sessions }} as computed on parts.session_id = computed.session_id
            group by 1
        ) as touched
        left join (
            select day, min(built_at) as built_at
            from {{ this }}
            group by 1
        ) as built on touched.day = built.day
        where built.built_at is null or built.built_at < touched.built_at
    {%- else -%}
        select null::date as day
        where false
    {%- endif -%}
{%- endmacro %}
