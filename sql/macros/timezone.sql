{#
    The organization's timezone, whose days the vendor counts: the variable, else OPENPANEL_TIMEZONE as everywhere else,
    so that the models and the landings cannot differ.
#}
{% macro openpanel_timezone() -%}
    {{- var('openpanel_timezone', none) or env_var('OPENPANEL_TIMEZONE', '').strip() or 'UTC' -}}
{%- endmacro %}
