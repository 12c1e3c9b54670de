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
    {%- set who = {'session': 'session_id', 'visitor': 'visitor_id', 'user': 'user_id'}[funnel.by] %}
    {%- set number = loop.index %}
    events_{{ number }} as (
        select
            day,
            event_name,
            occurred_at,
            {{ who }} as who
        from {{ ref('stg_openpanel__events') }}
        where
            {{ who }} is not null
            and {{ days_to_build(ahead=ns.reach) }}
            and event_name in ({% for step in funnel.steps %}'{{ step }}'{{ ", " if not loop.last }}{% endfor %})
    ),

    funnel_{{ number }}_step_1 as (
        select distinct
            day,
            who,
            occurred_at as began_at,
            occurred_at as reached_at,
            1 as step
        from events_{{ number }}
        where event_name = '{{ funnel.steps[0] }}' and {{ days_to_build() }}
    ),

    {% for step in funnel.steps[1:] %}
        {%- set place = loop.index + 1 %}
        -- The first such event after the step before. At the same moment does not count, as with the vendor.
        funnel_{{ number }}_step_{{ place }} as (
            select
                before.day,
                before.who,
                before.began_at,
                following.occurred_at as reached_at,
                {{ place }} as step
            from funnel_{{ number }}_step_{{ place - 1 }} as before
            asof inner join (
                select who, occurred_at
                from events_{{ number }}
                where event_name = '{{ step }}'
            ) as following
                on before.who = following.who and before.reached_at < following.occurred_at
            where following.occurred_at <= before.began_at + interval '{{ funnel.within_hours }} hours'
        ),
    {% endfor %}

    reached_{{ number }} as (
        select
            '{{ funnel.name }}' as funnel,
            reached.day,
            steps.step,
            steps.event_name,
            -- Several beginnings on a day count once, with the one that went furthest.
            count(distinct reached.who) filter (where reached.step >= steps.step) as entrants
        from (
            {% for step in funnel.steps %}
                select day, who, step
                from funnel_{{ number }}_step_{{ loop.index }}
                {{ "union all" if not loop.last }}
            {% endfor %}
        ) as reached
        cross join (
            values
            {% for step in funnel.steps %}
                ({{ loop.index }}, '{{ step }}'){{ "," if not loop.last }}
            {% endfor %}
        ) as steps (step, event_name)
        group by reached.day, steps.step, steps.event_name
    ),
{% endfor %}

counted as (
    {% for funnel in var('funnels') %}
        select * from reached_{{ loop.index }}
        {{ "union all" if not loop.last }}
    {% endfor %}
)

select
    funnel,
    day,
    step,
    event_name,
    entrants,
    first_value(entrants) over in_order as entrants_at_start,
    {{ percent('entrants', 'first_value(entrants) over in_order') }} as percent_of_start,
    {{ percent('entrants', 'lag(entrants) over in_order') }} as percent_of_previous,
    now() as built_at
from counted
window in_order as (partition by funnel, day order by step)
