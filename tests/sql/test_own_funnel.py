"""A funnel of one's own, with conditions on properties, by day; made with the macro that the mart is made with."""

import json
import shutil

import pytest

from . import expected
from .project import PROJECT, dbt, equal, frame

STEPS = ["screen_view", {"event": "report_exported", "where": "properties ->> '/format' = 'csv'"}, "screen_view"]
MODEL = f"""
{{{{ config(materialized='by_day', tags='by_day', meta={{
    'landed': ['openpanel.events'], 'reach_days': 1
}}) }}}}
{{{{ openpanel_userpilot.funnel_of({json.dumps(STEPS)}, within_hours=24, by='user') }}}}
"""


@pytest.fixture(scope="module")
def own(built, tmp_path_factory):
    """A copy of the project with the funnel in it, and the warehouse that it was built in."""
    folder = tmp_path_factory.mktemp("funnel")
    shutil.copytree(PROJECT, folder / "sql", ignore=shutil.ignore_patterns("target", "logs"))
    (folder / "sql" / "models" / "marts" / "csv_exports.sql").write_text(MODEL)
    shutil.copy(built.path, folder / "warehouse.duckdb")
    return folder


def test_a_funnel_of_ones_own_is_right_and_by_day(own):
    options = {"warehouse": own / "warehouse.duckdb", "project": own / "sql"}
    dbt("run", "--select", "csv_exports", **options)
    events = expected.openpanel(own / "warehouse.duckdb")
    is_csv = events["properties"].map(lambda text: json.loads(text or "{}").get("format") == "csv")
    events.loc[(events["name"] == "report_exported") & ~is_csv, "name"] = "other export"
    steps = [step if isinstance(step, str) else step["event"] for step in STEPS]
    wanted = expected.funnel(events, [{"name": "csv", "steps": steps, "within_hours": 24, "by": "user"}])
    found = frame(own / "warehouse.duckdb", "select * exclude (built_at) from marts.csv_exports")
    equal(found, wanted.drop(columns="funnel"))
    assert 0 < wanted[wanted["step"] == 2]["entrants"].sum() < wanted[wanted["step"] == 1]["entrants"].sum()
    dbt("run", "--select", "csv_exports", **options)
    equal(frame(own / "warehouse.duckdb", "select * exclude (built_at) from marts.csv_exports"), found)
