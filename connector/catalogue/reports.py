"""What charts, funnels and filters consist of. Data only; `openpanel/reports/config.py` reads and checks it."""

import msgspec


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows must match: ``Filter(name="country", operator="is", value=("SE", "NO"))``; values are OR-ed."""

    name: str
    operator: str = "is"
    value: tuple[str, ...] = ()

    def asked(self) -> dict[str, object]:
        return {"name": self.name, "operator": self.operator, "value": list(self.value)}


class Series(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"property_name": "property"}
):
    """One line of a chart: an event (``*`` for any), how it is counted, and what it must match.

    Attributes:
        name: of the series in the table; the event's name if left out.
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
    """A chart by name.

    Attributes:
        breakdowns: fields; with two, a value the vendor cannot place is landed without a field rather than misplaced.
        interval: of a point. A week or month is landed in the partition of its last day.
        range: a preset that ends with the partition's day; the day (or interval) itself if left out.
        previous: also ask for the period before.
    """

    name: str
    series: tuple[Series, ...]
    breakdowns: tuple[str, ...] = ()
    interval: str = "day"
    range: str = ""
    previous: bool = False


class Funnel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A funnel by name: 2 to 10 events in order.

    Attributes:
        window_hours: time from first to last step, 1 to 720.
        group_by: ``session_id`` or ``profile_id``.
    """

    name: str
    steps: tuple[str, ...]
    window_hours: int = 24
    group_by: str = "session_id"
