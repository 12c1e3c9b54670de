"""Sample events for any day: product analytics with a weekly rhythm. The same seed gives the same sample.

Known people of the companies use the product, and anonymous visitors read the public pages. Some visits of every day
are harder to keep as sessions: events without a path, visitors who log in on the way, two people on one device, and
visits that were imported. Every day is independent of the others.
"""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from connector.sandbox.openpanel.sessions import IMPORT_SDK
from connector.sandbox.people import DEVICES, PLACES, PRICES, Company, Person, companies, instant, people, pick

SITE = "https://app.example.com"
SIGNUP_CYCLE = 120  # every person signs up once in this many days
# referrer, name, type, utm source, medium, campaign, weight
_SOURCES: tuple[tuple[str, str, str, str, str, str, int], ...] = (
    ("", "", "", "", "", "", 46),
    ("https://www.google.com", "Google", "search", "", "", "", 22),
    ("https://www.google.com", "Google", "search", "google", "cpc", "brand", 8),
    ("https://www.linkedin.com", "LinkedIn", "social", "linkedin", "paid social", "launch", 6),
    ("https://github.com", "GitHub", "tech", "", "", "", 8),
    ("https://news.ycombinator.com", "Hacker News", "social", "", "", "", 4),
    ("", "", "", "newsletter", "email", "monthly", 6),
)
_PUBLIC = ("/", "/pricing", "/docs", "/docs/quickstart", "/blog", "/blog/hello-world", "/about", "/customers")
_INSIDE = ("/dashboard", "/reports", "/reports/weekly", "/settings", "/settings/team", "/projects", "/projects/new")
# Visits that are harder to keep as sessions: name, path and person of each event. None is the anonymous visitor; a
# number is one of two known people on the same device.
_HARD_VISITS: tuple[tuple[tuple[str, str, int | None], ...], ...] = (
    (("app_opened", "", 0), ("screen_view", "/dashboard", 0), ("screen_view", "", 0)),
    (("screen_view", "", 0), ("screen_view", "/reports", 0), ("search", "", 0)),
    (("screen_view", "", None), ("screen_view", "", None)),
    (("screen_view", "/pricing", None), ("app_sent_to_background", "", None)),
    (("screen_view", "/", None), ("screen_view", "/dashboard", 0), ("logged_out", "", None)),
    (("screen_view", "/dashboard", 0), ("screen_view", "/projects", 1)),
)
_IMPORTED_VISITS: tuple[tuple[tuple[str, str, int | None], ...], ...] = (
    (("screen_view", "", None), ("screen_view", "/", 0), ("screen_view", "", 1)),
    (("screen_view", "/docs", None),),
)
_FEATURES = ("report_exported", "project_created", "invite_sent", "filter_saved", "search")


@dataclass
class Sample:
    """What a vendor stores for a sample, as keyword arguments; ``records`` are notes about event names."""

    events: list[dict[str, Any]] = field(default_factory=list)
    profiles: list[dict[str, Any]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)


def sample(first: date, last: date, seed: int = 1) -> Sample:
    """The sample of the days ``first`` to ``last``; within each day, events are in order of time."""
    found = Sample()
    known = people(seed)
    for offset in range((last - first).days + 1):
        found.events += sample_day(first + timedelta(days=offset), seed, known)
    seen: dict[str, int] = {}
    for event in found.events:
        seen[event["profile_id"]] = max(event["at"], seen.get(event["profile_id"], 0))
    for person in known:
        found.profiles.append(_profile(person, seen.get(person.id)))
    for company in companies(seed):
        found.groups.append(_group(company))
    made = instant(date(2025, 6, 1))
    found.records = [
        {"name": "signup", "conversion": True, "color": "green", "icon": "UserPlus", "created_at": made},
        {"name": "revenue", "conversion": True, "color": "yellow", "icon": "DollarSign", "created_at": made},
    ]
    for record in found.records:
        record["description"] = f"Conversion: {record['name']}"
    return found


def sample_day(day: date, seed: int = 1, known: list[Person] | None = None) -> list[dict[str, Any]]:
    """The events of one day: about a thousand on a working day, a few hundred on a weekend."""
    chance = random.Random(f"{seed} {day}")
    known = known or people(seed)
    weekend = day.weekday() >= 5
    visits = round((64 if weekend else (205, 225, 230, 215, 185)[day.weekday()]) * chance.uniform(0.85, 1.15))
    rows: list[dict[str, Any]] = []
    arriving = [person for person in known if person.number % SIGNUP_CYCLE == day.toordinal() % SIGNUP_CYCLE]
    for person in arriving:
        rows += _visit(chance, day, person, signing_up=True)
    for _ in range(visits - len(arriving)):
        rows += _visit(chance, day, chance.choice(known) if chance.random() < 0.45 else None)
    rows += _hard_visits(day, seed, known)
    rows.sort(key=lambda row: (row["at"], row["id"]))
    _store_twice(chance, rows)
    return rows


def _store_twice(chance: random.Random, rows: list[dict[str, Any]]) -> None:
    """Add duplicates: some rows with the same id, as after a repeated flush, and one redelivered with another id."""
    rows += [dict(row) for row in chance.sample(rows, max(1, len(rows) // 300))]
    redelivered = dict(chance.choice(rows))
    redelivered["id"] = _uuid(chance)
    rows.append(redelivered)


def _visit(
    chance: random.Random, day: date, person: Person | None, signing_up: bool = False
) -> Iterator[dict[str, Any]]:
    start = instant(day) + int(min(max(chance.gauss(13.5, 3.6), 0.05), 23.2) * 3_600_000)
    end_of_day = instant(day) + 86_400_000 - 2_000
    if person is None:
        device_id, device, place = (f"{chance.getrandbits(128):032x}", pick(chance, DEVICES), pick(chance, PLACES))
    else:
        device_id, device, place = person.device_id, person.device, person.place
    source = pick(chance, _SOURCES if person is None or signing_up else _SOURCES[:1])
    common = _common(chance, device_id, device, place, source, person)
    at, views, inside = start, 0, person is not None
    steps = list(_steps(chance, person, signing_up))
    for step, (name, path, properties, more) in enumerate(steps):
        if at >= end_of_day:
            break
        shown = dict(properties)
        if step == 0 and source[3]:
            shown |= {"__query": {"utm_source": source[3], "utm_medium": source[4], "utm_campaign": source[5]}}
        row = {**common, "id": _uuid(chance), "at": at, "name": name, "path": path, "properties": shown, **more}
        if step == 0:
            yield {**row, "id": _uuid(chance), "at": at - 100, "name": "session_start"}
        yield row
        views += name == "screen_view"
        last = row
        at += chance.randint(800, 90_000 if inside else 45_000)
    bounce = {"__bounce": views < 2}
    yield {
        **last,
        "id": _uuid(chance),
        "at": last["at"] + 1000,
        "name": "session_end",
        "properties": bounce,
        "revenue": 0,
    }


def _hard_visits(day: date, seed: int, known: list[Person]) -> Iterator[dict[str, Any]]:
    """The visits of a day that are harder to keep as sessions; two of them are imported."""
    chance = random.Random(f"{seed} {day} hard visits")
    for steps in _HARD_VISITS:
        yield from _stepwise(chance, day, chance.sample(known, 2), steps, (100, 1000, "web"))
    for steps in _IMPORTED_VISITS:
        for row in _stepwise(chance, day, chance.sample(known, 2), steps, (1000, 1000, IMPORT_SDK)):
            yield {**row, "imported_at": instant(day) + 86_399_000, "groups": []}


def _stepwise(
    chance: random.Random,
    day: date,
    people: list[Person],
    steps: tuple[tuple[str, str, int | None], ...],
    marks: tuple[int, int, str],
) -> Iterator[dict[str, Any]]:
    """One visit. ``marks``: milliseconds of session_start before, of session_end after the events, and their SDK."""
    device_id = f"{chance.getrandbits(128):032x}"
    common = _common(chance, device_id, pick(chance, DEVICES), pick(chance, PLACES), _SOURCES[0], None)
    at = instant(day) + chance.randint(2 * 3_600_000, 22 * 3_600_000)
    before, after, sdk = marks
    rows: list[dict[str, Any]] = []
    for name, path, person in steps:
        row = {**common, "id": _uuid(chance), "at": at, "name": name, "path": path, "properties": {}}
        if person is not None:
            row |= {"profile_id": people[person].id, "groups": [people[person].company.id]}
        rows.append(row)
        at += chance.randint(2_000, 60_000)
    first, last = rows[0], rows[-1]
    yield {**first, "id": _uuid(chance), "at": first["at"] - before, "name": "session_start", "sdk_name": sdk}
    yield from rows
    yield {**last, "id": _uuid(chance), "at": last["at"] + after, "name": "session_end", "sdk_name": sdk}


def _steps(
    chance: random.Random, person: Person | None, signing_up: bool
) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Name, path, properties and extra columns of each event of a visit."""

    def view(path: str) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
        title = path.strip("/").replace("/", " - ").replace("-", " ").title() or "Home"
        return "screen_view", path, {"__title": title}, {}

    if person is None or signing_up:
        for path in ["/", *chance.choices(_PUBLIC, k=chance.choice((0, 0, 1, 1, 2, 3)))]:
            yield view(path)
        if chance.random() < 0.12:
            yield ("link_out", "/docs", {"href": "https://github.com/example/app", "text": "Source"}, {})
    if person is None:
        return
    if signing_up:
        yield ("signup", "/signup", {"plan": person.company.plan, "method": chance.choice(("email", "google"))}, {})
        if person.company.plan in PRICES:
            amount = PRICES[person.company.plan]
            yield ("revenue", "/billing", {"currency": "USD", "plan": person.company.plan}, {"revenue": amount})
    for _ in range(chance.choice((1, 2, 2, 3, 3, 4, 5, 7))):
        path = chance.choice(_INSIDE)
        yield view(path)
        if chance.random() < 0.35:
            name = chance.choice(_FEATURES)
            yield name, path, _feature(chance, name), {}
    if not signing_up and person.company.plan in PRICES and chance.random() < 0.02:
        amount = PRICES[person.company.plan] * chance.randint(1, 3)
        yield ("revenue", "/billing", {"currency": "USD", "plan": person.company.plan}, {"revenue": amount})


def _feature(chance: random.Random, name: str) -> dict[str, Any]:
    match name:
        case "report_exported":
            return {"format": chance.choice(("pdf", "csv", "xlsx")), "rows": chance.randint(10, 5000)}
        case "project_created":
            return {"template": chance.choice(("blank", "sales", "web")), "shared": chance.random() < 0.5}
        case "invite_sent":
            return {"role": chance.choice(("editor", "viewer")), "count": chance.randint(1, 4)}
        case "search":
            return {"q": chance.choice(("churn", "Umsatz", "köp", "weekly active")), "results": chance.randint(0, 40)}
    return {"filter": {"column": chance.choice(("country", "plan")), "negated": chance.random() < 0.2}}


def _common(
    chance: random.Random,
    device_id: str,
    device: tuple[Any, ...],
    place: tuple[Any, ...],
    source: tuple[Any, ...],
    person: Person | None,
) -> dict[str, Any]:
    """The columns that all events of a visit share. One visit in ten has no known place."""
    found: dict[str, Any] = {
        "device_id": device_id,
        "profile_id": person.id if person else device_id,
        "session_id": f"{chance.getrandbits(96):024x}",
        "origin": SITE,
        "referrer": source[0],
        "referrer_name": source[1] or source[3],
        "referrer_type": source[2],
        "os": device[0],
        "os_version": device[1],
        "browser": device[2],
        "browser_version": device[3],
        "device": device[4],
        "brand": device[5],
        "model": device[6],
        "groups": [person.company.id] if person else [],
        "sdk_name": "web",
        "sdk_version": "1.0.7",
    }
    if chance.random() > 0.1:
        found |= {
            "country": place[0],
            "region": place[1],
            "city": place[2],
            "longitude": place[3],
            "latitude": place[4],
        }
    return found


def _profile(person: Person, seen: int | None) -> dict[str, Any]:
    created = instant(person.created) + person.number * 61_000
    return {
        "id": person.id,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "properties": {"role": person.role, "company": {"name": person.company.name, "plan": person.company.plan}},
        "created_at": created,
        "last_seen_at": seen or created,
        "groups": [person.company.id],
    }


def _group(company: Company) -> dict[str, Any]:
    created = instant(company.created)
    properties = {"plan": company.plan, "seats": str(company.seats)}
    return {
        "id": company.id,
        "type": "company",
        "name": company.name,
        "properties": properties,
        "created_at": created,
        "updated_at": created,
    }


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
