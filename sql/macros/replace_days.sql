{#
    incremental_strategy='replace_days': deletes the days that this run builds, then inserts the new rows. This also
    removes the rows of a day that has become empty. Deleting by the keys of the new rows would leave them. A model whose
    meta has `of_sessions` is also built for the days of sessions that were computed again.
#}
{% macro get_incremental_replace_days_sql(arg_dict) -%}
    {%- set columns = arg_dict.dest_columns | map(attribute='quoted') | join(', ') -%}
    delete from {{ arg_dict.target_relation }}
    where
        {{ days_to_build() }}
        {% if (model.config.meta or {}).get('of_sessions') -%}
            or day in ({{ days_of_changed_sessions() }})
        {% endif -%}
        or day in (select found.day from {{ arg_dict.temp_relation }} as found);

    insert into {{ arg_dict.target_relation }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict.temp_relation }};
{%- endmacro %}
