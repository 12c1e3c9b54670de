{# Returns the rows for which the condition is false or NULL; of a model by day, the rows that this run built. #}
{% test holds(model, condition) %}
select *
from {{ model }}
where not coalesce({{ condition }}, false) and {{ is_built(model) }}
{% endtest %}
