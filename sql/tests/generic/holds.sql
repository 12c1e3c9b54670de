{# Returns the rows for which the condition is false or NULL. #}
{% test holds(model, condition) %}
select *
from {{ model }}
where not coalesce({{ condition }}, false)
{% endtest %}
