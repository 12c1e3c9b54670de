"""The check of properties runs after each landing that a schedule, sensor or person starts, and again when executed."""

import dagster as dg
import pytest

from connector.dagster import build_definitions
from connector.dagster.properties import AS_BEFORE
from tests.conftest import DAY
from tests.properties.conftest import Shop
from tests.properties.conftest import day as after

KEY = dg.AssetKey(["openpanel", "events"])
CHECK = dg.AssetCheckKey(KEY, AS_BEFORE)


@pytest.fixture
def defs(resources):
    return build_definitions(start_date=after(0), **resources)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def ran(defs, instance, job, day):
    """The check's result in a run of a job for one day."""
    done = defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=str(day), asset_selection=[KEY]
    )
    (found,) = (one for one in done.get_asset_check_evaluations() if one.check_name == AS_BEFORE)
    return found


def test_every_table_of_events_has_the_check_and_no_other(defs):
    keys = {key.asset_key.to_user_string() for one in defs.asset_checks for key in one.check_keys}
    assert keys == {"openpanel/events", "userpilot/events"}
    shop = build_definitions(start_date=DAY, instance="shop")
    keys = {key.asset_key.to_user_string() for one in shop.asset_checks for key in one.check_keys}
    assert keys == {"openpanel_shop/events", "userpilot_shop/events"}


def test_a_landing_by_the_nightly_job_tells_what_changed(defs, instance, vendor, sync):
    shop = Shop(vendor, sync)
    shop.sells(after(0), *({"total": "5"} for _ in range(6)))
    shop.sells(after(1), {"total": "free", "coupon": "x"})
    first = ran(defs, instance, "openpanel_nightly", after(0))
    assert first.passed
    assert first.metadata["properties known"].value == 1
    second = ran(defs, instance, "openpanel_nightly", after(1))
    assert not second.passed
    assert second.severity == dg.AssetCheckSeverity.WARN
    assert {name: second.metadata[name].value for name in ("new", "vanished", "changed")} == {
        "new": 1, "vanished": 0, "changed": 1
    }  # fmt: skip
    shown = {row.data["property"]: row.data for row in second.metadata["changes"].records}
    assert (shown["total"]["what"], shown["coupon"]["what"]) == ("changed", "new")


def test_executed_alone_it_says_the_same_again(defs, instance, vendor, sync):
    shop = Shop(vendor, sync)
    shop.sells(after(0), {"total": "5"})
    shop.sells(after(1), {"total": "free"})
    for day in (after(0), after(1)):
        ran(defs, instance, "openpanel_nightly", day)
    checks = [one for one in defs.asset_checks if CHECK in one.check_keys]
    job = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(*checks))
    alone = dg.Definitions.merge(defs, dg.Definitions(jobs=[job])).resolve_job_def("alone")
    (found,) = alone.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert not found.passed
    assert found.metadata["changed"].value == 1
