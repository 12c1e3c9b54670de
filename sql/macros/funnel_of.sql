{#
    A query for one funnel of your own: how many of those who began it on a day reached each step.

    `steps` are event names, or {event: name, where: SQL condition over stg_openpanel__events}. A model that uses it says
    how many days it looks ahead: `meta: {landed: [openpanel.events], reach_days: ...}`, within_hours / 24, rounded up.
#}
{% macro funnel_of(steps, within_hours=24, by='visitor') -%}
    {%- set ahead = (within_hours / 24) | round(0, 'ceil') | int -%}
    {%- set member = {'session': 'session_id', 'visitor': 'visitor_id', 'user': 'user_id'}[by] -%}
    with

    {% for step in steps %}
        {%- set name = step if step is string else step.event -%}
        {%- set condition = 'true' if step is string else step.get('where', 'true') -%}
        {%- set events -%}
            select
                day,
                {{ member }} as member_id,
                occurred_at
            from {{ ref('openpanel_userpilot', 'stg_openpanel__events') }}
            where
                {{ member }} is not null
                and {{ openpanel_userpilot.days_to_build(ahead=ahead) }}
                and event_name = '{{ name | replace("'", "''") }}'
                and ({{ condition }})
        {%- endset -%}
        {%- if loop.first -%}
            step_1 as (
                select distinct
                    day,
                    member_id,
                    occurred_at as began_at,
                    occurred_at as reached_at,
                    1 as step
                from ({{ events }}) as events
                where {{ openpanel_userpilot.days_to_build() }}
            ),
        {%- else %}

            -- The first such event after the step before. At the same moment does not count, as with the vendor.
            step_{{ loop.index }} as (
                select
                    earlier.day,
                    earlier.member_id,
                    earlier.began_at,
                    later.occurred_at as reached_at,
                    {{ loop.index }} as step
                from step_{{ loop.index0 }} as earlier
                asof inner join ({{ events }}) as later
                    on earlier.member_id = later.member_id and earlier.reached_at < later.occurred_at
                where later.occurred_at <= earlier.began_at + interval '{{ within_hours }} hours'
            ),
        {%- endif -%}
    {%- endfor %}

    counted as (
        select
            reached.day,
            steps.step,
            steps.event_name,
            -- Several beginnings on a day count once, with the one that went furthest.
            count(distinct reached.member_id) filter (where reached.step >= steps.step) as entrants
        from (
            {% for step in steps %}
                select day, member_id, step from step_{{ loop.index }}
                {{ "union all" if not loop.last }}
            {% endfor %}
        ) as reached
        cross join (
            values
            {% for step in steps %}
                {%- set name = step if step is string else step.event %}
                ({{ loop.index }}, '{{ name | replace("'", "''") }}'){{ "," if not loop.last }}
            {%- endfor %}
        ) as steps (step, event_name)
        group by reached.day, steps.step, steps.event_name
    )

    select
        day,
        step,
        event_name,
        entrants,
        first_value(entrants) over in_order as entrants_at_start,
        {{ openpanel_userpilot.percent('entrants', 'first_value(entrants) over in_order') }} as percent_of_start,
        {{ openpanel_userpilot.percent('entrants', 'lag(entrants) over in_order') }} as percent_of_previous,
        now() as built_at
    from counted
    window in_order as (partition by day order by step)
{%- endmacro %}
