"""Frames: the landed rows, with types that keep a missing value missing, and the file free again afterwards."""

from datetime import date, timedelta

import pandas as pd
import pytest

import connector
from connector.errors import RejectedError
from tests.conftest import DAY

NEXT = DAY + timedelta(days=1)


@pytest.fixture
def landed(vendor, sync, warehouse):
    vendor.load_sample(DAY, NEXT)
    receipts = [sync(DAY), sync(NEXT)]
    with warehouse.write() as connection:
        connection.execute("create table openpanel.without as select 1 as n")
    return receipts


def test_a_day_is_its_rows(landed, warehouse):
    rows = connector.frame("openpanel.events", DAY, warehouse=warehouse)
    assert len(rows) == landed[0].landed
    assert (rows["created_at"].dt.date == DAY).all()
    assert str(rows["created_at"].dtype) == "datetime64[us, UTC]"


def test_a_range_includes_both_ends_and_texts_are_days_too(landed, warehouse):
    rows = connector.frame("openpanel.events", (str(DAY), NEXT), columns=["id", "revenue"], warehouse=warehouse)
    assert len(rows) == sum(receipt.landed for receipt in landed)
    assert list(rows.columns) == ["id", "revenue"]
    assert rows["revenue"].dtype == pd.Int64Dtype()


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_a_moment_stands_for_its_day(landed, warehouse, zone):
    moment = pd.Timestamp(DAY, tz=zone) + pd.Timedelta(hours=13)
    rows = [len(connector.frame("openpanel.events", days, warehouse=warehouse)) for days in (moment, [moment, moment])]
    assert rows == [landed[0].landed] * 2


def test_one_column_needs_no_list(landed, warehouse):
    assert list(connector.frame("openpanel.events", DAY, columns="name", warehouse=warehouse).columns) == ["name"]


def test_all_rows_without_days_and_any_table(landed, warehouse):
    assert len(connector.frame("openpanel.events", warehouse=warehouse)) == sum(r.landed for r in landed)
    receipts = connector.frame("connector.landings", NEXT, warehouse=warehouse)
    assert list(receipts["landed"]) == [landed[1].landed]


def test_the_warehouse_is_free_again(landed, warehouse, sync):
    connector.frame("openpanel.events", DAY, warehouse=warehouse)
    assert sync(DAY).replaced == landed[0].landed


@pytest.mark.parametrize(
    "table, days, columns, said",
    [
        ("openpanel.nothing", None, None, "no such table"),
        ("events", None, None, "schema and a name"),
        ("openpanel.events", "yesterday", None, "no days"),
        ("openpanel.events", (date(2026, 3, 5), date(2026, 3, 4)), None, "swap"),
        *[("openpanel.events", days, None, "no days") for days in (20261120, (DAY,), (DAY, None), [DAY] * 3)],
        *[("openpanel.events", None, columns, "once each") for columns in ([], ["_day", "_day"])],
        ("openpanel.events", None, ["id", 'x"; drop table openpanel.events; --'], "no column"),
        ("openpanel.without", DAY, None, "has no days"),
        ('openpanel.events" where false --', None, None, "no such table"),
    ],
)
def test_what_is_not_there_is_said(landed, warehouse, table, days, columns, said):
    with pytest.raises(RejectedError, match=said):
        connector.frame(table, days, columns=columns, warehouse=warehouse)
