"""Every mart says what docs/models.md says: counted a second time, by other means, on samples and on a real log."""

import pytest

from . import expected
from .conftest import DAYS, FUNNELS_OF_THE_LOG
from .project import equal, frame, mart


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
    """Both by its overview, landed, and by what it keeps behind it."""
    compared = mart(built.path, "vendor_comparison")
    assert len(compared) == len(DAYS)
    for name in ("sessions", "visitors", "page_views", "bounce_percent", "average_session_seconds", "revenue_cents"):
        assert list(compared[name]) == pytest.approx(list(compared[f"vendor_{name}"]), abs=0.011), name
    theirs = {one["id"]: (one["entry_path"], one["exit_path"], one["screen_view_count"], one["duration"] / 1000)
              for one in built.vendor.sessions()}  # fmt: skip
    rows = mart(built.path, "sessions")
    ours = {row.session_id: (row.entry_path, row.exit_path, row.page_views, row.duration_seconds)
            for row in rows.itertuples()}  # fmt: skip
    assert ours == theirs
