"""Typed models of real, publicly released events equal an independent computation, whatever happens on a day.

See ``tests/test_real_events.py`` for where the data comes from.
"""

import gzip
import json
from collections import Counter
from datetime import date

import pytest

from connector.properties.changes import changes
from tests.sql.conftest import REAL, Landed
from tests.sql.project import dbt, frame

from .conftest import looked
from .test_models import project  # noqa: F401  the fixture

WRONG_DAY = "2015-05-19"


def sent(row):
    """What a tracker would have sent: texts, the address in parts; on one day a release sends sizes with their unit."""
    properties = {key: str(value) for key, value in row["properties"].items() if value is not None}
    properties["ref"] = row["event_id"]
    properties["page.depth"] = str((row["path"] or "").count("/"))
    if row["ts"].startswith(WRONG_DAY) and "bytes" in properties:
        properties["bytes"] = f"{int(properties['bytes']) / 1024:.1f} kB"
    return properties


@pytest.fixture
def rows():
    if not REAL.exists():
        pytest.skip(f"{REAL.name} is not in {REAL.parent.name}/: set REAL_EVENTS to the folder that holds it")
    with gzip.open(REAL, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.timeout(600)
def test_typed_models_of_real_events_are_right_and_lose_nothing(rows, vendor, tmp_path, project, cli, warehouse):  # noqa: F811
    vendor.load(
        {
            "id": row["event_id"], "name": row["event"], "created_at": row["ts"], "device_id": row["visitor_id"],
            "profile_id": row["visitor_id"], "session_id": row["session_id"], "path": row["path"] or "",
            "properties": sent(row),
        }
        for row in rows
    )  # fmt: skip
    landed = Landed(tmp_path, vendor)
    days = sorted({row["ts"][:10] for row in rows})
    landed.land([date.fromisoformat(day) for day in days])
    (tmp_path / "properties.yml").write_text(
        "openpanel: {above_percent: 1, events: {asset_requested: {above_percent: 1, properties: {bytes: integer}}}}"
    )
    cli("models", str(tmp_path / "properties.yml"), str(project / "models" / "staging" / "typed"))
    results = dbt(
        "build", "--indirect-selection", "cautious", "--select", "stg_openpanel__events", "path:models/staging/typed",
        warehouse=landed.path, project=project,
    )  # fmt: skip

    # What was seen of properties, counted here by hand.
    seen = {(one.event_name, one.property): one for one in frame(landed.path, "from connector.properties").itertuples()}
    filled, total = Counter(), Counter(row["event"] for row in rows)
    for row in rows:
        filled.update((row["event"], name) for name, value in sent(row).items() if value)
    assert {key: one.rows for key, one in seen.items()} == dict(filled)
    assert all(abs(one.filled_percent - 100 * filled[key] / total[key[0]]) < 0.01 for key, one in seen.items())
    assert {seen["asset_requested", name].fits for name in ("status", "page.depth")} == {"integer"}

    # Every row of every event, its properties as sent, and typed.
    for event in total:
        mine = {row["event_id"]: sent(row) for row in rows if row["event"] == event}
        found = frame(landed.path, f"select * from staging.stg_openpanel__{event}").set_index("ref")
        assert set(found.index) == set(mine)
        for ref, row in found.iterrows():
            assert json.loads(row["properties"]) == {key: value for key, value in mine[ref].items() if value}
            assert row["page_depth"] == int(mine[ref]["page.depth"])
            assert row["status"] == int(mine[ref]["status"])
            if event == "asset_requested" and "bytes" in mine[ref]:
                fits = mine[ref]["bytes"].isdigit()
                assert row["bytes"] == int(mine[ref]["bytes"]) if fits else row["bytes"] != row["bytes"]
                assert (row["misfits"] is None) if fits else json.loads(row["misfits"]) == {"bytes": mine[ref]["bytes"]}
    wrong = sum(row["event"] == "asset_requested" and not sent(row).get("bytes", "0").isdigit() for row in rows)
    (warned,) = (one for one in results if one.node.name == "stg_openpanel__asset_requested_values_fit")
    assert (str(warned.status), warned.failures) == ("warn", wrong)

    # The day on which the type changed is noticed.
    assert looked(warehouse) == {"openpanel.events": ()}
    news = changes(warehouse, "openpanel.events", [date.fromisoformat(day) for day in days])
    noticed = {(one.event, str(one.day)) for one in news if (one.property, one.what) == ("bytes", "changed")}
    assert ("asset_requested", WRONG_DAY) in noticed
    assert wrong > 1000
