{#
    A landed table, or an empty one with its columns where nothing has landed yet: whoever uses one vendor only, or
    lands the other one later, has every model from the first build on.
#}
{% macro landed(source_name, table_name) -%}
    {%- set relation = source(source_name, table_name) -%}
    {%- if not execute or load_relation(relation) is not none -%}
        {#- Without the name of the database, which is the file's: a renamed or copied warehouse keeps its views. -#}
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
