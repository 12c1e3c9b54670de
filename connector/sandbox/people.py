"""The people and companies that both simulated vendors know: the same seed gives the same ones.

Ids are stable (``u-0001``, ``c-01``), so both vendors have data about the same people. All of them are invented. What
they do on a day is decided in the sample of each vendor.
"""

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

PEOPLE = 240
COMPANIES = 24
PRICES = {"team": 4900, "business": 19900, "enterprise": 99000}

# country, region, city, longitude, latitude, weight
PLACES = (
    ("US", "NY", "New York", -74.006, 40.7128, 18),
    ("US", "CA", "San Francisco", -122.4194, 37.7749, 14),
    ("US", "TX", "Austin", -97.7431, 30.2672, 6),
    ("SE", "AB", "Stockholm", 18.0686, 59.3293, 12),
    ("SE", "O", "Göteborg", 11.9746, 57.7089, 6),
    ("DE", "BE", "Berlin", 13.405, 52.52, 10),
    ("DE", "BY", "München", 11.582, 48.1351, 6),
    ("GB", "ENG", "London", -0.1278, 51.5074, 10),
    ("FR", "IDF", "Paris", 2.3522, 48.8566, 6),
    ("NL", "NH", "Amsterdam", 4.9041, 52.3676, 4),
    ("JP", "13", "東京", 139.6503, 35.6762, 4),
    ("BR", "SP", "São Paulo", -46.6333, -23.5505, 4),
)
# os, version, browser, version, device, brand, model, weight
DEVICES = (
    ("Windows", "10", "Chrome", "141.0.0.0", "desktop", "", "", 34),
    ("Windows", "10", "Edge", "141.0.0.0", "desktop", "", "", 8),
    ("macOS", "10.15.7", "Chrome", "141.0.0.0", "desktop", "Apple", "Macintosh", 22),
    ("macOS", "10.15.7", "Safari", "18.6", "desktop", "Apple", "Macintosh", 10),
    ("Linux", "", "Firefox", "143.0", "desktop", "", "", 6),
    ("iOS", "18.6", "Mobile Safari", "18.6", "mobile", "Apple", "iPhone", 12),
    ("Android", "15", "Chrome", "141.0.0.0", "mobile", "Samsung", "SM-S921B", 8),
)
_FIRST = "Anna Björn Carla Dmitri Elif Fatima Goran Hana Ivo Jun Karin Liam Maya Noor Olga Pedro Quinn Rosa Sven Tuva"
_LAST = "Almeida Berg Castro Dahl Eriksson Fischer García Haas Ito Jansen Keller Lindqvist Moreau Nowak O'Brien Park"
_FIRMS = "Northwind Contoso Fabrikam Tailspin Litware Proseware Adatum Wingtip"
_KINDS = ("Logistics", "Foods", "Studios")
_PLANS = ("free", "team", "business", "enterprise")


@dataclass(frozen=True)
class Company:
    """A customer."""

    id: str
    name: str
    plan: str
    seats: int
    created: date


@dataclass(frozen=True)
class Person:
    """A known user of one company."""

    id: str
    number: int
    first_name: str
    last_name: str
    email: str
    company: Company
    role: str
    created: date
    device_id: str
    device: tuple[str, ...]
    place: tuple[Any, ...]


def companies(seed: int = 1) -> list[Company]:
    """All customers."""
    chance = random.Random(f"{seed} companies")
    names = [f"{firm} {kind}" for kind in _KINDS for firm in _FIRMS.split()]
    return [
        Company(
            id=f"c-{number:02d}",
            name=names[number - 1],
            plan=chance.choices(_PLANS, (4, 5, 3, 1))[0],
            seats=chance.randint(3, 60),
            created=date(2024, 1, 1) + timedelta(days=chance.randrange(600)),
        )
        for number in range(1, COMPANIES + 1)
    ]


def people(seed: int = 1) -> list[Person]:
    """All known users."""
    chance = random.Random(f"{seed} people")
    firms = companies(seed)
    firsts, lasts = _FIRST.split(), _LAST.split()
    found = []
    for number in range(1, PEOPLE + 1):
        first, last, company = (chance.choice(firsts), chance.choice(lasts), chance.choice(firms))
        found.append(
            Person(
                id=f"u-{number:04d}",
                number=number,
                first_name=first,
                last_name=last,
                email=f"u-{number:04d}@example.com",
                company=company,
                role=chance.choice(("admin", "editor", "viewer")),
                created=company.created + timedelta(days=chance.randrange(200)),
                device_id=f"{chance.getrandbits(128):032x}",
                device=pick(chance, DEVICES),
                place=pick(chance, PLACES),
            )
        )
    return found


def pick(chance: random.Random, weighted: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:
    """A random tuple of some that end with their weight; the weight is removed."""
    return chance.choices(weighted, [item[-1] for item in weighted])[0][:-1]


def instant(day: date) -> int:
    """Midnight UTC in milliseconds."""
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    )
