"""The picture of a day: what a person reads off it, and that it is drawn from the landed rows."""

import re
from datetime import timedelta
from urllib.parse import unquote
from xml.etree import ElementTree

import dagster as dg
import pytest

from connector.dagster import OpenPanelResource, WarehouseResource, openpanel_assets
from connector.dagster.picture import SHOWN_AT_ONCE, picture, sentence
from connector.sandbox import READ
from connector.stream import Stream
from connector.warehouse.coverage import Hours, hours_of_days
from tests.conftest import DAY

NOTHING = (0.0,) * 24


def hours(**counts):
    return tuple(counts.get(f"h{hour}", 0) for hour in range(24))


def test_a_day_is_told_beside_the_usual():
    said = sentence(Hours(hours(h9=30, h10=20), tuple(float(n) for n in hours(h9=100)), 7))
    assert said == "50 events, 50% of the usual 100 (7 days before); most between 09:00 and 10:00 UTC"


def test_a_first_day_has_no_usual_and_an_empty_day_says_so():
    assert sentence(Hours(hours(h23=1), NOTHING, 0)) == "1 events; most between 23:00 and 24:00 UTC"
    assert sentence(Hours(hours(), tuple(float(n) for n in hours(h9=100)), 3)) == "no events; usually 100"


BUSY = tuple(50_000 + 997 * hour % 83 * 600 for hour in range(24))


@pytest.mark.parametrize("counts", [hours(), hours(h0=1), hours(h0=7, h23=70_000), BUSY])
def test_it_is_a_drawing_that_fits_its_frame_and_is_shown_without_a_click(counts):
    usual = tuple(float(count) * (0.4 + hour % 3 / 5) for hour, count in enumerate(counts))
    markdown = picture(Hours(counts, usual, 7))
    assert len(markdown) < SHOWN_AT_ONCE
    drawing = ElementTree.fromstring(unquote(re.search(r"svg\+xml,(.*)>\)", markdown)[1]))
    bars, line = drawing.findall("{http://www.w3.org/2000/svg}path")
    for path in (bars, line):
        y = int(re.match(r"M\d+ (\d+)", path.get("d"))[1])
        for step in re.findall(r"v(-?\d+)", path.get("d")):
            y += int(step)
            assert 0 <= y <= 96
    assert sum(map(int, re.findall(r"h(\d+)", bars.get("d")))) == 480


def test_hours_come_from_the_landed_rows(vendor, sync, warehouse):
    from connector import EVENTS

    for back, hour in ((2, 1), (2, 1), (1, 1), (1, 5), (0, 5)):
        vendor.add(f"{back}{hour}{len(vendor.rows(DAY - timedelta(days=back)))}",
                   at=f"{DAY - timedelta(days=back)}T{hour:02}:30:00Z")  # fmt: skip
    for back in (2, 1, 0):
        sync(DAY - timedelta(days=back))
    found = hours_of_days(warehouse, EVENTS, [DAY])[DAY]
    assert isinstance(EVENTS, Stream)
    assert (found.counts[5], sum(found.counts), found.days) == (1, 1, 2)
    assert (found.usual[1], found.usual[5]) == (1.5, 0.5)


def test_every_day_of_a_run_has_its_own_picture(vendor, url, tmp_path):
    vendor.load_sample(DAY, DAY + timedelta(days=1))
    assets = openpanel_assets(
        start_date=DAY,
        openpanel=OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo"),
        warehouse=WarehouseResource(database=str(tmp_path / "w.duckdb"), spool_dir=str(tmp_path / "spool")),
    )
    events = next(asset for asset in assets if asset.key.path[-1] == "events")
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {
            "dagster/asset_partition_range_start": str(DAY),
            "dagster/asset_partition_range_end": str(DAY + timedelta(days=1)),
        }
        assert dg.materialize([events], tags=tags, instance=instance).success
        records = instance.fetch_materializations(events.key, limit=10).records
    shown = {r.partition_key: r.asset_materialization.metadata for r in records}
    assert set(shown) == {str(DAY), str(DAY + timedelta(days=1))}
    for metadata in shown.values():
        assert f"{metadata['dagster/partition_row_count'].value:,} events" in metadata["the day"].value
