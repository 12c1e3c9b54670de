"""Models show what is landed: a view of a table that no asset lands is none, unless a model reads it."""

import json
from pathlib import Path

import dagster as dg
import pytest

from connector.dagster import build_definitions
from connector.dagster.models import models_definitions
from connector.openpanel.reports.config import streams
from dagster_project import dbt as deployed
from tests.sql.conftest import FIRST

REPORTS = """
funnels:
  signups: {steps: [screen_view, signup], window_hours: 24}
also: [profiles]
"""
ON_REQUEST = {f"stg_openpanel__{one.name}" for one in streams() if not one.by_default}


@pytest.fixture(scope="module")
def manifest():
    deployed.prepare()
    return deployed.MANIFEST


def staging(defs):
    """Names of the views that are assets."""
    return {key.path[-1] for key in defs.resolve_asset_graph().get_all_asset_keys() if "staging" in key.path[0]}


def external(defs):
    return set(defs.resolve_asset_graph().external_asset_keys)


def test_views_of_tables_that_are_not_landed_are_no_assets(manifest, monkeypatch):
    """Charts and funnels without a report file are no assets, so neither is what would show them."""
    monkeypatch.delenv("OPENPANEL_REPORTS", raising=False)
    monkeypatch.setenv("CONNECTOR_DBT", "on")
    landed = build_definitions(start_date=FIRST)
    for below in (deployed.models(), models_definitions(start_date=FIRST)):
        defs = dg.Definitions.merge(landed, below)
        assert external(defs) == set()
        assert len(staging(defs)) > 15
        assert not staging(defs) & ON_REQUEST


def test_what_a_report_file_asks_for_has_its_view(manifest, monkeypatch, tmp_path):
    (tmp_path / "reports.yaml").write_text(REPORTS)
    monkeypatch.setenv("CONNECTOR_DBT", "on")
    in_python = build_definitions(start_date=FIRST, questions=tmp_path / "reports.yaml", models="product")
    monkeypatch.setenv("OPENPANEL_REPORTS", str(tmp_path / "reports.yaml"))
    of_environment = dg.Definitions.merge(build_definitions(start_date=FIRST), deployed.models())
    for defs in (in_python, of_environment):
        assert external(defs) == set()
        assert staging(defs) & ON_REQUEST == {"stg_openpanel__funnels", "stg_openpanel__profiles"}


def test_a_view_that_a_model_reads_stays(manifest):
    """Its table may not be landed, but without the view a model of the user's could not be built."""
    from connector.dagster.dbt import _of_nothing

    document, view = json.loads(Path(manifest).read_text()), "model.openpanel_userpilot.stg_openpanel__charts"
    usual = [one for one in streams() if one.by_default]
    name = "fqn:openpanel_userpilot.staging.openpanel.stg_openpanel__charts"
    assert name in _of_nothing(document, usual)
    document["nodes"]["model.theirs.own"] = {
        "resource_type": "model", "package_name": "theirs", "fqn": ["theirs", "own"], "depends_on": {"nodes": [view]}
    }  # fmt: skip
    assert name not in _of_nothing(document, usual)


def test_people_start_the_models_of_a_day_by_a_jobs_name(manifest, monkeypatch):
    """What the sensor asks for has no job; without one of this name, people would have to pick each asset."""
    monkeypatch.setenv("CONNECTOR_DBT", "on")
    job = deployed.models().resolve_job_def("models")
    assert job.partitions_def == dg.DailyPartitionsDefinition(start_date="2024-01-01", timezone="UTC", end_offset=1)
    assert {"staging", "intermediate", "marts"} == {key.path[0] for key in job.asset_layer.selected_asset_keys}
    assert job.executor_def is dg.in_process_executor
    named = models_definitions(start_date=FIRST, prefix="product", instance="shop")
    assert [one.name for one in named.jobs] == ["product_models_shop"]
