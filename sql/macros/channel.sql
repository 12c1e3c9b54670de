{# The channel of a session: the first rule that fits. docs/models.md lists the rules. #}
{% macro channel(medium, source, campaign, referrer, referrer_name, referrer_type) -%}
    case
        when lower({{ medium }}) in ('cpc', 'ppc', 'cpm', 'cpv', 'display') or lower({{ medium }}) like 'paid%' then 'paid'
        when lower({{ medium }}) in ('email', 'e-mail', 'newsletter') or {{ referrer_type }} = 'email' then 'email'
        when {{ referrer_type }} = 'search' then 'search'
        when {{ referrer_type }} = 'social' or lower({{ medium }}) like 'social%' then 'social'
        when coalesce({{ medium }}, {{ source }}, {{ campaign }}) is not null then 'campaign'
        when coalesce({{ referrer }}, {{ referrer_name }}) is not null then 'referral'
        else 'direct'
    end
{%- endmacro %}
