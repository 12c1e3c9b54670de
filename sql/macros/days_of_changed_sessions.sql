{#
    Selects the days on which a session began that was computed again since this model last built that day. A late
    event can change a session that began on an earlier day.
#}
{% macro days_of_changed_sessions() -%}
    {%- if is_incremental() -%}
        select begun.day
        from (
            select day, max(built_at) as built_at
            from {{ ref('sessions') }}
            group by 1
        ) as begun
        left join (
            select day, min(built_at) as built_at
            from {{ this }}
            group by 1
        ) as built on begun.day = built.day
        where built.built_at is null or built.built_at < begun.built_at
    {%- else -%}
        select null::date as day
        where false
    {%- endif -%}
{%- endmacro %}
