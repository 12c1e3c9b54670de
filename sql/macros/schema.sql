{# Run as it is, models live in `staging`, `intermediate` and `marts`; as a package, the caller's own rule decides. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
