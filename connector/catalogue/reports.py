"""What charts, funnels and filters consist of. Data only; `openpanel/reports/config.py` reads and checks it."""

import msgspec

# The values of these operators are ids of cohorts; the filter's name has no meaning then.
COHORT_OPERATORS = ("inCohort", "notInCohort")


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition that events must meet: ``Filter(name="country", operator="is", value=("SE", "NO"))``.

    One matching value is enough.
    """

    name: str
    operator: str = "is"
    value: tuple[str, ...] = ()

    def asked(self) -> dict[str, object]:
        """The filter as it is sent. The server reads cohorts from ``cohortIds`` and ignores ``value`` for them."""
        asked: dict[str, object] = {"name": self.name, "operator": self.operator, "value": list(self.value)}
        return asked | ({"cohortIds": list(self.value)} if self.operator in COHORT_OPERATORS else {})


class Series(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"property_name": "property"}
):
    """One line of a chart: an event (``*`` for any), how it is counted, and what it must match.

    Attributes:
        name: the name of the series in the table; by default the event's name.
        segment: what is counted; ``property_*`` need ``property_name`` (``property`` in YAML).
        property_name: ``properties.<key>``, or duration, revenue, longitude, latitude.
    """

    event: str
    name: str = ""
    segment: str = "event"
    property_name: str = ""
    filters: tuple[Filter, ...] = ()

    @property
    def label(self) -> str:
        return self.name or self.event

    def asked(self) -> dict[str, object]:
        asked: dict[str, object] = {
            "name": self.event,
            "segment": self.segment,
            "filters": [one.asked() for one in self.filters],
        }
        return asked | ({"property": self.property_name} if self.property_name else {})


class Chart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chart with a name.

    Attributes:
        breakdowns: fields. With two, a value that cannot be matched to its field is landed without a field.
        interval: of a point. A week or month is landed in the partition of its last day.
        range: a preset that ends with the partition's day; by default the day, or the interval, itself.
        previous: request the period before as well.
    """

    name: str
    series: tuple[Series, ...]
    breakdowns: tuple[str, ...] = ()
    interval: str = "day"
    range: str = ""
    previous: bool = False


class Funnel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A funnel with a name and 2 to 10 events in order.

    Attributes:
        window_hours: hours from the first to the last step, 1 to 720. Above 24 the funnel covers several days that end
            with the partition's day, because the server looks at no event outside the days of a request.
        group_by: ``session_id`` or ``profile_id``.
    """

    name: str
    steps: tuple[str, ...]
    window_hours: int = 24
    group_by: str = "session_id"

    @property
    def days(self) -> int:
        """Days that a request must cover to hold the window."""
        return -(-self.window_hours // 24)
