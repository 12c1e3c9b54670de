"""One script per contender, each its own process, so that imports and interpreter are counted too.

A contender reads its :class:`Task` from the command line, lands the day into one DuckDB file and says where. It judges
nothing about itself: the runner opens the file afterwards. Standard library only, because every environment loads this.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

UNAVAILABLE = 69  # EX_UNAVAILABLE: this machine or this checkout cannot run the contender; not a failure

INCLUDES = (
    "properties,region,longitude,latitude,osVersion,browserVersion,device,brand,model,origin,"
    "referrer,referrerName,referrerType,importedAt,sdkName,sdkVersion,revenue,groups,profile,meta"
)

# The fields as sent, in the order sent, and what a careful hand would type them as.
COLUMNS = {
    "id": "VARCHAR",
    "name": "VARCHAR",
    "deviceId": "VARCHAR",
    "profileId": "VARCHAR",
    "projectId": "VARCHAR",
    "sessionId": "VARCHAR",
    "properties": "JSON",
    "createdAt": "TIMESTAMPTZ",
    "country": "VARCHAR",
    "city": "VARCHAR",
    "region": "VARCHAR",
    "longitude": "DOUBLE",
    "latitude": "DOUBLE",
    "os": "VARCHAR",
    "osVersion": "VARCHAR",
    "browser": "VARCHAR",
    "browserVersion": "VARCHAR",
    "device": "VARCHAR",
    "brand": "VARCHAR",
    "model": "VARCHAR",
    "path": "VARCHAR",
    "origin": "VARCHAR",
    "referrer": "VARCHAR",
    "referrerName": "VARCHAR",
    "referrerType": "VARCHAR",
    "importedAt": "TIMESTAMPTZ",
    "meta": "JSON",
    "sdkName": "VARCHAR",
    "sdkVersion": "VARCHAR",
    "profile": "JSON",
    "revenue": "BIGINT",
    "groups": "VARCHAR[]",
}

EXPORT_COLUMNS = {
    "app_token": "VARCHAR",
    "event_type": "VARCHAR",
    "event_name": "VARCHAR",
    "source": "VARCHAR",
    "user_id": "VARCHAR",
    "company_id": "VARCHAR",
    "inserted_at": "TIMESTAMPTZ",
    "internal_event_id": "VARCHAR",
    "hostname": "VARCHAR",
    "pathname": "VARCHAR",
    "screen_width": "BIGINT",
    "screen_height": "BIGINT",
    "device_type": "VARCHAR",
    "user_agent": "VARCHAR",
    "operating_system": "VARCHAR",
    "browser": "VARCHAR",
    "browser_language": "VARCHAR",
    "session": "VARCHAR",
    "country_code": "VARCHAR",
    "metadata": "JSON",
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One day to land, from where, into which folder."""

    url: str
    day: str
    project: str
    client_id: str
    client_secret: str
    out: Path
    mode: str

    @property
    def database(self) -> Path:
        """The file the day goes into; the runner watches its lock."""
        return self.out / "bench.duckdb"

    @property
    def headers(self) -> dict[str, str]:
        """Credentials as OpenPanel takes them."""
        return {"openpanel-client-id": self.client_id, "openpanel-client-secret": self.client_secret}

    @property
    def params(self) -> dict[str, str | int]:
        """The query every contender sends, but for ``page``."""
        return {"projectId": self.project, "start": self.day, "end": self.day, "limit": 1000, "includes": INCLUDES}

    def done(self, table: str, **facts: float) -> None:
        """Say which table holds the day, and whatever the contender knows about its own run (seconds, counts)."""
        (self.out / "result.json").write_text(json.dumps({"table": table, "facts": facts}))


def read_task() -> Task:
    """The task from the command line."""
    parser = argparse.ArgumentParser()
    for name in ("url", "day", "project", "client-id", "client-secret", "mode"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--out", type=Path, required=True)
    return Task(**vars(parser.parse_args()))


def unavailable(reason: str) -> NoReturn:
    """Leave without a result; the runner prints the reason in place of numbers."""
    print(reason, file=sys.stderr)
    raise SystemExit(UNAVAILABLE)
