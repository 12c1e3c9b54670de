"""The items of the lookups: the features, flows and properties that the events of the sample refer to."""

import copy
from typing import Any

from connector.sandbox.userpilot.behaviour import World

Item = dict[str, Any]

FEATURES = ((668, "Export button"), (669, "New project"), (671, "Invite dialog"), (702, "Filter bar"))
EVENTS = ("Report Exported", "Project Created", "Invite Sent", "Search", "Plan Upgraded")
FLOWS = ((448, "Welcome tour"), (451, "Reports, explained"), (460, "Größere Teams"))
CHECKLISTS = ((2, "First steps", ("Create a project", "Invite a colleague", "Export a report")),)
SURVEYS = ((31, "How likely are you to recommend us?"), (32, "What is missing?"), (33, "Draft"), (34, "Old"))
BANNERS = ((77, "Maintenance on Sunday"),)
SPOTLIGHTS = ((12, "Saved filters"), (13, "Dark mode"))
MODULES = ((5, "Help articles"), (6, "What is new"))
SEGMENTS = ((101, "Admins"), (102, "Enterprise"), (103, "Mobile"))
USER_PROPERTIES = (
    ("name", "Name", "string"),
    ("email", "Email", "string"),
    ("role", "Role", "string"),
    ("Job Title", "Job Title", "string"),
    ("created_at", "Signed up", "date"),
    ("total_logins", "Total logins", "integer"),
    ("is_admin", "Is admin", "boolean"),
)
COMPANY_PROPERTIES = (("name", "Name", "string"), ("plan", "Plan", "string"), ("Plan", "Plan (CRM)", "string"))
AUTOMATIC = ("url", "page", "hostname", "pathname", "browser", "device_type", "country_code", "session")


def lookup_tables(world: World) -> dict[str, list[Item]]:
    """The lists by name, as this world writes them."""
    tables: dict[str, list[Item]] = {
        "user_properties": _properties("user_property", USER_PROPERTIES),
        "company_properties": _properties("company_property", COMPANY_PROPERTIES),
        "features_events": _features(world),
        "events_properties": _events_properties(),
        "segments": _segments(),
        "flows": [{"id": number, "title": title} for number, title in FLOWS],
        "banners": [{"id": number, "title": title} for number, title in BANNERS],
        "spotlights": [{"id": number, "title": title} for number, title in SPOTLIGHTS],
        "surveys": _surveys(),
        "resource_center_modules": [
            {"display_name": title, "key": str(number), "data_type": "module"} for number, title in MODULES
        ],
        "checklists": _checklists(world),
    }
    if world.embeds:
        tables["embeds"] = [{"id": 77, "title": BANNERS[0][1], "type": "banner"}]
        tables["embeds"].append({"id": 78, "title": "Tip of the day", "type": "card"})
    for name in world.text_ids & tables.keys():
        for item in tables[name]:
            item["id"] = str(item["id"])
    return copy.deepcopy(tables)


def _properties(kind: str, listed: tuple[tuple[str, str, str], ...]) -> list[Item]:
    return [
        {
            "id": number,
            "type": kind,
            "key": key,
            "display_name": title,
            "data_type": data_type,
            "is_auto_property": False,
        }
        for number, (key, title, data_type) in enumerate(listed, 1)
    ]


def _features(world: World) -> list[Item]:
    """Tagged features by number and tracked events by name. They have an id in only one of the readings."""
    found: list[Item] = [
        {"display_name": title, "key": str(number), "data_type": "track_feature"} for number, title in FEATURES
    ]
    found += [{"display_name": name, "key": name, "data_type": "track"} for name in EVENTS]
    if not world.tasks:
        for number, item in enumerate(found):
            item["id"] = FEATURES[number][0] if number < len(FEATURES) else 9000 + number
    return found


def _events_properties() -> list[Item]:
    """Fifty-three event properties, two pages of the usual size. A ``key`` repeats; built-in ids are negative."""
    every = {"display_name": "All events", "id": None}
    found = [
        _event_property(-2 - place, key, every, "string", place, automatic=True) for place, key in enumerate(AUTOMATIC)
    ]
    place = 0
    while len(found) < 53:
        event = EVENTS[place % len(EVENTS)]
        key = "url" if place == 0 else f"{('format', 'rows', 'template', 'query', 'count')[place % 5]} {place // 5}"
        owner = {"display_name": event, "id": 33 + place % len(EVENTS)}
        found.append(_event_property(1000 + place, key, owner, ("string", "integer")[place % 2], place))
        place += 1
    return found


def _event_property(number: int, key: str, event: Item, data_type: str, place: int, *, automatic: bool = False) -> Item:
    return {
        "category": None,
        "data_type": data_type,
        "description": None,
        "display_name": key.title() if key != "url" else "URL",
        "event": event,
        "id": number,
        "inserted_at": "2023-08-16T09:22:44+03:00",
        "is_archived": place % 17 == 16,
        "is_auto_property": automatic,
        "key": key,
        "last_seen": f"2026-02-{1 + place % 28:02d}T13:11:32+03:00",
    }


def _segments() -> list[Item]:
    usual = {"usage": "all", "category": "user_id", "is_hidden": False, "is_protected": False, "status": "published"}
    return [{"id": number, "title": title, **usual} for number, title in SEGMENTS]


def _surveys() -> list[Item]:
    """Surveys: one with modules, and one for each of the three ways to have none."""
    modules = [
        {"id": 310, "order": 1, "type": "nps", "question": SURVEYS[0][1]},
        {"id": 311, "order": 2, "type": "open_text", "question": "Why?"},
    ]
    found: list[Item] = [{"id": number, "title": title, "platform": "web"} for number, title in SURVEYS]
    for item, inside in zip(found, (modules, [], None), strict=False):
        item["modules"] = inside
    return found


def _checklists(world: World) -> list[Item]:
    if not world.tasks:
        return [
            {"display_name": title, "key": str(number), "data_type": "checklist"} for number, title, _ in CHECKLISTS
        ]
    return [
        {"id": number, "title": title, "tasks": [{"id": 20 + n, "title": task} for n, task in enumerate(tasks)]}
        for number, title, tasks in CHECKLISTS
    ]
