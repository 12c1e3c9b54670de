{#
    Drops the model's table if it has other columns than the model, so that this run builds every day anew: a column that
    is added later would be NULL on all days before. `columns` are names and DuckDB's types, in any order.
#}
{% macro rebuild_if_changed(columns) -%}
    {%- if execute and flags.WHICH in ('build', 'run') and is_incremental() -%}
        {%- set there = [] -%}
        {%- for column in adapter.get_columns_in_relation(this) -%}
            {%- do there.append(column.name ~ ' ' ~ column.dtype) -%}
        {%- endfor -%}
        {%- if there | sort != columns | sort -%}
            {%- do log(this ~ ' has other columns than its model: every day is built again', info=true) -%}
            {%- do adapter.drop_relation(load_cached_relation(this)) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
