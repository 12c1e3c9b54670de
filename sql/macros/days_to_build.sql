{#
    The days that a run builds; the same rule for every model whose rows belong to a day.

    With `--vars '{min_date: 2026-03-01, max_date: 2026-03-03}'`: these days. Without dates: the days that were landed
    since the model last built them, as the connector's receipts say. A day that has become empty is one of them.
    A first run, and a run with --full-refresh, builds all days.

    A model's meta names the landed tables that it reads (`landed`), and by how many days a row may look ahead
    (`reach_days`). A funnel that was entered on Monday may be completed on Tuesday, so a landing of Tuesday also
    builds Monday.
#}
{% macro days_to_build(day_column='day') -%}
    {%- set meta = model.config.meta or {} -%}
    {%- set reach = meta.get('reach_days', 0) -%}
    {%- set first = var('min_date', none) -%}
    {%- set last = var('max_date', none) -%}
    {%- if (first and not last) or (last and not first) -%}
        {{ exceptions.raise_compiler_error(
            "min_date and max_date are given together, and only " ~ ('min_date' if first else 'max_date')
            ~ " is: give both (one day is twice the same date), or neither to build what was landed since."
        ) }}
    {%- elif not is_incremental() -%}
        true
    {%- elif first and last -%}
        {{ day_column }} between date '{{ first }}' - {{ reach }} and date '{{ last }}'
    {%- else -%}
        {{ landed_since_built(day_column, meta.get('landed', []), reach) }}
    {%- endif -%}
{%- endmacro %}


{# The days that were landed, by the receipts, after this model last built them. #}
{% macro landed_since_built(day_column, tables, reach) -%}
    {%- set receipts = adapter.get_relation(this.database, var('connector_schema', 'connector'), 'landings') -%}
    {%- if receipts is none -%}
        true
    {%- else -%}
        {{ day_column }} in (
            select landed.day
            from (
                select
                    receipts.day - back.days::integer as day,
                    max(receipts.landed_at) as landed_at
                from {{ receipts }} as receipts
                cross join range(0, {{ reach + 1 }}) as back (days)
                where
                    receipts.status = 'landed'
                    and receipts.table_name in (
                        {%- for table in tables -%}
                            {%- set schema, name = table.split('.') -%}
                            '{{ var(schema ~ "_schema", schema) }}.{{ name }}'{{ ", " if not loop.last }}
                        {%- endfor -%}
                    )
                group by 1
            ) as landed
            left join (
                select day, min(built_at) as built_at
                from {{ this }}
                group by 1
            ) as built on landed.day = built.day
            where built.built_at is null or built.built_at < landed.landed_at
        )
    {%- endif -%}
{%- endmacro %}
