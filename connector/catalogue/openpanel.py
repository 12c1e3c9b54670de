"""OpenPanel's catalogue: one entry for each stream, with the reason for every value.

Data only; ``connector/openpanel/`` reads the streams. ``source`` names a section of its ``CONTRACT.md``.
"""

from dataclasses import dataclass

from connector.catalogue.openpanel_lists import LISTS, NO_COUNTRY
from connector.catalogue.reports import Chart, Filter, Funnel
from connector.stream import Column, Query, Stream, Window

# Fields that come only if the request names them. Servers ignore unknown names, so all get the same request.
ON_REQUEST = (
    "properties",
    "region",
    "longitude",
    "latitude",
    "osVersion",
    "browserVersion",
    "device",
    "brand",
    "model",
    "origin",
    "referrer",
    "referrerName",
    "referrerType",
    "importedAt",
    "sdkName",
    "sdkVersion",
    "revenue",
    "groups",  # always in the row, but [] unless named, which would look like "no groups"
    "duration",  # until 2026-03-16; ignored since then
    "profile",
    "meta",
)

# Days of reports that one run lands at the same time: they wait for the vendor much longer than they take to land.
AGGREGATE_DAYS = 4


@dataclass(frozen=True)
class EventsQuery(Query):
    """One page of events.

    Attributes:
        limit: rows on a page; the server cuts larger limits to 1000 without a word.
        includes: fields that come only if the request names them.
        names: only these events; all if empty.
    """

    limit: int
    includes: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricsQuery(Query):
    """The totals of a day."""

    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True)
class ListQuery(Query):
    """Lists of a day: one for each dimension, or one without a dimension."""

    dimensions: tuple[str, ...] = ("",)
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True)
class LiveQuery(Query):
    """The number of visitors now."""


@dataclass(frozen=True)
class ChartsQuery(Query):
    """Configured charts."""

    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True)
class FunnelsQuery(Query):
    """Configured funnels."""

    funnels: tuple[Funnel, ...] = ()


EVENTS = Stream(
    vendor="openpanel",
    name="events",
    path="/export/events",
    grain="one row per event",
    primary_key=("id",),
    # Both dates are included: day..day+1 returns two days. The server ignores a single date.
    window=Window(start="start", end="end", end_inclusive=True),
    # Set by the sending device, so a phone that was offline adds rows to days that looked finished.
    replication_key="created_at",
    query=EventsQuery(limit=1000, includes=ON_REQUEST),
    counted=True,
    incremental=True,
    hourly=True,
    # session_end is written about 35 minutes after a session's last event, with a time in the past.
    lookback_days=3,
    same_values={"profile_id": ("profile.id",)},
    source="CONTRACT.md 3",
    docs_url="https://openpanel.dev/docs/api/export",
    columns=(
        Column(field="id", type="VARCHAR", description="Event id; the server stores the same id twice now and then."),
        Column(field="name", type="VARCHAR", description="Event name, such as screen_view; case-sensitive."),
        Column(
            field="deviceId",
            type="VARCHAR",
            description="Device; empty for server-side and back-dated events.",
            personal=True,
            identifies="device",
        ),
        Column(
            field="profileId",
            type="VARCHAR",
            description="Person; equals device_id while anonymous, or empty.",
            personal=True,
            identifies="person",
        ),
        Column(field="projectId", type="VARCHAR", description="OpenPanel project."),
        Column(
            field="sessionId",
            type="VARCHAR",
            description="Session; empty where the event opened none.",
            personal=True,
        ),
        Column(field="createdAt", type="TIMESTAMPTZ", description="When it happened, by the sending device; UTC, ms."),
        Column(field="path", type="VARCHAR", description="Path without host, or the app's route name."),
        Column(field="origin", type="VARCHAR", description="Scheme and host the event came from."),
        Column(field="referrer", type="VARCHAR", description="Referring address."),
        Column(field="referrerName", type="VARCHAR", description="Known name of the referrer, such as Google."),
        Column(field="referrerType", type="VARCHAR", description="Kind of referrer, such as search or social."),
        Column(
            field="country", type="VARCHAR", absent=NO_COUNTRY, description="ISO 3166 two-letter code; NULL if unknown."
        ),
        Column(field="region", type="VARCHAR", description="Subdivision of the country."),
        Column(field="city", type="VARCHAR", description="City; empty if unknown."),
        Column(field="longitude", type="DOUBLE", description="Degrees east.", personal=True),
        Column(field="latitude", type="DOUBLE", description="Degrees north.", personal=True),
        Column(field="os", type="VARCHAR", description="Operating system."),
        Column(field="osVersion", type="VARCHAR", description="Version of the operating system."),
        Column(field="browser", type="VARCHAR", description="Browser."),
        Column(field="browserVersion", type="VARCHAR", description="Version of the browser."),
        Column(field="device", type="VARCHAR", description="desktop, mobile, tablet, server or another type."),
        Column(field="brand", type="VARCHAR", description="Brand of the device."),
        Column(field="model", type="VARCHAR", description="Model of the device."),
        Column(field="duration", type="BIGINT", description="Milliseconds; only from servers before 2026-03-16."),
        Column(
            field="revenue",
            type="BIGINT",
            description="Smallest currency unit (cents); 0 for events that are not named revenue.",
        ),
        Column(
            field="properties",
            type="JSON",
            description="Event properties: flat, dotted keys, every value a text; keys in __ are the platform's.",
            personal=True,
        ),
        Column(field="groups", type="VARCHAR[]", description="Groups (companies) the event was sent with."),
        Column(
            field="profile",
            type="JSON",
            description="The person as known when the day was read, not when the event happened; NULL if anonymous.",
            # A placeholder for people the server does not know; it contains the time of the request.
            stub={"isExternal": False, "email": "", "firstName": "", "lastName": "", "properties": {}, "groups": []},
            personal=True,
        ),
        Column(field="meta", type="JSON", description="What the project configured about this event name."),
        Column(field="sdkName", type="VARCHAR", description="SDK that sent the event."),
        Column(field="sdkVersion", type="VARCHAR", description="Version of that SDK."),
        Column(field="importedAt", type="TIMESTAMPTZ", description="When a bulk import wrote the event; else NULL."),
    ),
)

# The breakdowns that the vendor documents; each has its own route.
DIMENSIONS = (
    "referrer",
    "referrer_name",
    "referrer_type",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "country",
    "region",
    "city",
    "device",
    "browser",
    "browser_version",
    "os",
    "os_version",
    "brand",
    "model",
)

# Insights reads dates as the organization's days, both included.
_LOCAL_DAYS = Window(start="startDate", end="endDate", end_inclusive=True)
_INSIGHTS_PAGE = "https://openpanel.dev/docs/api/insights"
_EXPORT_PAGE = "https://openpanel.dev/docs/api/export"

_PROJECT = Column(field="projectId", type="VARCHAR", description="OpenPanel project.")
_DATE = Column(field="date", type="DATE", description="Day in the organization's timezone.")
_SESSIONS = Column(field="sessions", type="BIGINT", description="Sessions.")
_PAGEVIEWS = Column(field="pageviews", type="BIGINT", description="Page views; from servers since 2026-01-09.")
_REVENUE = Column(
    field="revenue", type="DOUBLE", description="Smallest currency unit (cents); from servers since 2026-01-09."
)
_BOUNCE_RATE = Column(
    field="bounce_rate", type="DOUBLE", description="Percent of sessions with one view, 0 to 100; older servers."
)

INSIGHTS_METRICS = Stream(
    vendor="openpanel",
    name="insights_metrics",
    path="/insights/{project}/metrics",
    query=MetricsQuery(),
    days_at_once=AGGREGATE_DAYS,
    days="local",
    grain="one row per project and day",
    primary_key=("project_id", "date"),
    replication_key="date",
    window=_LOCAL_DAYS,
    lookback_days=3,  # numbers of a day move until its sessions have closed, and with late events
    source="CONTRACT.md 4",
    docs_url=_INSIGHTS_PAGE,
    columns=(
        _PROJECT,
        _DATE,
        Column(field="unique_visitors", type="BIGINT", description="Visitors, approximate; not additive over days."),
        Column(field="total_sessions", type="BIGINT", description="Sessions."),
        Column(field="total_screen_views", type="BIGINT", description="Page views."),
        Column(field="views_per_session", type="DOUBLE", description="Page views per session."),
        Column(field="bounce_rate", type="DOUBLE", description="Percent of sessions with one view, 0 to 100."),
        Column(field="avg_session_duration", type="DOUBLE", description="Seconds, over sessions longer than 0."),
        Column(field="total_revenue", type="DOUBLE", description="Smallest currency unit (cents)."),
        Column(field="series", type="JSON", description="The day's hours as sent; their Z is not UTC."),
    ),
)

INSIGHTS_PAGES = Stream(
    vendor="openpanel",
    name="insights_pages",
    path="/insights/{project}/pages",
    query=ListQuery(),
    may_be_cut=True,
    days_at_once=AGGREGATE_DAYS,
    days="local",
    grain="one row per page and day",
    primary_key=("project_id", "date", "origin", "path"),
    replication_key="date",
    window=_LOCAL_DAYS,
    source="CONTRACT.md 4",
    docs_url=_INSIGHTS_PAGE,
    columns=(
        _PROJECT,
        _DATE,
        Column(field="origin", type="VARCHAR", description="Scheme and host."),
        Column(field="path", type="VARCHAR", description="Path."),
        Column(field="title", type="VARCHAR", description="Title; from servers before 2026-01-09."),
        _SESSIONS,
        _PAGEVIEWS,
        _REVENUE,
        _BOUNCE_RATE,
        Column(field="avg_duration", type="DOUBLE", description="Seconds on the page; older servers."),
    ),
)

INSIGHTS_BREAKDOWNS = Stream(
    vendor="openpanel",
    name="insights_breakdowns",
    path="/insights/{project}/{dimension}",
    query=ListQuery(dimensions=DIMENSIONS),
    may_be_cut=True,
    days_at_once=AGGREGATE_DAYS,
    days="local",
    grain="one row per value, dimension and day",
    primary_key=("project_id", "date", "dimension", "prefix", "name"),
    replication_key="date",
    window=_LOCAL_DAYS,
    source="CONTRACT.md 4",
    docs_url=_INSIGHTS_PAGE,
    columns=(
        _PROJECT,
        _DATE,
        Column(field="dimension", type="VARCHAR", description="What is broken down: country, browser, utm_source ..."),
        Column(
            field="prefix",
            type="VARCHAR",
            absent=NO_COUNTRY,
            description="Parent of the value: country of a region or city, browser or os of a version.",
        ),
        Column(field="name", type="VARCHAR", absent=NO_COUNTRY, description="Value; NULL where there was none."),
        _SESSIONS,
        _PAGEVIEWS,
        _REVENUE,
        _BOUNCE_RATE,
        Column(field="avg_session_duration", type="DOUBLE", description="Seconds; older servers."),
    ),
)

INSIGHTS_LIVE = Stream(
    vendor="openpanel",
    name="insights_live",
    path="/insights/{project}/live",
    query=LiveQuery(),
    days="none",
    grain="one row per sample",
    primary_key=("project_id", "sampled_at"),
    replication_key="sampled_at",
    window=_LOCAL_DAYS,
    source="CONTRACT.md 4",
    docs_url=_INSIGHTS_PAGE,
    columns=(
        _PROJECT,
        Column(field="sampledAt", type="TIMESTAMPTZ", description="When we asked; UTC."),
        Column(field="visitors", type="BIGINT", description="People with an event in the last 5 minutes, approximate."),
    ),
)

CHARTS = Stream(
    vendor="openpanel",
    name="charts",
    path="/export/charts",
    query=ChartsQuery(),
    days_at_once=AGGREGATE_DAYS,
    days="local",
    grain="one row per point of a configured chart's series and partition",
    # `starts_at` differs for the two equal labels of the autumn clock change. With a `range` a point is in the answers
    # of several days, and so in several partitions: `_day` is part of the key.
    primary_key=("project_id", "chart", "series", "breakdowns", "_day", "date", "starts_at"),
    replication_key="starts_at",
    # Instants, not days: a plain end date would exclude its own day.
    window=Window(start="startDate", end="endDate", end_inclusive=True),
    source="CONTRACT.md 5",
    docs_url=_EXPORT_PAGE,
    columns=(
        _PROJECT,
        Column(field="chart", type="VARCHAR", description="Name of the configured chart."),
        Column(field="series", type="VARCHAR", description="Name of the configured series."),
        Column(
            field="breakdowns",
            type="JSON",
            description="Breakdown -> value; null where the event had none. `unplaced` lists values whose breakdown is "
            "open, because the vendor drops empty ones of several. `number` tells apart series with equal breakdowns.",
            personal=True,  # a breakdown may be a profile_id
        ),
        Column(field="date", type="TIMESTAMP", description="Start of the interval, in the organization's timezone."),
        Column(field="starts_at", type="TIMESTAMPTZ", description="The same moment; UTC."),
        Column(field="value", type="DOUBLE", description="Count (or sum, average ...); 0 if none was sent."),
        Column(field="previous_value", type="DOUBLE", description="Value of the period before, at the same position."),
        Column(field="previous_diff", type="DOUBLE", description="Percent of change, unsigned."),
        Column(field="previous_state", type="VARCHAR", description="positive, negative or neutral."),
        Column(field="metrics", type="JSON", description="The series' own sums and averages, as sent."),
    ),
)

FUNNELS = Stream(
    vendor="openpanel",
    name="funnels",
    path="/insights/{project}/funnel",
    query=FunnelsQuery(),
    days_at_once=AGGREGATE_DAYS,
    days="local",
    grain="one row per step of a configured funnel and day",
    primary_key=("project_id", "funnel", "date", "step"),
    replication_key="date",
    window=_LOCAL_DAYS,
    source="CONTRACT.md 6",
    docs_url=_EXPORT_PAGE,
    columns=(
        _PROJECT,
        Column(field="funnel", type="VARCHAR", description="Name of the configured funnel."),
        _DATE,
        Column(field="step", type="BIGINT", description="1-based position."),
        Column(
            field="days",
            type="BIGINT",
            description="Days that were counted, the last one being the date; 1 unless window_hours is above 24.",
        ),
        Column(field="eventName", type="VARCHAR", description="Event of the step."),
        Column(field="users", type="BIGINT", description="Sessions or people that reached the step."),
        Column(field="conversionRateFromStart", type="DOUBLE", description="Percent of the first step."),
        Column(field="dropoffPercent", type="DOUBLE", description="Percent lost before the next step."),
        Column(field="isHighestDropoff", type="BOOLEAN", description="Whether most are lost here."),
        Column(field="totalUsers", type="BIGINT", description="At the first step."),
        Column(field="completedUsers", type="BIGINT", description="At the last step."),
        Column(field="overallConversionRate", type="DOUBLE", description="Percent of the first step at the last."),
    ),
)

STREAMS: tuple[Stream, ...] = (
    EVENTS,
    INSIGHTS_METRICS,
    INSIGHTS_PAGES,
    INSIGHTS_BREAKDOWNS,
    INSIGHTS_LIVE,
    CHARTS,
    FUNNELS,
    *LISTS,
)
# What is landed unless the report config asks for more.
USUAL: tuple[Stream, ...] = tuple(stream for stream in STREAMS if stream.by_default)
