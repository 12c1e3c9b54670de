{# Returns the combinations of these columns that more than one row has, among those that this run built. #}
{% test unique_together(model, columns) %}
select {{ columns | join(', ') }}, count(*) as times
from {{ model }}
where {{ has_built_key(model, columns) }}
group by all
having count(*) > 1
{% endtest %}
