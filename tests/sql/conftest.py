"""Warehouses to build models on: a week of the sandbox's sample, and four days of a real access log."""

import gzip
import json
import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from connector import EVENTS, LOOKUPS, Exports, OpenPanel, Userpilot, Warehouse, sync_day, sync_lookup
from connector.catalogue.openpanel import INSIGHTS_METRICS
from connector.sandbox import READ, USERPILOT_KEY, serve, serve_userpilot
from connector.sandbox import OpenPanel as Vendor
from connector.sandbox import Userpilot as Pilot
from connector.userpilot.exports.request import Options, Request

from .project import dbt

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 8)
DAYS = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
REAL = Path(os.environ.get("REAL_EVENTS", Path(__file__).parents[3] / "shared" / "data")) / "site_access_2015.ndjson.gz"


class Landed:
    """A warehouse and the vendors behind it; days can be landed again."""

    def __init__(self, folder, vendor, pilot=None):
        self.folder, self.vendor, self.pilot = folder, vendor, pilot
        self.path = folder / "warehouse.duckdb"

    def land(self, days, *, streams=(EVENTS,), timezone="UTC"):
        with (
            serve(self.vendor.app) as url,
            OpenPanel(
                url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo", timezone=timezone
            ) as client,
        ):
            for day in days:
                for stream in streams:
                    sync_day(
                        client, stream, day, warehouse=Warehouse(self.path), spool_dir=self.folder / "spool",
                        allow_drop=True, pauses=(0.0, 0.0),
                    )  # fmt: skip

    def export(self, first, last):
        with serve_userpilot(self.pilot) as (api, _), Userpilot(url=api, api_key=USERPILOT_KEY) as client:
            exports = Exports(client, self.folder / "spool")
            wanted = Request.checked(first, last, Options.of({}), today=datetime.now(UTC).date())
            for job in exports.wait(wanted):
                exports.land(job, warehouse=Warehouse(self.path))
            for stream in LOOKUPS:
                sync_lookup(client, stream, warehouse=Warehouse(self.path), spool_dir=self.folder / "spool")

    def copy(self, folder):
        """The same state elsewhere, with a vendor of its own, so that a test may change both."""
        vendor = Vendor()
        vendor.load_sample(FIRST, LAST)
        other = Landed(folder, vendor, self.pilot)
        shutil.copy(self.path, other.path)
        return other


@pytest.fixture(scope="session", autouse=True)
def organization_in_utc():
    """The sample's; the environment of the tests may have others."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("OPENPANEL_TIMEZONE", raising=False)
        yield


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """Both vendors' sample, landed by the connector; no test changes this one."""
    vendor, pilot = Vendor(), Pilot(seconds_to_complete=0.0)
    vendor.load_sample(FIRST, LAST)
    pilot.load_sample(FIRST, LAST)
    landed = Landed(tmp_path_factory.mktemp("sample"), vendor, pilot)
    landed.land(DAYS, streams=(EVENTS, INSIGHTS_METRICS))
    landed.export(FIRST, LAST)
    return landed


@pytest.fixture(scope="session")
def built(sample):
    """The sample with every model built and tested, and what dbt said of each."""
    sample.results = dbt("build", warehouse=sample.path)
    return sample


def real_rows():
    """The log as a product would have sent it: every third visitor is known, and known ones have a company."""
    with gzip.open(REAL, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            number = int("".join(filter(str.isdigit, row["visitor_id"])) or 0)
            known = number % 3 == 0
            yield {
                "id": row["event_id"],
                "name": "screen_view" if row["event"] == "page_viewed" else row["event"],
                "created_at": row["ts"],
                "device_id": row["visitor_id"],
                "profile_id": f"user-{number}" if known else row["visitor_id"],
                "session_id": row["session_id"],
                "path": row["path"] or "",
                "origin": "https://www.example.com",
                "referrer": row["referrer"] or "",
                "groups": [f"company-{number % 7}"] if known else [],
                "properties": {},
            }


FUNNELS_OF_THE_LOG = [
    {
        "name": "reading",
        "steps": ["screen_view", "asset_requested", "screen_view"],
        "within_hours": 24,
        "by": "visitor",
    },
    {"name": "sitting", "steps": ["screen_view", "asset_requested"], "within_hours": 1, "by": "session"},
]


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """Four days of a real access log, landed and built."""
    if not REAL.exists():
        pytest.skip(f"{REAL.name} is not in {REAL.parent.name}/: set REAL_EVENTS to the folder that holds it")
    vendor = Vendor()
    rows = list(real_rows())
    vendor.load(rows)
    landed = Landed(tmp_path_factory.mktemp("real"), vendor)
    landed.land(sorted({date.fromisoformat(row["created_at"][:10]) for row in rows}))
    dbt(
        "build",
        "--exclude-resource-type",
        "unit_test",
        warehouse=landed.path,
        variables={"funnels": FUNNELS_OF_THE_LOG},
    )
    return landed
