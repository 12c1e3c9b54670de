"""What is new, has vanished or has changed its type is noticed on its day, once, and rare properties raise no alarm."""

import pytest

from connector.properties.changes import EXPECTED, changes

from .conftest import day, looked


@pytest.fixture
def told(shop, warehouse):
    """Land days and tell what changed on those that were looked at."""

    def run(*days):
        shop.lands(*days)
        found = changes(warehouse, "openpanel.events", looked(warehouse)["openpanel.events"])
        return [(one.day, one.event, one.property, one.what) for one in found]

    return run


def test_nothing_is_new_on_the_first_day(shop, told):
    shop.sells(day(0), {"total": "1"})
    assert told(day(0)) == []


def test_a_new_property_and_a_new_event_are_told_once(shop, told):
    shop.sells(day(0), {"total": "1"})
    shop.sells(day(1), {"total": "1", "coupon": "x"})
    shop.sells(day(1), {"a": "1", "b": "2"}, name="refund")
    shop.sells(day(2), {"total": "1", "coupon": "x"})
    told(day(0))
    assert told(day(1)) == [(day(1), "purchase", "coupon", "new"), (day(1), "refund", "", "new")]
    assert told(day(2)) == []


@pytest.mark.parametrize(
    ("before", "now", "noticed"),
    [
        (["5", "7"], ["5", "free"], True),
        (["5", "7"], ["5.5"], True),
        (["true"], ["yes"], True),
        (["2026-03-04"], ["soon"], True),
        (["5", "7.5"], ["5"], False),
        (["a", "b"], ["5"], False),
        (["a"] * 3, ["5"] * EXPECTED, True),
        (["a"] + ["5"] * 99, ["5"] * EXPECTED, False),
    ],
)
def test_a_property_that_changes_its_type_is_noticed_on_that_day(shop, told, before, now, noticed):
    shop.sells(day(0), *({"x": value} for value in before))
    shop.sells(day(1), *({"x": value} for value in now))
    told(day(0))
    assert told(day(1)) == ([(day(1), "purchase", "x", "changed")] if noticed else [])


def test_a_property_has_vanished_when_enough_rows_are_without_it(shop, told):
    """A tenth of the rows has it, so two hundred are waited for; and it is told of once."""
    shop.sells(day(0), *({"total": "1", "gift": "yes"} if n % 10 == 0 else {"total": "1"} for n in range(50)))
    for number in range(1, 5):
        shop.sells(day(number), *({"total": "1"} for _ in range(EXPECTED * 5)))
    told(day(0))
    assert told(day(1)) == []
    assert told(day(2)) == [(day(2), "purchase", "gift", "vanished")]
    assert told(day(3), day(4)) == []


def test_an_old_day_that_lands_late_is_compared_with_the_days_before_it(shop, told):
    shop.sells(day(0), {"total": "1"})
    shop.sells(day(2), {"total": "1", "coupon": "x"})
    told(day(0), day(2))
    shop.sells(day(1), {"total": "1", "coupon": "x"})
    assert told(day(1)) == [(day(1), "purchase", "coupon", "new")]
    assert told(day(2)) == []


def test_the_command_tells_changes_since_a_day(shop, cli):
    shop.sells(day(0), {"total": "1"})
    shop.sells(day(1), {"total": "free"})
    shop.lands(day(0), day(1))
    said = cli("properties", "--changes-since", str(day(1)))
    assert said.split("  ")[:4] == [str(day(1)), "openpanel.events", "purchase", "total"]
    assert "changed: fitted integer; 1 of 1 values need text" in said
    assert cli("properties", "--changes-since", str(day(2))) == ""
