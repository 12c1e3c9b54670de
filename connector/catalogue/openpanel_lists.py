"""OpenPanel's routes that the vendor's pages do not document: entry and exit pages, sessions, profiles, groups.

They are landed only where the report config asks for them (``also``). Servers before 2026-04-09 have none of them, and
the lists have no pages, so that a long one costs many requests; ``connector/openpanel/reports/lists.py`` reads them.
"""

from dataclasses import dataclass

from connector.stream import Column, Query, Stream, Window

# OpenPanel writes two NUL characters for an unknown country, wherever it names a country.
NO_COUNTRY = ("\x00\x00",)


@dataclass(frozen=True)
class EntryExitQuery(Query):
    """The pages that sessions of a day began and ended with."""


@dataclass(frozen=True)
class SessionsQuery(Query):
    """The sessions that began on a day."""


@dataclass(frozen=True)
class ProfilesQuery(Query):
    """All profiles as they are now."""


@dataclass(frozen=True)
class GroupsQuery(Query):
    """All groups as they are now."""


_LOCAL_DAYS = Window(start="startDate", end="endDate", end_inclusive=True)
_INSIGHTS_PAGE = "https://openpanel.dev/docs/api/insights"
_PROJECT = Column(field="project_id", type="VARCHAR", description="OpenPanel project.")

INSIGHTS_ENTRY_EXIT = Stream(
    vendor="openpanel",
    name="insights_entry_exit",
    path="/insights/{project}/pages/entry_exit",
    query=EntryExitQuery(),
    by_default=False,
    may_be_cut=True,
    days="local",
    grain="one row per page, mode (entry or exit) and day",
    primary_key=("project_id", "date", "mode", "origin", "path"),
    replication_key="date",
    window=_LOCAL_DAYS,
    source="CONTRACT.md 8",
    docs_url=_INSIGHTS_PAGE,
    columns=(
        Column(field="projectId", type="VARCHAR", description="OpenPanel project."),
        Column(field="date", type="DATE", description="Day in the organization's timezone."),
        Column(field="mode", type="VARCHAR", description="Whether sessions began (entry) or ended (exit) there."),
        Column(field="origin", type="VARCHAR", description="Scheme and host."),
        Column(field="path", type="VARCHAR", description="Path; empty if the session has none."),
        Column(field="sessions", type="BIGINT", description="Sessions that began or ended there."),
        Column(field="pageviews", type="BIGINT", description="Page views of these sessions, of any page."),
        Column(field="revenue", type="DOUBLE", description="Of these sessions; smallest currency unit (cents)."),
    ),
)


def _texts(*described: tuple[str, str]) -> tuple[Column, ...]:
    return tuple(Column(field=field, type="VARCHAR", description=text) for field, text in described)


SESSIONS = Stream(
    vendor="openpanel",
    name="sessions",
    path="/insights/{project}/sessions",
    query=SessionsQuery(),
    by_default=False,
    counted=True,  # `metrics` tells the sessions of a day
    days="local",
    grain="one row per session, as the server keeps it",
    primary_key=("id",),
    replication_key="created_at",
    window=_LOCAL_DAYS,
    lookback_days=3,  # a session grows until it is closed, and late events may change it
    source="CONTRACT.md 8",
    docs_url=_INSIGHTS_PAGE,
    columns=(
        Column(field="id", type="VARCHAR", description="Session; `session_id` of its events.", personal=True),
        _PROJECT,
        Column(
            field="profile_id",
            type="VARCHAR",
            description="The last person identified in it; the device's id while anonymous.",
            personal=True,
            identifies="person",
        ),
        Column(field="device_id", type="VARCHAR", description="Device.", personal=True, identifies="device"),
        Column(field="groups", type="VARCHAR[]", description="Groups of its events."),
        Column(field="created_at", type="TIMESTAMPTZ", description="Its first event; UTC, ms."),
        Column(field="ended_at", type="TIMESTAMPTZ", description="Its last event; UTC, ms."),
        Column(field="is_bounce", type="BOOLEAN", description="Whether it has at most one page view."),
        *_texts(
            ("entry_origin", "Scheme and host of the first page."),
            ("entry_path", "The first path that is not empty."),
            ("exit_origin", "Scheme and host of the last page."),
            ("exit_path", "The last path that is not empty."),
        ),
        Column(field="screen_view_count", type="BIGINT", description="Page views."),
        Column(field="revenue", type="DOUBLE", description="Smallest currency unit (cents)."),
        Column(field="event_count", type="BIGINT", description="Events that are no page views."),
        Column(field="duration", type="BIGINT", description="Milliseconds from the first to the last event."),
        Column(field="country", type="VARCHAR", absent=NO_COUNTRY, description="ISO 3166 two-letter code."),
        *_texts(("region", "Subdivision of the country."), ("city", "City; empty if unknown.")),
        Column(field="longitude", type="DOUBLE", description="Degrees east.", personal=True),
        Column(field="latitude", type="DOUBLE", description="Degrees north.", personal=True),
        *_texts(
            ("device", "desktop, mobile, tablet or another type."),
            ("brand", "Brand of the device."),
            ("model", "Model of the device."),
            ("browser", "Browser."),
            ("browser_version", "Version of the browser."),
            ("os", "Operating system."),
            ("os_version", "Version of the operating system."),
            ("utm_medium", "utm_medium of the first page's address."),
            ("utm_source", "utm_source of the first page's address."),
            ("utm_campaign", "utm_campaign of the first page's address."),
            ("utm_content", "utm_content of the first page's address."),
            ("utm_term", "utm_term of the first page's address."),
            ("referrer", "Referring address."),
            ("referrer_name", "Known name of the referrer, such as Google."),
            ("referrer_type", "Kind of referrer, such as search or social."),
        ),
        Column(field="sign", type="BIGINT", description="1; the server's own mark of a valid version."),
        Column(field="version", type="BIGINT", description="The server's count of versions; the newest is landed."),
    ),
)

PROFILES = Stream(
    vendor="openpanel",
    name="profiles",
    path="/insights/{project}/profiles",
    query=ProfilesQuery(),
    by_default=False,
    history=True,
    days="none",
    grain="one row per profile, known or anonymous, that was ever listed",
    primary_key=("id",),
    replication_key="created_at",
    window=_LOCAL_DAYS,
    source="CONTRACT.md 8",
    docs_url=_INSIGHTS_PAGE,
    columns=(
        Column(
            field="id",
            type="VARCHAR",
            description="Person; the device's id while anonymous. `profile_id` of events.",
            personal=True,
            identifies="person",
        ),
        _PROJECT,
        Column(field="first_name", type="VARCHAR", description="First name; empty if unknown.", personal=True),
        Column(field="last_name", type="VARCHAR", description="Last name; empty if unknown.", personal=True),
        Column(field="email", type="VARCHAR", description="E-mail; empty if unknown.", personal=True),
        Column(field="avatar", type="VARCHAR", description="Address of a picture; empty if unknown.", personal=True),
        Column(
            field="properties",
            type="JSON",
            description="What was sent about the person, and the last device: flat, dotted keys, every value a text.",
            personal=True,
        ),
        Column(field="is_external", type="BOOLEAN", description="Whether the person was identified."),
        Column(field="created_at", type="TIMESTAMPTZ", description="When the profile was made; UTC."),
        Column(field="last_seen_at", type="TIMESTAMPTZ", description="When it was last written; UTC; newer servers."),
        Column(field="groups", type="VARCHAR[]", description="Groups (companies) the person belongs to."),
    ),
)

GROUPS = Stream(
    vendor="openpanel",
    name="groups",
    path="/insights/{project}/groups",
    query=GroupsQuery(),
    by_default=False,
    history=True,
    may_be_cut=True,
    days="none",
    grain="one row per group that was ever listed",
    primary_key=("id",),
    replication_key="created_at",
    window=_LOCAL_DAYS,
    source="CONTRACT.md 8",
    docs_url=_INSIGHTS_PAGE,
    columns=(
        Column(field="id", type="VARCHAR", description="Group, such as a company; an item of `groups` of events."),
        Column(field="projectId", type="VARCHAR", description="OpenPanel project."),
        Column(field="type", type="VARCHAR", description="Kind of group, such as company."),
        Column(field="name", type="VARCHAR", description="Name."),
        Column(field="properties", type="JSON", description="What was sent about the group: flat, every value a text."),
        Column(field="createdAt", type="TIMESTAMPTZ", description="When the group was made; UTC."),
        Column(field="updatedAt", type="TIMESTAMPTZ", description="When it was last written; UTC; 1970 if never."),
    ),
)

LISTS: tuple[Stream, ...] = (INSIGHTS_ENTRY_EXIT, SESSIONS, PROFILES, GROUPS)
