"""A mistake in a chart is refused when it is written, with the allowed words; nothing is sent."""

import pytest

from connector import SettingsError
from connector.catalogue.openpanel import DIMENSIONS
from connector.catalogue.reports import Chart, Filter, Funnel, Series
from connector.openpanel.reports.config import INTERVALS, OPERATORS, RANGES, SEGMENTS, Questions
from connector.settings import Environment

GOOD = """
charts:
  signups:
    series:
      - {event: signup, segment: user}
      - {event: revenue, name: turnover, segment: property_sum, property: revenue,
         filters: [{name: country, operator: is, value: [SE, NO]}, {name: properties.plan, operator: isNotNull}]}
    breakdowns: [country, properties.plan]
    interval: hour
    previous: true
funnels:
  activation: {steps: [screen_view, signup], window_hours: 48, group_by: profile_id}
insights:
  dimensions: [country, browser]
  filters: [{name: path, operator: contains, value: /product}]
"""


def load(tmp_path, text):
    file = tmp_path / "reports.yaml"
    file.write_text(text)
    return Questions.load(file, dimensions=DIMENSIONS)


def test_a_file_says_what_python_says(tmp_path):
    assert load(tmp_path, GOOD).charts == (
        Chart(
            name="signups",
            series=(
                Series(event="signup", segment="user"),
                Series(
                    event="revenue",
                    name="turnover",
                    segment="property_sum",
                    property_name="revenue",
                    filters=(
                        Filter(name="country", operator="is", value=("SE", "NO")),
                        Filter(name="properties.plan", operator="isNotNull"),
                    ),
                ),
            ),
            breakdowns=("country", "properties.plan"),
            interval="hour",
            previous=True,
        ),
    )
    assert load(tmp_path, GOOD).funnels == (
        Funnel(name="activation", steps=("screen_view", "signup"), window_hours=48, group_by="profile_id"),
    )
    assert load(tmp_path, GOOD).filters == (Filter(name="path", operator="contains", value=("/product",)),)


@pytest.mark.parametrize(
    ("old", "new", "place", "allowed"),
    [
        ("segment: user", "segment: people", "charts.signups.series.signup.segment", "one_event_per_user"),
        ("interval: hour", "interval: year", "charts.signups.interval", "minute, hour, day, week, month"),
        ("operator: is,", "operator: like,", "charts.signups.series.turnover.filters.country.operator", "contains"),
        ("name: country, operator", "name: profile.email, operator", "filters.name", "properties.<key>"),
        ("breakdowns: [country,", "breakdowns: [planet,", "charts.signups.breakdowns", "browser_version"),
        ("segment: property_sum, property: revenue", "segment: property_sum", "turnover.property", "need a property"),
        ("property: revenue", "property: total", "turnover.property", "properties.<key>"),
        ("previous: true", "previous: maybe", "charts.signups.previous", "true or false"),
        ("interval: hour", "interval: hour\n    range: last24h", "charts.signups.range", "7d, 30d"),
        ("interval: hour", "interval: hour\n    range: 90d", "charts.signups.range", "12m"),
        ("interval: hour", "intervall: hour", "charts.signups: key", "series, breakdowns, interval"),
        ("[screen_view, signup]", "[signup]", "funnels.activation.steps", "2 to 10"),
        ("window_hours: 48", "window_hours: 1000", "funnels.activation.window_hours", "1 to 720"),
        ("group_by: profile_id", "group_by: device", "funnels.activation.group_by", "session_id, profile_id"),
        ("dimensions: [country,", "dimensions: [weather,", "insights.dimensions", "utm_campaign"),
        ("name: path, operator: contains", "name: title, operator: contains", "insights.filters.title.name", "browser"),
        ("value: /product", "value: []", "insights.filters.path.value", "at least one"),
        ("charts:", "chart:", "reports.yaml: key", "events, charts, funnels, insights"),
        ("charts:", "charts: [", "reports.yaml", "fix the file"),
        ("name: turnover", "name: signup", "charts.signups.series", "name each once"),
    ],
)
def test_a_mistake_names_the_chart_the_key_and_the_allowed_words(tmp_path, old, new, place, allowed):
    assert GOOD.count(old) >= 1
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert place in str(caught.value)
    assert allowed in str(caught.value)


def test_a_missing_file_is_said_when_the_definitions_load(tmp_path, monkeypatch):
    from connector.dagster import build_definitions

    monkeypatch.setenv("OPENPANEL_REPORTS", str(tmp_path / "none.yaml"))
    with pytest.raises(SettingsError, match=r"none\.yaml"):
        build_definitions()


@pytest.mark.parametrize("segment", SEGMENTS)
def test_every_documented_segment_is_accepted(segment):
    Questions(charts=(Chart(name="c", series=(
        Series(event="a", segment=segment, property_name="revenue" if segment.startswith("property_") else ""),
    )),))  # fmt: skip


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_documented_operator_is_accepted(operator):
    Questions(filters=(Filter(name="country", operator=operator, value=("SE",)),))


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("preset", ["", *RANGES[3:]])
def test_every_interval_and_every_preset_with_a_day_is_accepted(interval, preset):
    Questions(charts=(Chart(name="c", series=(Series(event="*"),), interval=interval, range=preset),))


def test_the_file_is_named_in_the_environment(tmp_path):
    (tmp_path / "reports.yaml").write_text(GOOD)
    env = Environment({"OPENPANEL_REPORTS": f" {tmp_path / 'reports.yaml'} "})
    found = Questions.from_environment(env, dimensions=DIMENSIONS)
    assert [chart.name for chart in found.charts] == ["signups"]
    for empty in ({}, {"OPENPANEL_REPORTS": " "}):
        assert Questions.from_environment(Environment(empty), dimensions=DIMENSIONS) == Questions()
