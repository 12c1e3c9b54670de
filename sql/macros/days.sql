{#
    Which days a run builds, in one place for every model whose rows belong to a day.

    With `--vars '{min_date: 2026-03-01, max_date: 2026-03-03}'`: these days. Without: the days that were landed since
    the model last built them, which the connector's receipts tell, also for days that have become empty. A first run,
    or --full-refresh, builds all.

    A model says in its meta which landed tables it reads (`landed`), and by how many days a row may look ahead
    (`reach_days`): a funnel entered on Monday may be completed on Tuesday, so Tuesday's landing builds Monday as well.
#}
{% macro days_to_build(day_column) -%}
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


{#
    incremental_strategy='replace_days': delete the days this run builds, insert what it found. A day that has become
    empty loses its rows, which a delete by key of the new rows would leave behind.
#}
{% macro get_incremental_replace_days_sql(arg_dict) -%}
    {%- set columns = arg_dict.dest_columns | map(attribute='quoted') | join(', ') -%}
    delete from {{ arg_dict.target_relation }}
    where
        {{ days_to_build('day') }}
        or day in (select found.day from {{ arg_dict.temp_relation }} as found);

    insert into {{ arg_dict.target_relation }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict.temp_relation }};
{%- endmacro %}


{#
    incremental_strategy='replace_sessions': the recomputed sessions take the place of the old ones, and those of which
    no part is left go.
#}
{% macro get_incremental_replace_sessions_sql(arg_dict) -%}
    {%- set columns = arg_dict.dest_columns | map(attribute='quoted') | join(', ') -%}
    delete from {{ arg_dict.target_relation }}
    where
        session_id in (select found.session_id from {{ arg_dict.temp_relation }} as found)
        or session_id not in (select parts.session_id from {{ ref('int_openpanel__session_days') }} as parts);

    insert into {{ arg_dict.target_relation }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict.temp_relation }};
{%- endmacro %}


{# Days on which a session began that was recomputed since this model last built them: a late event moves them, too. #}
{% macro days_of_changed_sessions() -%}
    {%- if is_incremental() -%}
        select begun.day
        from (
            select day, max(built_at) as built_at
            from {{ ref('sessions') }}
            group by 1
        ) as begun
        left join (
            select day, min(built_at) as built_at
            from {{ this }}
            group by 1
        ) as built on begun.day = built.day
        where built.built_at is null or built.built_at < begun.built_at
    {%- else -%}
        select null::date as day
        where false
    {%- endif -%}
{%- endmacro %}
