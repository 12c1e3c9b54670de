"""The catalogue: what OpenPanel can be asked for, one entry a stream, with the reason for every value.

Data only; the walk that reads an entry is in ``client.py``. Section numbers point into ``CONTRACT.md``.
"""

from connector.stream import Column, Stream, Window

# Unknown countries are a fixed string of two NUL characters, in every place where OpenPanel names a country.
NO_COUNTRY = ("\x00\x00",)

# Fields that come only when asked for by name. Names nobody knows are ignored, so older servers can be asked the same.
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
    "groups",  # always in the row, but [] unless asked for: an answer without asking would look like "no groups"
    "duration",  # until 2026-03-16; ignored since
    "profile",
    "meta",
)

EVENTS = Stream(
    vendor="openpanel",
    name="events",
    path="/export/events",
    grain="one row per event",
    primary_key=("id",),
    # Dates, both included: asking for day..day+1 returns two days. Given only one, the server ignores it.
    window=Window(start="start", end="end", end_inclusive=True),
    # Set by the sending device, so a phone that was offline fills in days that looked finished.
    replication_key="created_at",
    # Larger limits are cut to 1000 without a word.
    params={"limit": 1000, "includes": ON_REQUEST},
    # session_end is written about 35 minutes after a session's last event, stamped into the past.
    closes_after=1.0,
    lookback_days=3,
    source="CONTRACT.md 3",
    docs_url="https://openpanel.dev/docs/api/export",
    columns=(
        Column(field="id", type="VARCHAR", description="Event id; the server stores the same id twice now and then."),
        Column(field="name", type="VARCHAR", description="Event name, such as screen_view; case-sensitive."),
        Column(field="deviceId", type="VARCHAR", description="Device; empty for server-side and back-dated events."),
        Column(field="profileId", type="VARCHAR", description="Person; equals device_id while anonymous, or empty."),
        Column(field="projectId", type="VARCHAR", description="OpenPanel project."),
        Column(field="sessionId", type="VARCHAR", description="Session; empty where the event opened none."),
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
        ),
        Column(field="groups", type="VARCHAR[]", description="Groups (companies) the event was sent with."),
        Column(
            field="profile",
            type="JSON",
            description="The person as known when the day was read, not when the event happened; NULL if anonymous.",
            # Made up at answer time for people the server does not know, with the moment of the request inside.
            stub={"isExternal": False, "email": "", "firstName": "", "lastName": "", "properties": {}, "groups": []},
            personal=True,
        ),
        Column(field="meta", type="JSON", description="What the project configured about this event name."),
        Column(field="sdkName", type="VARCHAR", description="SDK that sent the event."),
        Column(field="sdkVersion", type="VARCHAR", description="Version of that SDK."),
        Column(field="importedAt", type="TIMESTAMPTZ", description="When a bulk import wrote the event; else NULL."),
    ),
)

STREAMS: tuple[Stream, ...] = (EVENTS,)
