"""Userpilot's catalogue: the event export and the lookups, one entry for each stream, with the reason for every value.

Data only; ``connector/userpilot/`` reads the streams. ``source`` names a section of its ``CONTRACT.md``.
"""

from connector.stream import Column, ColumnType, Stream, Window

EVENT_TYPES = (
    "identify_user",
    "identify_company",
    "page_view",
    "track",
    "track_feature",
    "interaction",
    "session_start",  # exported only if the request names it
)
# The types of an export whose request names none.
DEFAULT_EVENT_TYPES = EVENT_TYPES[:-1]

_EXPORT_PAGE = "https://docs.userpilot.com/api-references/export/overview"
_LOOKUP_PAGE = "https://docs.userpilot.com/export/lookups"
# It is not documented whether the last day is included, or in which timezone days end. So the request asks for more
# days, and every row lands under the day of its own time.
_DATES = Window(start="from", end="to", end_inclusive=True)

EVENTS = Stream(
    vendor="userpilot",
    name="events",
    path="/api/v1/analytics/exports",
    hourly=True,
    grain="one row per exported event",
    # Identifies nearly every event: the vendor's own id is a hash of exactly these. Bulk identifies may share all six
    # and differ in metadata; both are kept. Only records equal in every field are duplicates.
    primary_key=("app_token", "event_type", "event_name", "user_id", "company_id", "inserted_at"),
    replication_key="inserted_at",
    window=_DATES,
    # Imports may be back-dated without limit and deletions may change any day. A few days are exported again nightly.
    lookback_days=3,
    source="CONTRACT.md 3",
    docs_url=_EXPORT_PAGE,
    columns=(
        Column(field="app_token", type="VARCHAR", description="Environment, such as NX-1a2b3c4d."),
        Column(field="event_type", type="VARCHAR", description="One of seven kinds, such as track or page_view."),
        Column(
            field="event_name",
            type="VARCHAR",
            description="Name of a tracked event, id of a tracked feature, or entity:id:status of an interaction.",
        ),
        Column(
            field="user_id",
            type="VARCHAR",
            description="Person; empty for events of a company alone.",
            personal=True,
            identifies="person",
        ),
        Column(field="company_id", type="VARCHAR", description="Company; empty for people without one."),
        Column(field="source", type="VARCHAR", description="What sent it, such as web-client or backend-hubspot."),
        Column(
            field="inserted_at",
            type="TIMESTAMPTZ",
            description="When it happened, as the sender says; UTC, microseconds. Imports set it freely.",
        ),
        Column(
            field="internal_event_id",
            type="VARCHAR",
            description="The vendor's hash of the natural key, up to 20 digits; NULL in older exports, not unique.",
        ),
        Column(field="hostname", type="VARCHAR", description="Host of the page."),
        Column(field="pathname", type="VARCHAR", description="Path of the page."),
        Column(field="screen_width", type="BIGINT", description="Pixels; 0 or NULL for events from servers."),
        Column(field="screen_height", type="BIGINT", description="Pixels; 0 or NULL for events from servers."),
        Column(field="device_type", type="VARCHAR", description="desktop, mobile ...; the case varies."),
        Column(field="user_agent", type="VARCHAR", description="The browser's own description.", personal=True),
        Column(field="operating_system", type="VARCHAR", description="Operating system."),
        Column(field="browser", type="VARCHAR", description="Browser."),
        Column(field="browser_language", type="VARCHAR", description="Language of the browser, such as de-DE."),
        Column(field="session", type="VARCHAR", description="Session number; NULL where the account exports none."),
        Column(field="country_code", type="VARCHAR", description="Two letters, not always ISO 3166 (UK)."),
        Column(
            field="metadata",
            type="JSON",
            absent=("[]",),  # the vendor's form of an empty object
            description="Properties of the event, person or company as sent with this event; keys are the customer's.",
            personal=True,
        ),
    ),
)


def _lookup(name: str, grain: str, *columns: tuple[str, ColumnType, str]) -> Stream:
    return Stream(
        vendor="userpilot",
        name=name,
        path=f"/api/v1/analytics/exports/lookups/{name}",
        history=True,
        days="none",
        grain=grain,
        primary_key=("id",),
        replication_key="",
        window=_DATES,
        lookback_days=0,
        source="CONTRACT.md 4",
        docs_url=_LOOKUP_PAGE,
        columns=(
            # Ids are strings or numbers; those of built-in properties are negative.
            Column(field="id", type="VARCHAR", description="Id as text; else the key, a content hash, or both."),
            *(Column(field=field, type=kind, description=text) for field, kind, text in columns),
        ),
    )


_TITLE: tuple[str, ColumnType, str] = ("title", "VARCHAR", "Title in the web app.")
_NAMED: tuple[tuple[str, ColumnType, str], ...] = (
    ("key", "VARCHAR", "Name as in events; not unique."),
    ("display_name", "VARCHAR", "Name in the web app."),
    ("data_type", "VARCHAR", "Type of its values, such as string."),
)
_PROPERTY: tuple[tuple[str, ColumnType, str], ...] = (
    *_NAMED,
    ("type", "VARCHAR", "user_property or company_property."),
    ("is_auto_property", "BOOLEAN", "Whether it is captured without being sent."),
)

LOOKUPS = (
    _lookup("user_properties", "one row per property of users", *_PROPERTY),
    _lookup("company_properties", "one row per property of companies", *_PROPERTY),
    _lookup("features_events", "one row per tracked feature or event", *_NAMED),
    _lookup(
        "events_properties",
        "one row per property of events",
        *_NAMED,
        ("category", "VARCHAR", "Category, such as css_attribute."),
        ("description", "VARCHAR", "Description."),
        ("event", "JSON", "The event it belongs to: id and display_name; id is null for all events."),
        ("inserted_at", "VARCHAR", "When it was first seen by the vendor, in the account's zone."),
        ("last_seen", "VARCHAR", "When an event last carried it, in the account's zone."),
        ("is_archived", "BOOLEAN", "Whether it is archived."),
        ("is_auto_property", "BOOLEAN", "Whether it is captured without being sent."),
        ("is_mobile_auto_property", "BOOLEAN", "The same for mobile."),
    ),
    _lookup(
        "segments",
        "one row per segment",
        _TITLE,
        ("usage", "VARCHAR", "Where it may be used."),
        ("category", "VARCHAR", "What it groups."),
        ("is_hidden", "BOOLEAN", "Whether it is hidden."),
        ("is_protected", "BOOLEAN", "Whether it may not be changed."),
        ("status", "VARCHAR", "Such as published."),
    ),
    _lookup("flows", "one row per flow", _TITLE),
    _lookup("banners", "one row per banner", _TITLE),
    _lookup("spotlights", "one row per spotlight", _TITLE),
    _lookup(
        "surveys",
        "one row per survey",
        _TITLE,
        ("platform", "VARCHAR", "web or mobile."),
        ("modules", "JSON", "Its questions; also one row each in surveys_modules."),
    ),
    _lookup("resource_center_modules", "one row per module of the resource centre", *_NAMED, _TITLE),
    _lookup(
        "checklists",
        "one row per checklist",
        _TITLE,
        *_NAMED,
        ("tasks", "JSON", "Its tasks; also one row each in checklists_tasks."),
    ),
    # Only in the vendor's OpenAPI file. An account without it answers 404, and nothing is landed.
    _lookup("embeds", "one row per embed", _TITLE, ("type", "VARCHAR", "banner or card.")),
)
OPTIONAL = frozenset({"embeds"})


def _child(parent: str, field: str, one: str, *columns: tuple[str, ColumnType, str]) -> Stream:
    return Stream(
        vendor="userpilot",
        name=f"{parent}_{field}",
        path=f"/api/v1/analytics/exports/lookups/{parent}",
        history=True,
        days="none",
        grain=f"one row per {one}",
        primary_key=("parent_id", "id"),
        replication_key="",
        window=_DATES,
        lookback_days=0,
        source="CONTRACT.md 4",
        docs_url=_LOOKUP_PAGE,
        columns=(
            Column(field="parent_id", type="VARCHAR", description=f"Joins {parent}.id."),
            Column(field="ordinal", type="BIGINT", description="Place in its parent's list, from 1."),
            Column(
                field="id", type="VARCHAR", description="Id as text, or the ordinal; #ordinal tells apart what repeats."
            ),
            *(Column(field=name, type=kind, description=text) for name, kind, text in columns),
        ),
    )


# By parent: the field that holds the list, and the table its members land in.
CHILDREN = {
    "surveys": (
        "modules",
        _child(
            "surveys",
            "modules",
            "question of a survey",
            ("order", "BIGINT", "Place as the vendor counts."),
            ("type", "VARCHAR", "Such as nps or open_text."),
            ("question", "VARCHAR", "The question."),
        ),
    ),
    "checklists": ("tasks", _child("checklists", "tasks", "task of a checklist", _TITLE)),
}
STREAMS = (EVENTS, *LOOKUPS)
