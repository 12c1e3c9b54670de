"""One day of OpenPanel events, computed from their index, so that source and judge agree without sharing a file.

Event ``i`` of ``n`` is always the same text. The shape, the key order and the traps (an unknown country is two NUL
characters, property keys are dotted, profile properties are nested) are those of recorded answers of the real
server. What is invented: the mix of names and the size, about 1.07 kB per event.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from functools import cache
from hashlib import blake2b

PROJECT = "demo"
DAY = date(2024, 4, 15)
PAGE_SIZE = 1000

_MS_PER_DAY = 86_400_000
_NOW = "2026-11-20T23:15:33.968Z"

_PLACES = [
    ("SE", "Stockholm", "AB", 18.0686, 59.3293),
    ("JP", "東京", "13", 139.6503, 35.6762),
    ("US", "San Francisco", "CA", -122.4194, 37.7749),
    ("DE", "Köln", "NW", 6.9603, 50.9375),
    ("BR", "São Paulo", "SP", -46.6333, -23.5505),
    ("GB", "King's Lynn", "ENG", 0.4024, 52.7517),
    ("IN", "Bengaluru", "KA", 77.5946, 12.9716),
    ("\0\0", "", "", None, None),
]
_AGENTS = [
    ("Windows", "10", "Chrome", "124.0.0.0", "desktop", "", ""),
    ("iOS", "17.4", "Mobile Safari", "17.4", "mobile", "Apple", "iPhone"),
    ("Mac OS", "10.15.7", "Safari", "17.3.1", "desktop", "Apple", "Macintosh"),
    ("Android", "14", "Chrome", "123.0.6312.99", "mobile", "Samsung", "SM-S918B"),
    ("Linux", "", "Firefox", "125.0", "desktop", "", ""),
]
_REFERRERS = [
    ("", "", ""),
    ("https://www.google.com/", "Google", "search"),
    ("https://news.ycombinator.com/", "Hacker News", "tech"),
    ("https://t.co/", "Twitter", "social"),
]
_PATHS = ["/", "/pricing", "/checkout", "/docs/getting-started", "/blog/events", "/日本語/ページ"]
_PROPERTIES: list[tuple[str, dict[str, str]]] = [
    (
        "screen_view",
        {
            "__title": "Why we count events",
            "__query.utm_source": "newsletter",
            "__query.utm_medium": "email",
            "__query.utm_campaign": "spring-2024",
            "__hash": "#section-3",
        },
    ),
    ("screen_view", {"__title": "Pricing", "theme": "dark", "locale": "sv-SE", "viewport": "1512x982"}),
    (
        "cart_updated",
        {
            "items.0.sku": "SKU-00017",
            "items.0.price": "12.50",
            "items.1.sku": "SKU-00391",
            "items.1.price": "99.00",
            "filters.color.0": "red",
            "filters.color.1": "blå",
        },
    ),
    ("button_click", {"label": 'Say "hello"', "nested.a.b": "8881", "nested.list.0": "x", "nested.list.1": "y"}),
    ("session_end", {"__bounce": "true"}),
    ("session_start", {"__title": "Getting started", "__query.ref": "docs", "experiment.id": "exp-42"}),
    ("link_out", {"href": "https://example.com/a/path?with=a&query=string", "text": "Read more →"}),
    ("revenue", {"plan": "team", "seats": "12", "currency": "EUR", "invoice.id": "inv_0001"}),
]


def _fields(value: dict[str, object]) -> str:
    """Compact JSON without the outer braces, as JSON.stringify writes it (no ASCII escapes)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))[1:-1].replace("%", "%%")


def _static(index: int) -> str:
    """Everything of an event that does not depend on its id, time or person: one of a few hundred templates."""
    place = _PLACES[index % len(_PLACES)]
    agent = _AGENTS[index // 3 % len(_AGENTS)]
    referrer = _REFERRERS[index // 5 % len(_REFERRERS)]
    name, properties = _PROPERTIES[index % len(_PROPERTIES)]
    parts = [
        '{"id":"%s",',
        _fields({"name": name}),
        ',"deviceId":"%s","profileId":"%s",',
        _fields({"projectId": PROJECT}),
        ',"sessionId":"%s",',
        _fields({"properties": properties}),
        ',"createdAt":"%s",',
        _fields({"country": place[0], "city": place[1], "region": place[2]}),
        ",",
        _fields({"longitude": place[3], "latitude": place[4]}),
        ",",
        _fields(
            dict(zip(("os", "osVersion", "browser", "browserVersion", "device", "brand", "model"), agent, strict=True))
        ),
        ",",
        _fields({"path": _PATHS[index // 7 % len(_PATHS)], "origin": "https://example.com"}),
        ",",
        _fields(dict(zip(("referrer", "referrerName", "referrerType"), referrer, strict=True))),
    ]
    if name == "revenue":  # only events somebody described in the dashboard carry a meta row
        meta = {
            "id": "0980e8f3-1b92-4c75-b522-9c915807c0bb",
            "name": name,
            "conversion": True,
            "color": "blue",
            "icon": "Eye",
            "projectId": PROJECT,
            "createdAt": _NOW,
            "updatedAt": _NOW,
        }
        parts.append("," + _fields({"meta": meta}))
    parts += [
        ",",
        _fields({"sdkName": "web", "sdkVersion": "1.0.7"}),
        ',"profile":%s,',
        _fields({"revenue": 4900 if name == "revenue" else 0}),
        ',"groups":%s}',
    ]
    return "".join(parts)


_TEMPLATES = [_static(index) for index in range(840)]


@cache
def _person(number: int) -> tuple[str, str, str, str]:
    """Device id, profile id, profile object and groups of one visitor; three in ten are anonymous."""
    device = blake2b(b"device %d" % number, digest_size=16).hexdigest()
    if number % 10 < 3:
        profile_id, groups = device, "[]"
        profile = {"firstName": "", "lastName": "", "isExternal": False, "properties": {}}
    else:
        profile_id, groups = f"user_{number}", f'["org_{number % 97}"]'
        profile = {
            "firstName": "Åsa",
            "lastName": "Svensson",
            "isExternal": True,
            "properties": {
                "tier": ("free", "team", "enterprise")[number % 3],
                "visits": str(number % 211),
                "address": {"city": "King's Lynn"},
                "note": 'ünï "q"',
            },
        }
    profile |= {
        "createdAt": "2023-11-13T11:53:51.331Z",
        "lastSeenAt": _NOW,
        "projectId": PROJECT,
        "id": profile_id,
        "email": f"{profile_id}@example.com" if profile["isExternal"] else "",
        "avatar": "",
        "groups": json.loads(groups),
    }
    return device, profile_id, json.dumps(profile, ensure_ascii=False, separators=(",", ":")), groups


def _id(index: int) -> str:
    """A UUID v4 as OpenPanel mints them: random to look at, the same on every run."""
    h = blake2b(index.to_bytes(8, "big"), digest_size=16).hexdigest()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[index & 3]}{h[17:20]}-{h[20:]}"


def _ms_of_day(index: int, total: int) -> int:
    return _MS_PER_DAY - 1 - index * (_MS_PER_DAY // total)


def event(index: int, total: int, day: date = DAY) -> str:
    """The JSON text of event ``index`` of ``total``, newest first."""
    seconds, ms = divmod(_ms_of_day(index, total), 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    number = index * 7919 % 20_011
    device, profile_id, profile, groups = _person(number)
    created_at = f"{day.isoformat()}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
    return _TEMPLATES[index % len(_TEMPLATES)] % (
        _id(index),
        device,
        profile_id,
        device[:22],
        created_at,
        profile,
        groups,
    )


def page(number: int, total: int, limit: int = PAGE_SIZE, day: date = DAY) -> bytes:
    """One answer of ``/export/events``: the envelope around rows ``(number - 1) * limit`` and on."""
    first = (number - 1) * limit
    rows = [event(index, total, day) for index in range(first, min(first + limit, total))]
    pages = -(-total // limit)
    head = f'{{"meta":{{"count":{len(rows)},"totalCount":{total},"pages":{pages},"current":{number}}},"data":['
    return (head + ",".join(rows) + "]}").encode()


def fingerprint(total: int, day: date = DAY) -> dict[str, int]:
    """What a table must sum up to if it holds these very events: cheap here, cheap in SQL, blind to row order."""
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    return {
        "rows": total,
        "ids": total,
        "id_sum": sum(int(_id(index)[:8], 16) for index in range(total)),
        "ms_sum": sum(midnight + _ms_of_day(index, total) for index in range(total)),
        "properties": total,
    }
