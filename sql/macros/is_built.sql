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


{#
    The condition that this run may have made a row's key twice: the row is of a day that was built, or, in an incremental
    model that says in `built_at` when, it has the key of a row that was built.
#}
{% macro has_built_key(model, columns) -%}
    {%- set node = model_of(model) -%}
    {%- if looks_at_everything() or not node or node.config.materialized != 'incremental' or 'built_at' not in node.columns -%}
        {{ is_built(model) }}
    {%- else -%}
        ({{ columns | join(', ') }}) in (
            select ({{ columns | join(', ') }}) from {{ model }} where built_at >= timestamptz '{{ run_started_at }}'
        )
    {%- endif -%}
{%- endmacro %}


{# Whether tests look at all rows: in `dbt test`, and when everything is built anew. #}
{% macro looks_at_everything() -%}
    {{ return(not execute or flags.WHICH != 'build' or should_full_refresh()) }}
{%- endmacro %}


{# What dbt knows of the model with this name in the warehouse; nothing while it parses. #}
{% macro model_of(relation) -%}
    {{ return(graph.nodes.values() | selectattr('relation_name', 'equalto', relation | string) | first if execute) }}
{%- endmacro %}


{# The days that this run was asked for, and those of the rows that it built in a model by day; none if all days are to be looked at. #}
{% macro days_built(model) -%}
    {%- set node = model_of(model) -%}
    {%- if looks_at_everything() or not node or node.config.materialized != 'by_day' -%}
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
