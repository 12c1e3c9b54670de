"""A landing replaces its day whole or leaves everything as it was."""

import dataclasses
import json
from datetime import date, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector import EVENTS, Column, ContractError, Page, RejectedError, SuddenDropError, land
from connector.spool import spool_pages, spooling
from tests.conftest import DAY
from tests.kinds import only


def page(rows, number=1, announced=None):
    body = json.dumps([{"createdAt": f"{DAY}T01:00:00Z", **row} for row in rows]).encode()
    announced = len(rows) if announced is None else announced
    return Page(number=number, of=1, rows=len(rows), announced=announced, body=body)


@pytest.fixture
def spool(tmp_path):
    contexts = []

    def make(rows, day=DAY, stream=EVENTS):
        context = spooling(tmp_path / "spool", stream, day)
        folder = context.__enter__()
        contexts.append(context)
        return spool_pages(folder, stream, day, [page(rows)] if rows else [])

    yield make
    for context in contexts:
        context.__exit__(None, None, None)


def rows(*ids):
    return [{"id": i, "name": "x"} for i in ids]


def test_landing_twice_leaves_the_same_rows(warehouse, spool, query):
    land(warehouse, EVENTS, spool(rows("a", "b")))
    receipt = land(warehouse, EVENTS, spool(rows("a", "b")))

    assert query("select id from openpanel.events order by id") == [("a",), ("b",)]
    assert (receipt.landed, receipt.replaced) == (2, 2)


def test_neighbouring_days_are_left_alone(warehouse, spool, query):
    land(warehouse, EVENTS, spool(rows("a"), DAY))
    land(warehouse, EVENTS, spool(rows("b"), DAY + timedelta(days=1)))
    land(warehouse, EVENTS, spool(rows("c"), DAY))

    assert query("select id, _day from openpanel.events order by id") == [("b", DAY + timedelta(days=1)), ("c", DAY)]


def test_an_empty_day_empties_the_day_and_is_written_down(warehouse, spool, query):
    """A delete that skips empty days leaves yesterday's rows under a day the vendor says is empty."""
    land(warehouse, EVENTS, spool(rows("a", "b")))
    receipt = land(warehouse, EVENTS, spool([]), allow_drop=True)

    assert query("select count(*) from openpanel.events") == [(0,)]
    assert (receipt.landed, receipt.replaced) == (0, 2)
    assert query("select status, landed from connector.landings order by landed_at") == [("landed", 2), ("landed", 0)]


@pytest.mark.parametrize(("before", "after"), [(2, 0), (20, 9)])
def test_a_sudden_drop_fails_before_the_commit(warehouse, spool, query, before, after):
    land(warehouse, EVENTS, spool(rows(*map(str, range(before)))))

    with pytest.raises(SuddenDropError) as caught:
        land(warehouse, EVENTS, spool(rows(*map(str, range(after)))))

    assert (caught.value.landed, caught.value.received) == (before, after)
    assert query("select count(*) from openpanel.events") == [(before,)]
    assert land(warehouse, EVENTS, spool(rows(*map(str, range(after)))), allow_drop=True).landed == after


@pytest.mark.parametrize(("before", "after"), [(3, 1), (20, 11)])
def test_an_ordinary_shrinking_is_landed(warehouse, spool, before, after):
    land(warehouse, EVENTS, spool(rows(*map(str, range(before)))))
    assert land(warehouse, EVENTS, spool(rows(*map(str, range(after))))).landed == after


def test_stored_twins_are_dropped_and_counted(warehouse, spool, query):
    receipt = land(warehouse, EVENTS, spool([*rows("a", "b"), {"id": "a", "name": "again"}]))

    assert (receipt.received, receipt.landed, receipt.duplicates) == (3, 2, 1)
    assert query("select id, name from openpanel.events order by id") == [("a", "x"), ("b", "x")]


def test_unknown_countries_and_made_up_profiles_become_null(warehouse, spool, query):
    stub = {"id": "d", "email": "", "avatar": "", "firstName": "", "lastName": "", "isExternal": False,
            "createdAt": "2026-11-20T23:33:40.528Z", "properties": {}, "groups": []}  # fmt: skip
    known = stub | {"isExternal": True, "email": "x@example.com"}
    silent = stub | {"properties": {"plan": "pro"}}
    land(warehouse, EVENTS, spool([
        {"id": "1", "country": "\0\0", "profile": stub}, {"id": "2", "country": "SE", "profile": known},
        {"id": "3", "country": "", "profile": silent}, {"id": "4"},
        {"id": "5", "profile": {"id": "d", "email": None, "isExternal": False}},
        {"id": "6", "profile": {"id": "d", "email": "x@example.com", "isExternal": False}},
        {"id": "7", "profile": "a text"}, {"id": "8", "profile": None},
    ]))  # fmt: skip

    assert query("select id, country, profile is null from openpanel.events order by id") == [
        ("1", None, True), ("2", "SE", False), ("3", "", False), ("4", None, True),
        ("5", None, True), ("6", None, False), ("7", None, False), ("8", None, True),
    ]  # fmt: skip


def test_names_with_quotes_stay_names(warehouse, spool, query):
    """Text from a vendor is data, in every place it can stand."""
    nasty = "a'); drop table openpanel.events; --"
    land(warehouse, EVENTS, spool([{"id": nasty, "name": nasty, "properties": {nasty: nasty}}]))

    assert query("select id, name from openpanel.events") == [(nasty, nasty)]


@pytest.mark.parametrize(
    ("value", "extra"),
    [
        ({"revenue": "abc"}, {"revenue": "abc"}),
        ({"importedAt": "2026-02-30T00:00:00Z"}, {"importedAt": "2026-02-30T00:00:00Z"}),
        ({"importedAt": "2026-02-01T10:00:60Z"}, {"importedAt": "2026-02-01T10:00:60Z"}),
    ],
)
def test_a_value_that_slips_through_the_strict_pass_is_kept_in_extra(warehouse, spool, query, value, extra):
    """Pages reach the landing checked; what DuckDB refuses all the same is looked into once more."""
    receipt = land(warehouse, EVENTS, spool([*rows("a"), {"id": "b", **value}]))

    assert (receipt.landed, receipt.misfits) == (2, 1)
    ((found,),) = query("select _extra::varchar from openpanel.events where id = 'b'")
    assert json.loads(found) == extra


def test_the_last_value_of_a_repeated_key_lands_and_the_earlier_one_is_kept(warehouse, spool, query):
    """Where no other record of the page had an undeclared field, the day was refused."""
    staged = spool(rows("a"))
    body = staged.files[0].read_bytes()
    twice = body.replace(b"}", b',"name":"two"}', 1)
    staged.files[0].write_bytes(twice)
    part = msgspec.structs.replace(staged.manifest.parts[0], bytes=len(twice))
    staged.manifest = msgspec.structs.replace(staged.manifest, parts=[part])

    receipt = land(warehouse, EVENTS, staged)

    assert (receipt.landed, receipt.misfits, receipt.strangers) == (1, 1, {"name (repeated)"})
    assert query("select name, _extra->'name (repeated)'->>0 from openpanel.events") == [("two", "x")]


def test_a_time_that_does_not_exist_fails_the_landing_and_keeps_the_day(warehouse, spool, query):
    land(warehouse, EVENTS, spool(rows("a")))
    with pytest.raises(ContractError, match="no usable 'createdAt'") as caught:
        land(warehouse, EVENTS, spool([{"id": "b", "createdAt": "2026-02-30T00:00:00Z"}]))

    assert "select" not in str(caught.value)
    assert query("select id from openpanel.events") == [("a",)]


def test_a_changed_file_is_noticed(warehouse, spool):
    staged = spool(rows("a", "b"))
    staged.files[0].write_bytes(b"[]")

    with pytest.raises(ContractError, match="bytes"):
        land(warehouse, EVENTS, staged)


def test_a_manifest_that_promises_more_rows_is_not_believed(warehouse, spool, query):
    staged = spool(rows("a", "b"))
    staged.manifest = msgspec.structs.replace(staged.manifest, rows=3)
    with pytest.raises(ContractError, match="3 rows were staged and 2"):
        land(warehouse, EVENTS, staged)
    with warehouse.read() as connection:
        assert connection.execute("select count(*) from duckdb_tables()").fetchone() == (0,)


def test_a_catalogue_that_gained_a_column_gains_it_in_old_tables(warehouse, spool, query):
    land(warehouse, EVENTS, spool(rows("a")))
    wider = dataclasses.replace(
        EVENTS, columns=(*EVENTS.columns, Column(field="brandNew", type="BIGINT", description="x"))
    )
    land(warehouse, wider, spool([{"id": "b", "brandNew": 7}], stream=wider))

    assert query("select id, brand_new from openpanel.events order by id") == [("b", 7)]


@only("file")  # a lake widens types only, so this column cannot come to be
def test_a_column_of_another_type_is_refused_by_name(warehouse, spool):
    land(warehouse, EVENTS, spool(rows("a")))
    with warehouse.write() as connection:
        connection.execute("alter table openpanel.events alter revenue type varchar")
    with pytest.raises(RejectedError, match=r"openpanel\.events\.revenue is VARCHAR and should be BIGINT"):
        land(warehouse, EVENTS, spool(rows("a")))


def test_a_second_project_lands_in_its_own_schema(warehouse, spool, query):
    shop = EVENTS.of("shop")
    land(warehouse, shop, spool(rows("a"), stream=shop))
    assert query("select id from openpanel_shop.events") == [("a",)]


def test_tables_and_columns_are_described(warehouse, spool, query):
    land(warehouse, EVENTS, spool(rows("a")))
    missing = query(
        "select column_name from duckdb_columns() where schema_name = 'openpanel' and coalesce(comment, '') = ''"
    )
    assert missing == []


days = [DAY + timedelta(days=n) for n in range(3)]
landings = st.lists(st.tuples(st.sampled_from(days), st.sets(st.sampled_from("abcdef"), max_size=5)), max_size=6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(landings)
def test_the_last_landing_of_each_day_is_what_stands(tmp_path_factory, steps):
    """Property: any order, repeats and empty days leave each day as its last landing sent it."""
    from connector import Warehouse

    folder = tmp_path_factory.mktemp("any")
    warehouse = Warehouse(folder / "w.duckdb")
    truth: dict[date, set[str]] = {}
    for day, ids in steps:
        with spooling(folder / "spool", EVENTS, day) as place:
            pages = [page(rows(*sorted(ids)))] if ids else []
            land(warehouse, EVENTS, spool_pages(place, EVENTS, day, pages), allow_drop=True)
        truth[day] = ids
    if steps:
        with warehouse.read() as connection:
            found = connection.execute("select _day, id from openpanel.events").fetchall()
        assert sorted(found) == sorted((day, i) for day, ids in truth.items() for i in ids)
