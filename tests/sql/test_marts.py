"""Every mart says what docs/models.md says: counted a second time, by other means, on samples and on a real log."""

import pytest

from connector import EVENTS
from connector.catalogue.openpanel import INSIGHTS_METRICS
from connector.sandbox import OpenPanel as Vendor

from . import expected
from .conftest import DAYS, FIRST, FUNNELS_OF_THE_LOG, LAST, Landed
from .project import dbt, equal, frame, mart

NEW_YORK = "America/New_York"


@pytest.fixture(scope="module", params=["sample", "a real log"])
def both(request):
    landed = request.getfixturevalue("built" if request.param == "sample" else "real")
    landed.events, landed.pilot_rows = expected.openpanel(landed.path), expected.userpilot(landed.path)
    landed.visits = expected.sessions(landed.events)
    return landed


def test_daily_active(both):
    equal(mart(both.path, "daily_active"), expected.daily_active(both.events, both.pilot_rows))


def test_sessions(both):
    columns = [c for c in both.visits.columns if c not in {"source", "medium", "campaign"}]
    equal(mart(both.path, "sessions"), both.visits, columns)


def test_page_performance(both):
    equal(mart(both.path, "page_performance"), expected.page_performance(both.events, both.visits))


def test_channel_performance(both):
    equal(mart(both.path, "channel_performance"), expected.channel_performance(both.visits))


def test_funnel(both):
    usual = [{"name": "activation", "steps": ["screen_view", "signup"], "within_hours": 24, "by": "session"}]
    funnels = usual if both.pilot else FUNNELS_OF_THE_LOG
    found = expected.funnel(both.events, funnels)
    equal(mart(both.path, "funnel"), found)
    assert (found[found["step"] > 1]["entrants"] > 0).any()


def test_people(both):
    equal(mart(both.path, "people"), expected.people(both.events, both.pilot_rows))


def test_companies(both):
    found = expected.companies(both.events, both.pilot_rows)
    assert len(found) >= 7
    equal(mart(both.path, "companies"), found)


def test_retention_cohorts(both):
    equal(mart(both.path, "retention_cohorts"), expected.retention_cohorts(both.events, both.pilot_rows))


def test_feature_adoption(built):
    listed = frame(built.path, "select coalesce(key, id) as key, display_name as name from userpilot.features_events")
    names = dict(zip(listed["key"], listed["name"], strict=True))
    found = expected.feature_adoption(expected.userpilot(built.path), names)
    equal(mart(built.path, "feature_adoption"), found)
    assert "Export button" in set(found["feature_name"])


def test_flow_adoption(built):
    titles = {}
    for kind, table in (("flow", "flows"), ("checklist", "checklists"), ("survey", "surveys"), ("banner", "banners"),
                        ("spotlight", "spotlights")):  # fmt: skip
        listed = frame(built.path, f"select id, title from userpilot.{table}")
        titles |= {(kind, one): title for one, title in zip(listed["id"], listed["title"], strict=True)}
    listed = frame(built.path, "select key, display_name from userpilot.resource_center_modules")
    titles |= {("resource_center", k): title for k, title in zip(listed["key"], listed["display_name"], strict=True)}
    found = expected.flow_adoption(expected.userpilot(built.path), titles)
    equal(mart(built.path, "flow_adoption"), found)
    assert {"Welcome tour", "Help articles"} <= set(found["title"])


def test_sessions_are_the_vendors_own(built):
    """Both by its overview, landed, and by what it keeps behind it, in every column that it keeps."""
    compared = mart(built.path, "vendor_comparison")
    assert len(compared) == len(DAYS)
    for name in ("sessions", "visitors", "page_views", "bounce_percent", "average_session_seconds", "revenue_cents"):
        assert list(compared[name]) == pytest.approx(list(compared[f"vendor_{name}"]), abs=0.011), name
    assert list(compared["agrees"]) == [True] * len(DAYS)
    assert compared["explanation"].isna().all()
    theirs = expected.kept_by(built.vendor)
    equal(mart(built.path, "sessions"), theirs)
    assert theirs["entry_path"].isna().any()  # the sample has sessions of an import


@pytest.fixture(scope="module")
def in_new_york(tmp_path_factory):
    """The sample of an organization outside UTC, landed with its timezone."""
    vendor = Vendor()
    vendor.organisations["demo-org"].timezone = NEW_YORK
    vendor.load_sample(FIRST, LAST)
    landed = Landed(tmp_path_factory.mktemp("new-york"), vendor)
    landed.land(DAYS, streams=(EVENTS, INSIGHTS_METRICS), timezone=NEW_YORK)
    return landed


@pytest.mark.parametrize("said_by", ["OPENPANEL_TIMEZONE", "the variable"])
def test_sessions_are_the_vendors_own_outside_utc(in_new_york, said_by, monkeypatch):
    """By what the landings read, and nothing said twice; a variable says otherwise than the environment, and counts."""
    by_variable = said_by == "the variable"
    monkeypatch.setenv("OPENPANEL_TIMEZONE", "Asia/Tokyo" if by_variable else f" {NEW_YORK} ")
    variables = {"openpanel_timezone": NEW_YORK} if by_variable else None
    results = dbt(
        "build", "--full-refresh", "--select", "+vendor_comparison", warehouse=in_new_york.path, variables=variables
    )
    assert {str(one.status) for one in results} <= {"success", "pass", "no-op"}
    compared = mart(in_new_york.path, "vendor_comparison")
    assert len(compared) == len(DAYS) - 2  # the first and the last local day are not whole
    for name in ("sessions", "visitors", "page_views"):
        assert list(compared[name]) == list(compared[f"vendor_{name}"]), name


def test_the_timezone_is_that_of_the_environment_that_runs(built, monkeypatch):
    """Not that in which the project was parsed: a manifest is prepared long before. Empty is as good as unset."""
    for value in ("Europe/Berlin", "Asia/Tokyo", "", None):
        monkeypatch.delenv("OPENPANEL_TIMEZONE") if value is None else monkeypatch.setenv("OPENPANEL_TIMEZONE", value)
        compiled = {one.node.name: one.node for one in dbt("compile", "--select", "sessions", warehouse=built.path)}
        assert f"at time zone '{value or 'UTC'}')::date as local_day" in compiled["sessions"].compiled_code
