{# Returns the combinations of these columns that more than one row has; of a model by day, on the days that this run
   built. #}
{% test unique_together(model, columns) %}
select {{ columns | join(', ') }}, count(*) as times
from {{ model }}
where {{ is_built(model) }}
group by all
having count(*) > 1
{% endtest %}
