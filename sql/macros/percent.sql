{# A share in percent, rounded to two decimals; NULL if the whole is 0 or NULL. #}
{% macro percent(part, whole) -%}
    round(100.0 * {{ part }} / nullif({{ whole }}, 0), 2)
{%- endmacro %}
