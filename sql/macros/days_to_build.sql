{#
    The condition that a row's day is built, in every model whose rows belong to a day. Compiled, it is true for all
    days; the materialization `by_day` puts the first and the last day of each of its slices into it. Both are constants,
    so DuckDB reads only the parts of a table that hold these days.

    `ahead`: by how many days the condition reaches past the last day, such as for the later steps of a funnel.
    `behind`: likewise before the first day, such as for who was active within a month.

    Of a model with `split_by` in its meta it is also the condition that a row belongs to the part that is built.
#}
{% macro days_to_build(day_column='day', ahead=0, behind=0) -%}
    {{ day_column }} between {{ first_day() }}{{ " - " ~ behind if behind }} and {{ last_day() }}{{ " + " ~ ahead if ahead }}
    {{- " " ~ of_part() if (config.get('meta') or {}).get('split_by') }}
{%- endmacro %}


{# What stands for the first day of a slice in compiled SQL. #}
{% macro first_day() %}date '0001-01-01'{% endmacro %}


{# What stands for the last day of a slice in compiled SQL. #}
{% macro last_day() %}date '9999-12-31'{% endmacro %}


{# What stands, in compiled SQL, for the condition that a session is computed again. #}
{% macro of_sessions_to_build() %}/* of the sessions to build */{% endmacro %}


{#
    A query for the days that this run builds.

    With `--vars '{min_date: 2026-03-01, max_date: 2026-03-03}'`: these days. Without dates: the days that were landed
    since the model last built them, as the connector's receipts say. A day that has become empty is one of them.
    A first run, and a run with --full-refresh (`anew`), builds all landed days.

    A model's meta names the landed tables that it reads (`landed`), and by how many days a row may look ahead
    (`reach_days`). A funnel that was entered on Monday may be completed on Tuesday, so a landing of Tuesday also
    builds Monday. `memory_days` is how many days it looks back: who was active on Tuesday is among the active ones of
    four weeks, so a landing of Tuesday also builds the days after it, and a day without rows may have some of its own.
    `of_sessions`: days of sessions that were computed again are built, too. `of_first_days`: likewise days that were
    a person's first one, or are it now.
#}
{% macro days_of_run(anew) -%}
    {%- set meta = config.get('meta') or {} -%}
    {%- set reach, memory = meta.get('reach_days', 0), meta.get('memory_days', 0) -%}
    {%- set first, last = dates_of_run() -%}
    {%- set receipts = adapter.get_relation(this.database, var('connector_schema', 'connector'), 'landings') -%}
    {%- if anew or (receipts is none and not first) -%}
        select unnest(
            generate_series(landed.day - {{ reach }}, landed.day + {{ memory }}, interval 1 day)
        )::date as day
        from ({{ landed_days(meta.get('landed', [])) }}) as landed
    {%- elif first -%}
        select unnest(
            generate_series(date '{{ first }}' - {{ reach }}, date '{{ last }}' + {{ memory }}, interval 1 day)
        )::date as day
    {%- else -%}
        {{ days_landed_since(receipts, meta.get('landed', []), reach, memory) }}
    {%- endif -%}
    {%- if memory %}
        union
        {{ days_between(meta.get('landed', []), anew) }}
    {%- endif -%}
    {%- if not anew and meta.get('of_first_days') %}
        union
        select unnest(first_days) as day
        from {{ ref('int_first_activity') }}
        where built_at > {{ last_build() }}
    {%- endif -%}
    {%- if not anew and meta.get('of_sessions') %}
        union
        {{ days_of_changed_sessions(reach, memory) }}
    {%- endif -%}
    {%- if not anew and meta.get('built_by') == 'session' %}
        union
        {{ days_of_new_parts() }}
    {%- endif -%}
    {%- if not anew and receipts is not none %}
        {%- for upstream in models_by_day_above() %}
            union
            {{ days_built_too_early(receipts, upstream, reach, memory) }}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{# The models by day that this one reads. #}
{% macro models_by_day_above() -%}
    {{ return(
        graph.nodes.values()
        | selectattr('unique_id', 'in', model.depends_on.nodes)
        | selectattr('config.materialized', 'equalto', 'by_day')
        | list
    ) }}
{%- endmacro %}


{#
    A query for the days that were built after a landing, and before a model above had built what was landed: this model
    was built alone. Rows that are gone above since then say nothing of it, so builds above are known by the
    moments that their rows carry. A build above that left no row makes a day be built once more, which changes nothing.
#}
{% macro days_built_too_early(receipts, upstream, reach, memory) -%}
    select built.day
    from ({{ days_as_built() }}) as built
    inner join ({{ landings_of_days(receipts, (upstream.config.meta or {}).get('landed', []), reach, memory) }}) as landed
        on built.day = landed.day
    asof left join (
        select distinct built_at
        from {{ upstream.relation_name }}
    ) as above on built.built_at >= above.built_at
    where
        -- What has landed since is no reason: a run of other days would build it before the models above do.
        built.built_at >= landed.landed_at
        and (above.built_at is null or above.built_at < landed.landed_at)
{%- endmacro %}


{# min_date and max_date, or twice nothing. Refuses half a range. #}
{% macro dates_of_run() -%}
    {#- Dagster says them in the environment: dbt parses the whole project again when a variable has another value. -#}
    {%- set first = var('min_date', none) or env_var('CONNECTOR_MIN_DATE', '') -%}
    {%- set last = var('max_date', none) or env_var('CONNECTOR_MAX_DATE', '') -%}
    {%- if (first and not last) or (last and not first) -%}
        {{ exceptions.raise_compiler_error(
            "min_date and max_date are given together, and only " ~ ('min_date' if first else 'max_date')
            ~ " is: give both (one day is twice the same date), or neither to build what was landed since."
        ) }}
    {%- endif -%}
    {{ return((first, last)) }}
{%- endmacro %}


{# A query for the days of these landed tables, with their rows. A table that was never landed has none. #}
{% macro landed_days(tables, first=none, last=none) -%}
    {%- for table in tables -%}
        {%- set schema, name = table.split('.') -%}
        {%- set found = adapter.get_relation(this.database, var(schema ~ '_schema', schema), name) -%}
        {%- if found is not none -%}
            select _day as day, count(*) as rows
            from {{ found }}
            {% if first %}where _day between date '{{ first }}' and date '{{ last }}'{% endif %}
            group by 1
            union all
        {% endif -%}
    {%- endfor -%}
    select null::date as day, 0 as rows where false
{%- endmacro %}


{# A query for the days without rows between those that have some: all of them, or those after the newest built one. #}
{% macro days_between(tables, anew) -%}
    select unnest(generate_series(ends.first_day, ends.last_day, interval 1 day))::date as day
    from (
        select
            {{ "min(day)" if anew else "(select max(day) + 1 from " ~ this ~ ")" }} as first_day,
            max(day) as last_day
        from (
            {%- for table in tables -%}
                {%- set schema, name = table.split('.') -%}
                {%- set found = adapter.get_relation(this.database, var(schema ~ '_schema', schema), name) -%}
                {%- if found is not none -%}
                    select min(_day) as day from {{ found }}
                    union all
                    select max(_day) as day from {{ found }}
                    union all
                {% endif -%}
            {%- endfor -%}
            select null::date as day
        )
    ) as ends
{%- endmacro %}


{# A query for the days that were landed, by the receipts, after this model last built them. #}
{% macro days_landed_since(receipts, tables, reach, memory=0) -%}
    select landed.day
    from ({{ landings_of_days(receipts, tables, reach, memory) }}) as landed
    left join ({{ days_as_built() }}) as built on landed.day = built.day
    where built.built_at is null or built.built_at < landed.landed_at
{%- endmacro %}


{# A query for the days of this model, and when their oldest row was built. #}
{% macro days_as_built() -%}
    select day, min(built_at) as built_at
    from {{ this }}
    group by 1
{%- endmacro %}


{# A query for the days that landings of these tables may change, and when the last one was. #}
{% macro landings_of_days(receipts, tables, reach, memory) -%}
    select
        receipts.day - back.days::integer as day,
        max(receipts.landed_at) as landed_at
    from {{ receipts }} as receipts
    cross join range({{ 0 - memory }}, {{ reach + 1 }}) as back (days)
    where
        receipts.status = 'landed'
        and list_contains([
            {%- for table in tables -%}
                {%- set schema, name = table.split('.') -%}
                '{{ var(schema ~ "_schema", schema) }}.{{ name }}'{{ ", " if not loop.last }}
            {%- endfor -%}
        ]::varchar[], receipts.table_name)
    group by 1
{%- endmacro %}


{#
    A query for the first and the last day of each slice of these days: days in a row, until they have this many landed
    rows. A slice of years would need more memory than a machine may have, and so would a day of millions of rows: its
    slice has several parts, where the model can be built in parts.

    `after`: only days after this one.
#}
{% macro slices_of(days, after='') -%}
    {%- set meta = config.get('meta') or {} -%}
    {%- set first, last = dates_of_run() if not should_full_refresh() else (none, none) -%}
    with

    days as (
        select distinct day
        from ({{ days }})
        {% if after %}where day > date '{{ after }}'{% endif %}
    ),

    landed as ({{ landed_days(meta.get('landed', []), first, last) }}),

    sized as (
        select days.day, coalesce(sum(landed.rows), 0) as rows
        from days
        left join landed on days.day = landed.day
        group by 1
    ),

    in_a_row as (
        select day, rows, day - row_number() over (order by day)::integer as began
        from sized
    ),

    sliced as (
        select day, began, rows, (sum(rows) over (partition by began order by day) - 1) // {{ var('rows_at_once', 250000) }} as slice
        from in_a_row
    )

    select
        min(day)::varchar as first_day,
        max(day)::varchar as last_day,
        count(*) as days,
        {#- Each part reads the day once more, so there are few: of up to twice as many rows as a slice of several days. #}
        {{ "greatest(1, ceil(sum(rows) / " ~ 2 * var('rows_at_once', 250000) ~ "))::integer" if meta.get('split_by') else 1 }} as parts
    from sliced
    group by began, slice
    order by 1
{%- endmacro %}
