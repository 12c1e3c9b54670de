"""Charts, funnels and timezones ask what the server reads, so that no number lands that means something else."""

from datetime import UTC, datetime, timedelta

import pytest

from connector import RejectedError, SettingsError, doctor, sync_day
from connector.catalogue.openpanel import CHARTS, FUNNELS, INSIGHTS_METRICS
from connector.catalogue.reports import Chart, Filter, Funnel, Series
from connector.openpanel.reports.config import Questions, streams
from connector.sandbox import OpenPanel as Vendor
from connector.sandbox import serve, vendor_variables
from connector.settings import environment
from tests.conftest import DAY
from tests.factories import openpanel_client

STOCKHOLM = "Europe/Stockholm"


def configured(stream, **questions):
    return next(one for one in streams(Questions(**questions)) if one.name == stream.name)


def test_a_cohort_is_asked_for_as_the_server_reads_it(vendor, sync, query):
    """With the ids in ``value`` the server ignores the filter: the numbers of all people came back."""
    for number in range(4):
        vendor.add(f"e{number}", at=f"{DAY}T0{number + 1}:00:00Z", profile_id=f"user-{number}")
    vendor.add_cohort("c1", ["user-1"])
    inside, outside = (Filter(name="cohort", operator=how, value=("c1",)) for how in ("inCohort", "notInCohort"))
    series = (Series(event="*", name="in", filters=(inside,)), Series(event="*", name="out", filters=(outside,)))
    sync(stream=configured(CHARTS, charts=(Chart(name="c", series=series),)))
    assert query("select series, value from openpanel.charts order by 1") == [("in", 1.0), ("out", 3.0)]


def test_a_breakdown_by_cohort_lands(vendor, sync, query):
    vendor.add("e1", at=f"{DAY}T01:00:00Z", profile_id="user-1")
    vendor.add("e2", at=f"{DAY}T02:00:00Z", profile_id="user-2")
    vendor.add_cohort("c1", ["user-1"])
    sync(stream=configured(CHARTS, charts=(Chart(name="c", series=(Series(event="*"),), breakdowns=("cohort:c1",)),)))
    assert query("select breakdowns->>'cohort:c1', value from openpanel.charts order by 1") == [
        ("false", 1.0),
        ("true", 1.0),
    ]


@pytest.mark.parametrize(("hours", "days", "reached"), [(24, 1, 0), (48, 2, 1), (720, 30, 1)])
def test_a_funnel_is_asked_over_days_that_hold_its_window(vendor, sync, query, hours, days, reached):
    """Over one day the server counts nothing that takes longer, whatever window it is given."""
    before = DAY - timedelta(days=1)
    vendor.add("e1", at=f"{before}T12:00:00Z", name="signup", profile_id="ada", session_id="s1")
    vendor.add("e2", at=f"{DAY}T13:00:00Z", name="paid", profile_id="ada", session_id="s2")
    funnel = Funnel(name="f", steps=("signup", "paid"), window_hours=hours, group_by="profile_id")
    sync(stream=configured(FUNNELS, funnels=(funnel,)))
    assert query("select step, days, users from openpanel.funnels order by step")[1] == (2, days, reached)


def test_points_of_a_range_have_the_key_that_is_declared(vendor, sync, query):
    """A point of a week's chart is in the answers of eight days, and stands once in each of their partitions."""
    for back in range(3):
        vendor.add(f"e{back}", at=f"{DAY - timedelta(days=back)}T12:00:00Z")
    stream = configured(CHARTS, charts=(Chart(name="c", series=(Series(event="*"),), range="7d"),))
    sync(DAY, stream=stream), sync(DAY + timedelta(days=1), stream=stream)
    key = ", ".join(CHARTS.primary_key)
    assert "_day" in CHARTS.primary_key
    assert query(f"select count(*) - count(distinct ({key})), count(*) from openpanel.charts") == [(0, 16)]


def day_of_now():
    return datetime.now(UTC)


@pytest.fixture
def in_stockholm():
    """An organization in Stockholm with one event two minutes ago."""
    vendor = Vendor()
    vendor.projects["demo"].organisation.timezone = STOCKHOLM
    at = day_of_now() - timedelta(minutes=2)
    vendor.add("e1", at=f"{at:%Y-%m-%dT%H:%M:%SZ}")
    return vendor


@pytest.mark.parametrize("wrong", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_a_wrong_timezone_is_refused_and_one_that_fits_is_named(in_stockholm, wrong):
    """Numbers of other days landed under the asked day, and nothing told of it."""
    with serve(in_stockholm.app) as url, openpanel_client(url, timezone=wrong) as client:
        with pytest.raises(SettingsError, match=rf"OPENPANEL_TIMEZONE.*{wrong}.*clock shows") as caught:
            client.verify_timezone()
    assert "Europe/" in str(caught.value)


@pytest.mark.parametrize("right", [STOCKHOLM, "Europe/Berlin"])
def test_the_right_timezone_is_accepted(in_stockholm, right):
    with serve(in_stockholm.app) as url, openpanel_client(url, timezone=right) as client:
        client.verify_timezone()


def test_a_wrong_timezone_lands_nothing_and_the_doctor_tells(in_stockholm, warehouse, tmp_path, monkeypatch):
    today = day_of_now().date()
    with serve(in_stockholm.app) as url:
        with openpanel_client(url, timezone="Asia/Kolkata") as client, pytest.raises(SettingsError):
            sync_day(client, INSIGHTS_METRICS, today, warehouse=warehouse, spool_dir=tmp_path / "spool")
        for name, value in (vendor_variables(openpanel=url) | {"OPENPANEL_TIMEZONE": "Asia/Kolkata"}).items():
            monkeypatch.setenv(name, value)
        found = [one for one in doctor(environment()) if one.about == "OPENPANEL_TIMEZONE" and one.level == "fail"]
    assert "clock shows" in found[0].said
    with warehouse.read() as connection:
        assert connection.execute("select count(*) from connector.landings where status = 'landed'").fetchone() == (0,)


def test_a_project_without_events_tells_nothing_and_lands(openpanel, warehouse, tmp_path):
    today = day_of_now().date()
    receipt = sync_day(openpanel, INSIGHTS_METRICS, today, warehouse=warehouse, spool_dir=tmp_path / "spool")
    assert receipt.landed == 1


def test_a_refusal_on_the_way_to_a_report_names_the_report(url, warehouse, tmp_path):
    """The project is proven by a question to the event export; the message named that one, which was not asked for."""
    with openpanel_client(url, client_secret="another-secret") as client, pytest.raises(RejectedError) as caught:
        sync_day(client, INSIGHTS_METRICS, DAY, warehouse=warehouse, spool_dir=tmp_path / "spool")
    assert caught.value.where == f"openpanel.insights_metrics[{DAY}]"
