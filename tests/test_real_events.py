"""Real, publicly released web events travel the whole way: each day's rows and ids equal the file's.

The data is not part of this repository. Put ``usagov_clicks_2013.ndjson.gz`` and ``site_access_2015.ndjson.gz`` into a
folder and name it in REAL_EVENTS; without it these tests are skipped, and say so.
"""

import gzip
import json
import os
from collections import defaultdict
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from connector import EVENTS
from connector.dagster import OpenPanelResource, WarehouseResource, openpanel_assets
from connector.sandbox import READ, OpenPanel, serve

FOLDER = Path(os.environ.get("REAL_EVENTS", Path(__file__).parents[2] / "shared" / "data"))


def events(name):
    """File rows as OpenPanel would have stored them; the file's own ids stay the ids."""
    with gzip.open(FOLDER / name, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield {
                "id": row["event_id"],
                "name": row["event"],
                "created_at": row["ts"],
                "device_id": row["visitor_id"],
                "profile_id": row["visitor_id"],
                "session_id": row["session_id"],
                "path": row["path"] or "",
                "referrer": row["referrer"] or "",
                "country": row["country"] or "",
                "properties": {key: str(value) for key, value in row["properties"].items() if value is not None},
            }


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "rows", "days"),
    [("site_access_2015.ndjson.gz", 10_000, 4), ("usagov_clicks_2013.ndjson.gz", 197_083, 43)],
)
def test_every_real_day_lands_as_the_file_says(tmp_path, name, rows, days):
    if not (FOLDER / name).exists():
        pytest.skip(f"{name} is not in {FOLDER.name}/: set REAL_EVENTS to the folder that holds it")
    vendor = OpenPanel()
    truth: dict[date, set[str]] = defaultdict(set)

    def watched():
        for row in events(name):
            truth[date.fromisoformat(row["created_at"][:10])].add(row["id"])
            yield row

    assert vendor.load(watched()) == rows
    assert len(truth) == days
    with serve(vendor.app) as url, dg.DagsterInstance.ephemeral() as instance:
        source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
        target = WarehouseResource(database=str(tmp_path / "w.duckdb"), spool_dir=str(tmp_path / "spool"))
        assets = openpanel_assets(streams=[EVENTS], start_date=min(truth), openpanel=source, warehouse=target)
        # Contiguous stretches as one run each, the way a backfill asks for them.
        for first, last in _stretches(sorted(truth)):
            tags = {"dagster/asset_partition_range_start": f"{first}", "dagster/asset_partition_range_end": f"{last}"}
            assert dg.materialize(assets, instance=instance, tags=tags).success
        partitions = instance.get_materialized_partitions(assets[0].key)
        with target.get_reader() as connection:
            landed = defaultdict(set)
            for day, identity in connection.execute("select _day, id from openpanel.events").fetchall():
                landed[day].add(identity)
            total = connection.execute("select count(*) from openpanel.events").fetchone()
    assert partitions == {day.isoformat() for day in truth}
    assert total == (rows,)
    # The sandbox mints UUIDs from ids that are none; both sides are compared in its spelling.
    assert {day: len(ids) for day, ids in landed.items()} == {day: len(ids) for day, ids in truth.items()}
    assert landed == {day: {row["id"] for row in vendor.rows(day)} for day in truth}
    assert vendor.refusals == 0


def _stretches(days):
    start = before = days[0]
    for day in days[1:]:
        if (day - before).days > 1:
            yield start, before
            start = day
        before = day
    yield start, before
