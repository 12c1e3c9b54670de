"""Userpilot's sandbox, the assets bound to it, and a daemon that ticks the export sensor."""

from datetime import date, timedelta

import dagster as dg
import pytest

import connector.userpilot.exports.machine as machine
from connector.catalogue.userpilot import EVENT_TYPES, EVENTS
from connector.dagster import UserpilotResource, WarehouseResource, userpilot_assets, userpilot_export_sensor
from connector.sandbox import USERPILOT_KEY, Userpilot, serve_userpilot
from tests.conftest import DAY

DAYS = [DAY + timedelta(days=n) for n in range(3)]
RANGE = {"dagster/asset_partition_range_start": "2026-03-04", "dagster/asset_partition_range_end": "2026-03-06"}
TYPES = {"event_type": list(EVENT_TYPES)}


@pytest.fixture
def pilot():
    vendor = Userpilot(polls_to_complete=1)
    vendor.load_sample(DAYS[0] - timedelta(days=2), DAYS[-1] + timedelta(days=2))
    return vendor


@pytest.fixture
def resources(pilot, tmp_path):
    with serve_userpilot(pilot) as (api, _):
        yield {
            "userpilot": UserpilotResource(api_url=api, api_key=USERPILOT_KEY),
            "warehouse": WarehouseResource(
                database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "spool")
            ),
        }


@pytest.fixture
def assets(resources):
    return userpilot_assets(start_date=date(2026, 3, 1), options=TYPES, retry_policy=None, patience=5.0, **resources)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def no_waits(monkeypatch):
    monkeypatch.setattr(machine, "BACK_OFF", (timedelta(0),) * 3)
    monkeypatch.setattr(machine, "SLOT_POLL", timedelta(0))
    monkeypatch.setattr(machine, "POLL_FIRST", timedelta(0))


class Daemon:
    """Ticks the sensor and runs what it requests, each run key once, as the real one does."""

    def __init__(self, assets, resources, instance):
        self.assets, self.instance, self.cursor, self.keys, self.reasons = assets, instance, None, [], []
        self.sensor = userpilot_export_sensor(assets, EVENTS, **resources)
        self.definitions = dg.Definitions(assets=assets, sensors=[self.sensor])

    def tick(self, *, run=True):
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=self.definitions.get_repository_def()
        )
        result = self.sensor.evaluate_tick(context)
        self.cursor = result.cursor
        self.reasons.append(result.skip_message)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        wanted = [request for request in result.run_requests if request.run_key not in self.keys]
        self.keys += [request.run_key for request in wanted]
        for request in wanted if run else []:
            self.materialize(request.asset_selection[0].path[-1], tags=request.tags, run_config=request.run_config)
        return wanted

    def ticks(self, most=12):
        for _ in range(most):
            self.tick()
            if self.reasons[-1] == "no export is under way":
                return

    def materialize(self, name, **options):
        chosen = [asset for asset in self.assets if asset.key.path[-1] == name]
        return dg.materialize(chosen, instance=self.instance, raise_on_error=False, **options)


@pytest.fixture
def daemon(assets, resources, instance):
    return Daemon(assets, resources, instance)


def per_day(query):
    return dict(query("select _day, count(*) from userpilot.events group by 1"))


def truth(pilot):
    return {day: pilot.count(day, distinct=True) for day in DAYS}


def posts(pilot):
    return [request for request in pilot.requests if request.method == "POST"]


def row_counts(instance):
    records = instance.fetch_materializations(dg.AssetKey(["userpilot", "events"]), limit=500).records
    return {
        record.partition_key: record.asset_materialization.metadata["dagster/partition_row_count"].value
        for record in reversed(records)
    }
