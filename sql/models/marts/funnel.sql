-- How many of those who began a funnel on a day reached each step. The variable `funnels` defines the funnels.
-- grain:  one row per funnel, UTC day of the first step, and step
-- key:    funnel, day, step
-- late:   yes; a landed day replaces its rows, and those of the days before it that the funnel's hours reach
{%- set ns = namespace(reach=0) %}
{%- for funnel in var('funnels') %}
    {%- set ns.reach = [ns.reach, (funnel.within_hours / 24) | round(0, 'ceil') | int] | max %}
{%- endfor %}
{{ config(materialized='by_day', tags='by_day', meta={
    'landed': ['openpanel.events'], 'reach_days': ns.reach
}) }}

with

{% for funnel in var('funnels') %}
    funnel_{{ loop.index }} as (
        {{ funnel_of(funnel.steps, within_hours=funnel.within_hours, by=funnel.by) }}
    ),
{% endfor %}

counted as (
    {% for funnel in var('funnels') %}
        select
            '{{ funnel.name }}' as funnel,
            *
        from funnel_{{ loop.index }}
        {{ "union all" if not loop.last }}
    {% endfor %}
)

select
    funnel,
    day,
    step,
    event_name,
    entrants,
    entrants_at_start,
    percent_of_start,
    percent_of_previous,
    built_at
from counted
