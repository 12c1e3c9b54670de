{#
    materialized='by_day': a table whose days can be built again, each by itself. A run builds the days of
    macros/days_to_build.sql, in slices, and replaces their rows in one transaction. This also removes the rows of a day
    that has become empty.

    A first run, a run with --full-refresh, and a model whose columns have changed build all days, slice by slice, into
    a new table that takes the old one's place when it is whole. So memory is that of one slice, not of the history.

    `built_by: session` in a model's meta: its rows are sessions, see macros/sessions_of_days.sql.
#}
{% materialization by_day, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set anew = should_full_refresh() or not is_table_of(existing, sql) -%}
    {%- set table = make_intermediate_relation(target) if anew else target -%}
    {%- set slices = run_query(slices_of(days_of_run(anew))).rows -%}
    {%- set ns = namespace(done=0, days=slices | sum(attribute='days')) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% call statement('main') -%}
        {%- if anew -%}
            create or replace table {{ table }} as
            select * from ({{ sql }}) limit 0
        {%- else -%}
            select {{ slices | length }} as slices
        {%- endif -%}
    {%- endcall %}
    {% for first, last, days in slices %}
        {%- if slices | length > 1 -%}
            {%- do log(target.identifier ~ ": " ~ first ~ " to " ~ last ~ ", " ~ ns.done ~ " of " ~ ns.days
                ~ " days are done", info=true) -%}
        {%- endif -%}
        {%- if (config.get('meta') or {}).get('built_by') == 'session' -%}
            {%- do replace_sessions(table, sql, first, last) -%}
        {%- else -%}
            {%- do replace_days(table, sql, first, last) -%}
        {%- endif -%}
        {%- set ns.done = ns.done + days -%}
    {%- endfor %}
    {% if anew -%}
        {% call statement('swap') -%}
            {%- if existing is not none %}drop {{ existing.type }} {{ existing }};{% endif -%}
            alter table {{ table }} rename to {{ adapter.quote(target.identifier) }};
        {%- endcall %}
        {%- do persist_docs(target, model) -%}
    {%- endif %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}


{# Whether this relation is a table with the columns of this query. #}
{% macro is_table_of(relation, query) -%}
    {%- if relation is none or not relation.is_table -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set known = run_query("select column_name, column_type from (describe " ~ relation ~ ") order by all") -%}
    {%- set wanted = run_query("select column_name, column_type from (describe " ~ query ~ ") order by all") -%}
    {{ return(known.rows | map('list') | list == wanted.rows | map('list') | list) }}
{%- endmacro %}


{# The SQL of a model for one slice of days. #}
{% macro of_slice(sql, first, last) -%}
    {{ return(sql | replace(first_day(), "date '" ~ first ~ "'") | replace(last_day(), "date '" ~ last ~ "'")) }}
{%- endmacro %}


{# Builds these days again. #}
{% macro replace_days(table, sql, first, last) -%}
    {% call statement('replace') -%}
        delete from {{ table }} where {{ of_slice(days_to_build(), first, last) }};
        insert into {{ table }} by name {{ of_slice(sql, first, last) }};
    {%- endcall %}
{%- endmacro %}
