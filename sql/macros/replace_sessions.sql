{#
    incremental_strategy='replace_sessions': replaces the sessions that this run computed again, and deletes sessions
    that have no part left.
#}
{% macro get_incremental_replace_sessions_sql(arg_dict) -%}
    {%- set columns = arg_dict.dest_columns | map(attribute='quoted') | join(', ') -%}
    delete from {{ arg_dict.target_relation }}
    where
        session_id in (select found.session_id from {{ arg_dict.temp_relation }} as found)
        or session_id not in (select parts.session_id from {{ ref('int_openpanel__session_days') }} as parts);

    insert into {{ arg_dict.target_relation }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict.temp_relation }};
{%- endmacro %}
