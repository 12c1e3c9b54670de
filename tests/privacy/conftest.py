"""Landing with rules for personal data; what is written afterwards is searched by the tests."""

import pytest

from connector import EVENTS, Exports, Warehouse, sync_day
from connector.http.budget import SharedBudget
from connector.privacy.policy import Privacy
from tests.conftest import DAY
from tests.factories import openpanel_client, userpilot_client

KEY = "a key of sixteen characters or more"
RULES = {
    "openpanel.events": {
        "hash": ["profile_id", "device_id", "**.email"],
        "drop": ["profile.first_name", "profile.lastName", "latitude", "longitude", "_extra.ip"],
    },
    "userpilot.events": {
        "hash": ["user_id", "metadata.email"],
        "drop": ["metadata.name", "user_agent", "metadata.address"],
    },
}


@pytest.fixture
def private_sync(url, tmp_path):
    """Land a day with rules; every client is a new one, as another process would have."""

    def run(rules=RULES, key=KEY, day=DAY, **options):
        with openpanel_client(
            url, privacy=Privacy(rules, key=key), budget=SharedBudget(url, folder=tmp_path / "budget")
        ) as client:
            store = Warehouse(tmp_path / "warehouse.duckdb")
            return sync_day(client, EVENTS, day, warehouse=store, spool_dir=tmp_path / "spool", **options)

    return run


@pytest.fixture
def private_land(urls, clock, tmp_path, request_):
    def run(rules=RULES, key=KEY, **options):
        with userpilot_client(urls[0], privacy=Privacy(rules, key=key)) as client:
            exports = Exports(client, tmp_path / "spool", clock=clock.moment, sleep=clock.sleep)
            asked = options.pop("request", request_)
            store = Warehouse(tmp_path / "warehouse.duckdb")
            return [exports.land(job, warehouse=store, **options) for job in exports.wait(asked)]

    return run
