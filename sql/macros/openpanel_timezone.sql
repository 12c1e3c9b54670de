{#
    The organization's timezone: the variable openpanel_timezone, else OPENPANEL_TIMEZONE, else UTC. The landings read
    OPENPANEL_TIMEZONE too, so models and landings agree.
#}
{% macro openpanel_timezone() -%}
    {{- var('openpanel_timezone', none) or env_var('OPENPANEL_TIMEZONE', '').strip() or 'UTC' -}}
{%- endmacro %}
