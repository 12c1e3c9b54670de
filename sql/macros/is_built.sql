{#
    The condition that a row is of a day that this run built; true for all rows of a model that is built whole, and in
    `dbt test`, which looks at everything.
#}
{% macro is_built(model) -%}
    {%- set days = days_built(model) -%}
    {%- if days is none -%}
        true
    {%- elif not days -%}
        false
    {%- else -%}
        day in (date '{{ days | join("', date '") }}')
    {%- endif -%}
{%- endmacro %}


{# The days that this run was asked for, and those of the rows that it built in a model by day; none if all days are to be looked at. #}
{% macro days_built(model) -%}
    {%- if not execute or flags.WHICH != 'build' or should_full_refresh() -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set node = graph.nodes.values() | selectattr('relation_name', 'equalto', model | string) | first -%}
    {%- if not node or node.config.materialized != 'by_day' -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set first, last = dates_of_run() -%}
    {%- set asked -%}
        {%- if first -%}
            union select unnest(generate_series(date '{{ first }}', date '{{ last }}', interval 1 day))::date
        {%- endif -%}
    {%- endset -%}
    {%- set found = run_query(
        "select distinct day::varchar from (select day from " ~ model ~ " where built_at >= timestamptz '"
        ~ run_started_at ~ "' " ~ asked ~ ") order by 1"
    ) -%}
    {{ return(found.columns[0].values() | list) }}
{%- endmacro %}
