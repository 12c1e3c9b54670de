{#
    materialized='by_day': a table whose days can be built again, each by itself. A run builds the days of
    macros/days_to_build.sql, in slices, and replaces their rows in one transaction. This also removes the rows of a day
    that has become empty.

    A first run, a run with --full-refresh, and a model whose columns have changed build all days, slice by slice, into
    a new table that takes the old one's place when it is whole. So memory is that of one slice, not of the history.

    With `--full-refresh --vars '{refresh_began: 2026-03-01 22:00}'` each slice is committed, and what was built since
    that moment is kept: the same command goes on where it was interrupted.

    `built_by: session` in a model's meta: its rows are sessions, see macros/sessions_of_days.sql.

    `split_by: user_id`: a day with more rows than a slice may have is built in parts, each with its share of the values
    of this column. No row of the model may depend on two of them.
#}
{% materialization by_day, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set began = refresh_began() -%}
    {%- set is_refreshed = began is not none and is_refreshed_since(existing, sql, began) -%}
    {%- set anew = (should_full_refresh() and not is_refreshed) or not is_table_of(existing, sql) -%}
    {%- set table = make_intermediate_relation(target) if anew else target -%}
    {%- set done_to = refreshed_to(table, sql, began) if anew and began is not none -%}
    {%- set slices = run_query(slices_of(days_of_run(anew), done_to)).rows -%}
    {%- set ns = namespace(done=0, days=slices | sum(attribute='days')) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% call statement('main') -%}
        {%- if anew and not done_to -%}
            create or replace table {{ table }} as
            select * from ({{ sql }}) limit 0
        {%- else -%}
            select {{ slices | length }} as slices
        {%- endif -%}
    {%- endcall %}
    {% for first, last, days, parts in slices %}
        {%- if slices | length > 1 -%}
            {%- do log(target.identifier ~ ": " ~ first ~ " to " ~ last ~ ", " ~ ns.done ~ " of " ~ ns.days
                ~ " days are done", info=true) -%}
        {%- endif -%}
        {%- if (config.get('meta') or {}).get('built_by') == 'session' -%}
            {%- do replace_sessions(table, sql, first, last, parts) -%}
        {%- else -%}
            {%- do replace_days(table, sql, first, last, parts) -%}
        {%- endif -%}
        {%- if anew and began is not none -%}
            {%- do keep_refreshed(table, began, last) -%}
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


{# The moment since which a full refresh keeps what was built; none if it builds everything. #}
{% macro refresh_began() -%}
    {%- set moment = var('refresh_began', none) -%}
    {%- if moment is none or not should_full_refresh() -%}
        {{ return(none) }}
    {%- endif -%}
    {{ return("timestamptz '" ~ (moment | string | replace("'", "")) ~ "'") }}
{%- endmacro %}


{# Whether every row of this table was built since that moment, and by this query's columns. #}
{% macro is_refreshed_since(relation, query, began) -%}
    {%- if not is_table_of(relation, query) -%}
        {{ return(false) }}
    {%- endif -%}
    {{ return(run_query("select coalesce(min(built_at) >= " ~ began ~ ", false) from " ~ relation).rows[0][0]) }}
{%- endmacro %}


{# How far an interrupted refresh of this moment came with this table: a day; nothing if it has not begun. #}
{% macro refreshed_to(table, query, began) -%}
    {%- set begun = load_relation(table) -%}
    {%- if begun is none or not is_table_of(begun, query) -%}
        {{ return('') }}
    {%- endif -%}
    {%- set found = run_query(
        "select split_part(comment, ' built to ', 2) from duckdb_tables() where comment like " ~ began_as_text(began)
        ~ " || ' built to %' and database_name = current_database() and schema_name = '" ~ table.schema
        ~ "' and table_name = '" ~ table.identifier ~ "'"
    ).rows -%}
    {{ return(found[0][0] if found else '') }}
{%- endmacro %}


{# Makes a slice of a refresh durable. Days come in order, so the last one says it all. #}
{% macro keep_refreshed(table, began, last) -%}
    {%- set note = run_query("select " ~ began_as_text(began) ~ " || ' built to " ~ last ~ "'").rows[0][0] -%}
    {%- do run_query("comment on table " ~ table ~ " is '" ~ note ~ "'") -%}
    {%- do adapter.commit() -%}
{%- endmacro %}


{% macro began_as_text(began) -%}epoch_us({{ began }})::varchar{%- endmacro %}


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
{% macro replace_days(table, sql, first, last, parts=1) -%}
    {% call statement('replace') -%}
        delete from {{ table }} where {{ of_slice(days_to_build(), first, last) }};
        {%- for part in range(parts) %}
        insert into {{ table }} by name {{ of_slice(sql, first, last) | replace(of_part(), condition_of_part(part, parts)) }};
        {%- endfor %}
    {%- endcall %}
{%- endmacro %}


{# What stands, in compiled SQL, for the condition that a row belongs to the part of a day that is built. #}
{% macro of_part() %}/* of the part to build */{% endmacro %}


{# The condition that a row belongs to one of so many parts, each with its share of the values of `split_by`. #}
{% macro condition_of_part(part, parts) -%}
    {{ "and hash(" ~ config.get('meta')['split_by'] ~ ") % " ~ parts ~ " = " ~ part if parts > 1 }}
{%- endmacro %}
