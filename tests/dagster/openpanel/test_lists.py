"""Profiles, groups, sessions, entry and exit pages in Dagster: there where asked for, checked against the events."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from connector.catalogue.openpanel import STREAMS
from connector.dagster import build_definitions, openpanel_assets, openpanel_definitions, openpanel_lists_schedule
from connector.dagster.openpanel.lists import LISTED
from connector.openpanel.reports.config import ON_REQUEST_ONLY, Questions
from tests.conftest import DAY

ASKED = Questions(also=ON_REQUEST_ONLY)


@pytest.fixture
def assets(resources):
    return {
        stream.name: openpanel_assets(streams=[stream], start_date=DAY, retry_policy=None, **resources)
        for stream in STREAMS
    }


@pytest.fixture
def materialize(assets):
    """Materialize one asset; the numbers and outcome of its check against the events, if it has one."""

    def run(name):
        with dg.DagsterInstance.ephemeral() as instance:
            days = {"partition_key": str(DAY)} if assets[name][0].partitions_def else {}
            result = dg.materialize(assets[name], instance=instance, **days)
        checks = [one for one in result.get_asset_check_evaluations() if one.check_name == LISTED]
        return [(one.passed, {key: value.value for key, value in one.metadata.items()}) for one in checks]

    return run


def test_they_are_assets_where_they_are_asked_for():
    def names(defs):
        keys = defs.resolve_asset_graph().get_all_asset_keys()
        return {key.path[-1] for key in keys if key.path[0] == "openpanel"} & set(ON_REQUEST_ONLY)

    assert names(build_definitions()) == set()
    asked = build_definitions(questions=ASKED)
    assert names(asked) == set(ON_REQUEST_ONLY)
    assert names(openpanel_definitions(tables=["sessions"])) == {"sessions"}
    dg.Definitions.validate_loadable(asked)
    assert "openpanel_lists" in {schedule.name for schedule in asked.schedules}
    assert "openpanel_lists" not in {schedule.name for schedule in build_definitions().schedules}


def test_every_night_snapshots_land_on_their_own_and_days_with_the_others():
    asked = build_definitions(questions=ASKED)
    night = datetime(2026, 3, 4, 3, 50, tzinfo=UTC)
    with dg.instance_for_test() as instance:
        repository = asked.get_repository_def()
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=night, repository_def=repository
        )
        schedules = {schedule.name: schedule for schedule in asked.schedules}
        (request,) = schedules["openpanel_lists"].evaluate_tick(context).run_requests
        nightly = schedules["openpanel_nightly"].evaluate_tick(context).run_requests
    selected = schedules["openpanel_lists"].job.selection.resolve(asked.resolve_asset_graph())
    assert {key.path[-1] for key in selected} == {"profiles", "groups"}
    assert request.run_key.startswith("openpanel_lists:2026-03-04")
    by_day = {key.path[-1] for one in nightly for key in one.asset_selection}
    assert {"sessions", "insights_entry_exit"} <= by_day
    assert not {"profiles", "groups"} & by_day


def test_profiles_are_compared_with_what_events_say(vendor, materialize, query):
    vendor.add("a", at=f"{DAY}T10:00:00Z", profile_id="ada", device_id="d1")
    vendor.add("b", at=f"{DAY}T10:00:00Z", profile_id="d1", device_id="d1")
    vendor.add("c", at=f"{DAY}T10:00:00Z", profile_id="bob", device_id="d2")
    vendor.add("d", at=f"{DAY}T10:00:00Z", profile_id="d3", device_id="d3")
    vendor.add("e", at=f"{DAY}T10:00:00Z", profile_id="", device_id="d4")
    vendor.add_profile("eve")  # known, and in no event
    assert materialize("profiles") == [(True, {})], "nothing to compare with"
    materialize("events")
    numbers = {"ids in events": 4, "not in the list": 0, "devices not in the list": 0, "in no event": 1}
    assert materialize("profiles") == [(True, numbers)]

    for gone in ("c", "d"):  # the vendor deleted two people; their events are still landed
        vendor.remove(gone)
    numbers |= {"not in the list": 1, "devices not in the list": 1}
    assert materialize("profiles") == [(False, numbers)]
    assert query("select count(*), count(*) filter (_current) from openpanel.profiles") == [(5, 3)]


def test_groups_are_compared_too_and_sessions_are_not(vendor, materialize):
    vendor.add("a", at=f"{DAY}T10:00:00Z", groups=["g1", "g2"], session_id="s")
    vendor.add_group("g1", type="company", name="G")
    vendor.add_group("g3", type="company", name="G")
    materialize("events")
    found = {"ids in events": 2, "not in the list": 1, "devices not in the list": 0, "in no event": 1}
    assert materialize("groups") == [(False, found)]
    assert materialize("sessions") == []


def test_the_schedule_takes_only_what_is_a_snapshot(assets):
    every = [one for made in assets.values() for one in made]
    schedule = openpanel_lists_schedule(every)
    assert {key.path[-1] for key in schedule.job.selection.resolve(every)} == {"profiles", "groups"}
