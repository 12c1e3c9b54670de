{# In this project: `staging`, `intermediate` and `marts`. As a package: the rule of the project that uses it. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
