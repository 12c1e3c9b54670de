"""What is seen of properties: every name at any depth, what its values can be read as, and no person."""

import json

import pytest

from connector import Warehouse
from connector.catalogue.properties import fits
from connector.properties.catalogue import every_property
from connector.properties.look import PEOPLE

from .conftest import day, looked

# Names that break naive paths and naive SQL.
ODD = ("a.b", "a b", 'qu"ote', "it's", "größe", "顧客", "$x", "/y", "x~y", "*", "#", "select", "Ä.b c", "[0]", "a[b]")


def seen(warehouse, event="purchase"):
    looked(warehouse)
    return {one.property: one for one in every_property(warehouse, event=event)}


def test_every_property_is_told_with_its_share_its_type_and_its_days(shop, warehouse):
    shop.sells(day(0), {"total": "49.90", "currency": "EUR", "coupon": "X1"}, {"total": "5", "currency": "SEK"})
    shop.sells(day(2), {"total": "7"}, {})
    shop.lands(day(0), day(1), day(2))
    found = seen(warehouse)
    total = found["total"]
    assert (total.event_rows, total.rows, total.filled_percent, total.fits) == (4, 3, 75.0, "decimal")
    assert total.kinds == ["integer", "decimal"]
    assert (total.first_day, total.last_day) == (day(0), day(2))
    assert (found["coupon"].filled_percent, found["coupon"].fits) == (25.0, "text")
    assert found["currency"].last_day == day(0)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["true", "false"], "boolean"),
        (["0", "-7", "123456789012345678"], "integer"),
        (["1", "0.5"], "decimal"),
        (["0.123456", "1e21", "12345678901234567890"], "double"),
        (["2026-03-04"], "date"),
        (["2026-03-04", "2026-03-04T10:00:00.000Z"], "timestamp"),
        (["007"], "text"),
        (["2026-02-30"], "text"),
        (["1", "true"], "text"),
        (["NaN"], "text"),
        ([" 1"], "text"),
    ],
)
def test_a_type_is_one_that_all_values_fit(shop, warehouse, values, kind):
    shop.sells(day(0), *({"x": value} for value in values))
    shop.lands(day(0))
    assert seen(warehouse)["x"].fits == kind
    assert fits(seen(warehouse)["x"].kinds) == kind


def test_names_of_any_kind_survive(shop, warehouse):
    shop.sells(day(0), dict.fromkeys(ODD, "1"))
    shop.lands(day(0))
    assert set(seen(warehouse)) == set(ODD)


def test_items_of_a_list_are_one_property(shop, warehouse):
    """OpenPanel's keys are flat; a name that is a number, or ends in one, is no item of a list."""
    shop.sells(day(0), {"items.0.sku": "a", "items.1.sku": "b", "items.1.0.1.x": "1", "2024": "1", "step1.2b": "1"}, {})
    shop.lands(day(0))
    found = seen(warehouse)
    assert set(found) == {"items.*.sku", "items.*.*.*.x", "2024", "step1.2b"}
    assert found["items.*.sku"].filled_percent == 50.0


def test_examples_are_of_nobody(shop, warehouse):
    """A value that fewer than five people sent may say who one of them is; addresses say it always."""
    rows = [{"plan": "team", "name": f"Ada {n}", "mail": "team@example.com", "rare": "x"} for n in range(PEOPLE)]
    rows[0]["rare"] = "y"
    shop.sells(day(0), *rows)
    shop.sells(day(1), *({"plan": "pro", "mine": "home"} for _ in range(PEOPLE)), people=PEOPLE - 1)
    shop.lands(day(0), day(1))
    found = seen(warehouse)
    assert {name: one.examples for name, one in found.items()} == {
        "plan": ["team"], "name": [], "mail": [], "rare": [], "mine": []
    }  # fmt: skip


def test_only_landed_days_are_read_and_each_once(shop, warehouse, query):
    """Also a day that was landed again, and one that has become empty; what was seen before of it is gone."""
    shop.sells(day(0), {"a": "1"})
    shop.sells(day(1), {"b": "1"})
    shop.lands(day(0), day(1))
    assert looked(warehouse) == {"openpanel.events": (day(0), day(1))}
    assert looked(warehouse) == {"openpanel.events": ()}
    shop.vendor.remove("00000002-0000-4000-8000-000000000000")
    shop.sells(day(2), {"c": "1"})
    shop.lands(day(1), day(2), day(3))
    assert looked(warehouse) == {"openpanel.events": (day(1), day(2))}
    assert looked(warehouse) == {"openpanel.events": ()}
    assert query("select distinct day, property from connector.property_days order by 1") == [
        (day(0), "a"), (day(2), "c")
    ]  # fmt: skip


def test_metadata_of_tracked_events_is_seen_at_any_depth(exports, pilot, warehouse, request_):
    """And nothing of what other kinds of events say about people and companies."""
    order = {
        "total": 9.5,
        "items": [{"sku": "a"}, {"sku": "b"}],
        "at": [[1, 2], [3]],
        "to": {"city": "Bern", "n": None},
    }
    common = {"at": "2026-03-03T10:00:00Z", "user_id": "u1"}
    pilot.add_event(event_type="track", event_name="Order", metadata=order, **common)
    pilot.add_event(event_type="identify_user", event_name="", metadata={"email": "ada@example.com"}, **common)
    for job in exports.wait(request_):
        exports.land(job, warehouse=warehouse)
    found = {name: one.fits for name, one in seen(warehouse, "Order").items()}
    assert found == {"total": "decimal", "items.*.sku": "text", "at.*.*": "integer", "to.city": "text"}
    assert {one.event for one in every_property(warehouse)} == {"Order"}


def test_the_command_tells_them(shop, warehouse, cli):
    shop.sells(day(0), *({"total": "1", "currency": "EUR"} for _ in range(PEOPLE)))
    shop.lands(day(0))
    said = cli("properties")
    assert "openpanel.events  purchase  5 rows" in said
    assert "currency  100.00 %  2026-03-02 to 2026-03-02  text  such as EUR" in said
    rows = [json.loads(line) for line in cli("properties", "--json", "--event", "purchase").splitlines()]
    assert [(row["property"], row["fits"], row["rows"]) for row in rows] == [
        ("currency", "text", 5),
        ("total", "integer", 5),
    ]
    assert cli("properties", "--table", "userpilot.events") == ""


def test_a_warehouse_without_events_has_no_properties(tmp_path, cli, warehouse):
    assert cli("properties") == ""
    with warehouse.write() as connection:
        connection.execute("create schema openpanel")
    assert cli("properties") == ""
    assert every_property(Warehouse(tmp_path / "none.duckdb")) == []
