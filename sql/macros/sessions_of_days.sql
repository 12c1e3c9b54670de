{#
    Builds the sessions again that have, or had, an event on these days, each from all its parts: a late event can
    change a session that began on an earlier day, and move its beginning to an earlier day.

    A session's other parts can lie on any day. They are found by a number made from the session's id, because looking
    through the ids of all days would cost more than everything else.
#}
{% macro replace_sessions(table, sql, first, last, parts=1) -%}
    {%- set days = ref('int_openpanel__session_days') -%}
    {% call statement('touched') -%}
        create or replace temp table touched_sessions as
        select session_id, session_key
        from {{ days }}
        where {{ of_slice(days_to_build(), first, last) }}
        union
        select session_id, {{ session_key('session_id') }} as session_key
        from {{ table }}
        where first_day <= date '{{ last }}' and last_day >= date '{{ first }}'
    {%- endcall %}
    {%- set span = run_query(
        "select coalesce(min(day), date '" ~ first ~ "')::varchar, coalesce(max(day), date '" ~ last ~ "')::varchar from "
        ~ days ~ " where session_key in (select session_key from touched_sessions)"
    ).rows[0] -%}
    {%- set from_day, to_day = [span[0], first] | min, [span[1], last] | max -%}
    {%- set touched = "session_id in (select touched.session_id from touched_sessions as touched)" -%}
    {% call statement('replace') -%}
        delete from {{ table }}
        where first_day <= date '{{ to_day }}' and last_day >= date '{{ from_day }}' and {{ touched }};
        {%- for part in range(parts) %}
        insert into {{ table }} by name
        {{
            of_slice(sql, from_day, to_day)
            | replace(of_sessions_to_build(), " and " ~ touched)
            | replace(of_part(), condition_of_part(part, parts))
        }};
        {%- endfor %}
        drop table touched_sessions;
    {%- endcall %}
{%- endmacro %}


{#
    A number made from a session's id: 48 bits, so that in a hundred million sessions it is almost never that of another
    one. Where it is, more days are read, and the session's id decides.
#}
{% macro session_key(session_id) -%}
    (md5_number_lower({{ session_id }}) & 281474976710655)::bigint
{%- endmacro %}


{#
    A query for the days whose rows may change because a session was computed again since this model was last built:
    every day of such a session, and as many days before and after it as the model reaches ahead and looks back.
#}
{% macro days_of_changed_sessions(reach=0, memory=0) -%}
    select unnest(generate_series(first_day - {{ reach }}, last_day + {{ memory }}, interval 1 day))::date as day
    from {{ ref('sessions') }}
    where built_at > {{ last_build() }}
{%- endmacro %}


{# A query for the days of parts of sessions that were built since the sessions were. #}
{% macro days_of_new_parts() -%}
    select day
    from {{ ref('int_openpanel__session_days') }}
    where built_at > {{ last_build() }}
{%- endmacro %}


{# When this model was last built, as a constant: DuckDB then skips the parts of a table that are older. #}
{% macro last_build() -%}
    {%- set found = run_query("select coalesce(max(built_at), timestamptz '0001-01-01 00:00:00+00')::varchar from " ~ this) -%}
    timestamptz '{{ found.rows[0][0] }}'
{%- endmacro %}
