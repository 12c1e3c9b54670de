"""Sample in-app events of a product for any day. The same seed gives the same sample.

The people and companies are those of the other vendor; features, flows and surveys are those of the lookups. Like real
exports, every day contains a true duplicate, two events that differ only in their metadata, and events that arrive
days late.
"""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from connector.sandbox.people import PRICES, Company, Person, companies, people
from connector.sandbox.userpilot.lookup_tables import BANNERS, CHECKLISTS, EVENTS, FEATURES, FLOWS, SPOTLIGHTS, SURVEYS
from connector.sandbox.userpilot.store import DAY_US, Event, day_start

HOST = "app.example.com"
SECOND = 1_000_000
HOUR = 3600 * SECOND
SLOW = 20 * SECOND  # from an event until it can be exported
IMPORTED_AT = 9 * HOUR + 30 * 60 * SECOND
_PAGES = ("/dashboard", "/reports", "/reports/weekly", "/settings", "/settings/team", "/projects", "/projects/new")
_SCREENS = {"desktop": ((1920, 1080), (2560, 1440), (1440, 900)), "mobile": ((390, 844), (412, 915))}
_LANGUAGES = {"US": "en-US", "GB": "en-GB", "SE": "sv-SE", "DE": "de-DE", "FR": "fr-FR", "NL": "nl-NL"}
_LANGUAGES |= {"JP": "ja-JP", "BR": "pt-BR"}


def sample(first: date, last: date, seed: int = 1) -> list[Event]:
    """The events that arrive on the days ``first`` to ``last``; late ones may have happened before ``first``."""
    known = people(seed)
    found: list[Event] = []
    for offset in range((last - first).days + 1):
        found += sample_events(first + timedelta(days=offset), seed, known)
    return found


def members(seed: int = 1) -> dict[str, set[str]]:
    """User ids by segment id."""
    known = people(seed)
    return {
        "101": {person.id for person in known if person.role == "admin"},
        "102": {person.id for person in known if person.company.plan == "enterprise"},
        "103": {person.id for person in known if person.device[4] == "mobile"},
    }


def sample_events(day: date, seed: int = 1, known: list[Person] | None = None) -> list[Event]:
    """The events that arrive on one day: about eight hundred on a working day, two hundred on a weekend."""
    chance = random.Random(f"{seed} userpilot {day}")
    known = known or people(seed)
    visits = round((24 if day.weekday() >= 5 else 96) * chance.uniform(0.9, 1.1))
    found = [event for _ in range(visits) for event in _visit(chance, day, chance.choice(known))]
    found += _nightly(chance, day, companies(seed))
    found += _imported(chance, day, known)
    found += _twins(chance, day, known)
    again = chance.choice(found)
    found.append(Event(at=again.at, arrives=again.arrives, row=again.row))
    found.sort(key=lambda event: event.at)
    return found


def _visit(chance: random.Random, day: date, person: Person) -> Iterator[Event]:
    """One session in the product: identification, page views, used features, and what Userpilot showed."""
    at = day_start(day) + int(min(max(chance.gauss(13.0, 3.8), 0.02), 23.5) * HOUR) + chance.randrange(SECOND)
    end = day_start(day) + DAY_US
    common = _common(chance, person)
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("session_start", "", {}),
        ("identify_user", "", _user(chance, person, day)),
        ("identify_company", "", _company(person.company)),
    ]
    for _ in range(chance.choice((1, 2, 2, 3, 3, 4))):
        steps.append(("page_view", "", {"title": "Reports" if chance.random() < 0.3 else "Home"}))
        roll = chance.random()
        if roll < 0.35:
            steps.append(_tracked(chance, person))
        elif roll < 0.6:
            number, text = chance.choice(FEATURES)
            steps.append(("track_feature", str(number), {"element_text": text, "tag": "button"}))
        elif roll < 0.8:
            steps.append(("interaction", *_interaction(chance)))
    for kind, name, metadata in steps:
        if at >= end:
            return
        path = chance.choice(_PAGES)
        row = {**common, "event_type": kind, "event_name": name, "pathname": path, "metadata": metadata}
        yield Event(at=at, arrives=at + SLOW, row=row)
        at += chance.randrange(50_000, 40 * SECOND)


def _common(chance: random.Random, person: Person) -> dict[str, Any]:
    system, version, browser, browser_version, device, *_ = person.device
    width, height = _SCREENS[device][person.number % len(_SCREENS[device])]
    country = person.place[0]
    return {
        "user_id": person.id,
        "company_id": person.company.id,
        "source": "web-client",
        "hostname": HOST,
        "screen_width": width,
        "screen_height": height,
        "device_type": device if chance.random() < 0.8 else device.title(),  # real exports have both spellings
        "user_agent": f"Mozilla/5.0 ({system} {version or 'x86_64'}) {browser.replace(' ', '')}/{browser_version}",
        "operating_system": system,
        "browser": browser,
        "browser_language": _LANGUAGES[country],
        "session": str(chance.randint(1, 400)),
        "country_code": "UK" if country == "GB" else country,
    }


def _user(chance: random.Random, person: Person, day: date) -> dict[str, Any]:
    """The properties of one identify call. Some calls send only what changed."""
    if chance.random() < 0.2:
        return {"total_logins": chance.randint(2, 400)}
    return {
        "name": f"{person.first_name} {person.last_name}",
        "email": person.email,
        "role": person.role,
        "Job Title": ("Analyst", "Produktägare", "Head of Ops")[person.number % 3],
        "created_at": f"{person.created} 14:35:36.173103",
        "total_logins": (day - person.created).days % 400 + 1,
        "is_admin": person.role == "admin",
    }


def _company(company: Company) -> dict[str, Any]:
    """The properties of a company. Two keys differ only in a capital letter, as customers may choose any names."""
    return {"name": company.name, "plan": company.plan, "Plan": company.plan.title(), "seats": company.seats}


def _tracked(chance: random.Random, person: Person) -> tuple[str, str, dict[str, Any]]:
    name = chance.choices(EVENTS, (6, 4, 3, 5, 1))[0]
    match name:
        case "Report Exported":
            return "track", name, {"format": chance.choice(("pdf", "csv", "xlsx")), "rows": chance.randint(10, 5000)}
        case "Project Created":
            return "track", name, {"template": chance.choice(("blank", "sales")), "shared": chance.random() < 0.5}
        case "Invite Sent":
            return "track", name, {"role": "editor", "count": chance.randint(1, 4)}
        case "Search":
            return "track", name, {"query": chance.choice(("churn", "Umsatz", "東京", "")), "results": None}
    cents = PRICES.get(person.company.plan, 0)
    return "track", name, {"price": cents / 100, "currency": "USD", "seats": [1, person.company.seats]}


def _interaction(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """Name and metadata of an interaction. The name is ``type:id:status``; some ids contain a colon."""
    status = chance.choice(("SEEN", "SEEN", "DISMISSED", "COMPLETED"))
    match chance.randrange(6):
        case 0 | 1:
            return f"experience:{chance.choice(FLOWS)[0]}:{status}", {"step": chance.randint(1, 4)}
        case 2:
            return f"checklist:{CHECKLISTS[0][0]}:{status}", {"task_id": 20 + chance.randrange(3)}
        case 3:
            answers = [{"module_id": 310, "value": chance.randint(0, 10)}, {"module_id": 311, "value": "Läuft."}]
            return f"survey:{SURVEYS[0][0]}:{status}", {"answers": answers}
        case 4:
            return f"spotlight:{chance.choice(SPOTLIGHTS)[0]}:{status}", {}
    name = chance.choice((f"banner:{BANNERS[0][0]}:{status}", "resource_center:module:5:OPENED"))
    return name, {}


def _nightly(chance: random.Random, day: date, known: list[Company]) -> Iterator[Event]:
    """Events from a CRM about some companies at two in the morning, without user and device."""
    for place, company in enumerate(chance.sample(known, 8)):
        at = day_start(day) + 2 * HOUR + place * SECOND
        metadata = _company(company) | {"Owner": "Ines Ortega"}
        row: dict[str, Any] = {"event_type": "identify_company", "company_id": company.id, "metadata": metadata}
        row["source"] = "backend-hubspot"
        yield Event(at=at, arrives=at + SLOW, row=row)


def _imported(chance: random.Random, day: date, known: list[Person]) -> Iterator[Event]:
    """Events of the days before that arrive only today, so past days gain rows."""
    told = day_start(day) + IMPORTED_AT
    for person in chance.sample(known, 5):
        at = told - chance.randint(1, 4) * DAY_US + chance.randrange(HOUR)
        row: dict[str, Any] = {"event_type": "track", "event_name": "Plan Upgraded", "source": "backend-http"}
        row |= {"user_id": person.id, "company_id": person.company.id}
        row["metadata"] = {"imported": True, "price": 49.0}
        yield Event(at=at, arrives=told, row=row)


def _twins(chance: random.Random, day: date, known: list[Person]) -> Iterator[Event]:
    """One call that was split in two in the same microsecond: equal keys, different payloads, both real."""
    for person in chance.sample(known, 2):
        at = day_start(day) + chance.randrange(DAY_US)
        row = {"event_type": "identify_user", "user_id": person.id, "source": "backend-segment"}
        row |= {"company_id": person.company.id}
        for metadata in ({"role": person.role}, {"email": person.email, "newsletter": chance.random() < 0.5}):
            yield Event(at=at, arrives=at + SLOW, row={**row, "metadata": metadata})
