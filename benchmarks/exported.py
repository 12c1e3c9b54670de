"""An export of Userpilot events as its files, computed from event numbers, and what a table of them must sum up to.

One file a day, gzip of JSON lines, about 590 bytes an event before compression: the fields and their order are those of
the vendor's pages. What is invented: the mix of names, pages and people. Files are made once and kept in ``.bench/``.
"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

FIRST = date(2024, 4, 15)
APP = "NX-1a2b3c4d"

_US_PER_DAY = 86_400_000_000
_KINDS = [
    ("page_view", ""),
    ("track", "Subscription Purchased"),
    ("track_feature", "84"),
    ("interaction", "flow:17:completed"),
    ("page_view", ""),
    ("track", r"Report \"Weekly\" exported"),
    ("identify_user", ""),
    ("identify_company", ""),
]
_AGENTS = [
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
     "Windows", "Chrome", "desktop", 1920, 1080),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
     "iOS", "Safari", "mobile", 390, 844),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
     "Linux", "Firefox", "Desktop", 2560, 1440),
]  # fmt: skip
_METADATA = [
    '{"subscription_id":"sub-%06d","plan":"team","seats":12}',
    '{"title":"Schöne Übersicht","filters":["a","b"],"number":%d}',
    '{"nested":{"a":{"b":%d}},"note":"ünï \\"q\\""}',
]
_COUNTRIES, _PATHS = ("SE", "DE", "US", "JP", "UK"), ("/", "/reports/weekly", "/settings/team", "/日本語")


def _static(index: int) -> str:
    kind, name = _KINDS[index % len(_KINDS)]
    agent, system, browser, device, width, height = _AGENTS[index // 3 % len(_AGENTS)]
    head = f'{{"app_token":"{APP}","event_type":"{kind}","event_name":"{name}","source":"web-client",'
    tail = json.dumps(
        {
            "hostname": "app.example.com",
            "pathname": _PATHS[index // 5 % len(_PATHS)],
            "screen_width": width,
            "screen_height": height,
            "device_type": device,
            "user_agent": agent,
            "operating_system": system,
            "browser": browser,
            "browser_language": "de-DE",
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )[1:-1]
    return (
        head
        + '"user_id":"%s","company_id":"%s","inserted_at":"%s","internal_event_id":"%s",'
        + tail
        + f',"session":"%s","country_code":"{_COUNTRIES[index % len(_COUNTRIES)]}","metadata":'
        + _METADATA[index % len(_METADATA)]
        + "}\n"
    )


_TEMPLATES = [_static(index) for index in range(120)]


def _microseconds(index: int, a_day: int) -> int:
    return index * (_US_PER_DAY // a_day)


def lines(day: int, events: int) -> str:
    """The events of day number ``day``, oldest first, as one text."""
    date_text, found = (FIRST + timedelta(days=day)).isoformat(), []
    for index in range(events):
        seconds, us = divmod(_microseconds(index, events), 1_000_000)
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        person = (index * 7919 + day) % 20_011
        found.append(
            _TEMPLATES[index % len(_TEMPLATES)]
            % (
                f"user_{person}",
                f"org_{person % 97}",
                f"{date_text}T{hour:02}:{minute:02}:{second:02}.{us:06}Z",
                (day * 1_000_003 + index) * 2_654_435_761 % 2**64,
                index % 9_973,
                index % 1_000_000,
            )
        )
    return "".join(found)


def files(folder: Path, events: int, chunks: int) -> list[Path]:
    """The export's files below ``folder``, made if they are not there yet."""
    folder = folder / f"export-{events}-{chunks}"
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{(FIRST + timedelta(days=day)).isoformat()}.json.gz" for day in range(chunks)]
    for day, path in enumerate(made):
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            with gzip.open(unfinished, "wb", compresslevel=6) as file:
                file.write(lines(day, events // chunks).encode())
            unfinished.replace(path)
    return made


def fingerprint(events: int, chunks: int) -> dict[str, int]:
    """What a table must sum up to if it holds these very events."""
    a_day = events // chunks
    ms = sum(_microseconds(index, a_day) // 1000 for index in range(a_day))
    midnights = [
        int(datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), UTC).timestamp() * 1000)
        for day in range(chunks)
    ]
    return {
        "rows": a_day * chunks,
        "ids": a_day * chunks,
        "ms_sum": ms * chunks + a_day * sum(midnights),
        "metadata": a_day * chunks,
    }
