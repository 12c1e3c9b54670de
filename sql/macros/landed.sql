{#
    A landed table. Before its first landing: an empty table with the same columns. So every model exists from the first
    build on, also in a project that uses only one vendor.
#}
{% macro landed(source_name, table_name) -%}
    {%- set relation = source(source_name, table_name) -%}
    {%- if not execute or load_relation(relation) is not none -%}
        {#- No database name: DuckDB names a database after its file, and views must survive a renamed or copied file. -#}
        {{ relation.include(database=false) }}
    {%- else -%}
        {%- set about = graph.sources.values()
            | selectattr('package_name', 'equalto', 'openpanel_userpilot')
            | selectattr('source_name', 'equalto', source_name)
            | selectattr('name', 'equalto', table_name) | first -%}
        (
            select
            {%- for column in about.columns.values() %}
                null::{{ column.data_type }} as "{{ column.name }}"{{ "," if not loop.last }}
            {%- endfor %}
            where false
        ) as nothing_landed_yet
    {%- endif -%}
{%- endmacro %}
