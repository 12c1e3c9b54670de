"""One UTC day is read whole, or the client says why it is not."""

import dataclasses
from datetime import date

import pytest

from connector import EVENTS, ContractError, IncompleteError, OpenPanel, RejectedError
from connector.catalogue.openpanel import ON_REQUEST
from connector.http.budget import Unlimited
from connector.openpanel.day_proof import RepeatedIdError
from connector.openpanel.encoding import quoted
from connector.sandbox import READ, ROOT, WRITE, serve
from connector.sandbox import OpenPanel as Vendor
from tests.conftest import DAY

TWO_ROW_PAGES = dataclasses.replace(EVENTS, query=dataclasses.replace(EVENTS.query, limit=2))


def ids(pages):
    import json

    return [row["id"] for page in pages for row in json.loads(bytes(page.body))]


def stored(vendor, day=DAY):
    return sorted(row["id"] for row in vendor.rows(day))


@pytest.fixture
def hours(vendor):
    for hour in range(5):
        vendor.add(f"e{hour}", at=f"2026-03-04T0{hour}:00:00Z")


def test_a_day_is_read_to_its_last_row(vendor, openpanel, hours):
    pages = list(openpanel.read_day(TWO_ROW_PAGES, DAY))

    assert sorted(ids(pages)) == stored(vendor)
    assert [page.rows for page in pages] == [2, 2, 1]
    assert {page.announced for page in pages} == {5}


def test_neighbouring_days_stay_out(vendor, openpanel):
    """The end date is part of the answer: asking for day..day+1 would land tomorrow under today."""
    for day in (3, 4, 5):
        vendor.add(f"on-{day}", at=f"2026-03-0{day}T23:59:59.999Z")
        vendor.add(f"start-of-{day}", at=f"2026-03-0{day}T00:00:00.000Z")

    assert sorted(ids(openpanel.read_day(EVENTS, DAY))) == stored(vendor)


def test_a_day_without_events_yields_nothing(openpanel):
    assert list(openpanel.read_day(EVENTS, DAY)) == []


def test_both_dates_and_every_field_are_asked_for_by_name(vendor, openpanel, hours):
    """One date alone is ignored by the server, and a field not named is absent, or [] for groups."""
    list(openpanel.read_day(EVENTS, DAY))

    asked = vendor.requests[0].params
    assert (asked["start"], asked["end"]) == ("2026-03-04", "2026-03-04")
    assert asked["includes"] == list(ON_REQUEST)
    assert str(asked["limit"]) == "1000"


def test_late_event_while_paging_is_noticed(vendor, openpanel):
    """A late event shifts every later page by one row; reading on would repeat a row and call the day whole."""
    for hour in range(4):
        vendor.add(f"e{hour}", at=f"2026-03-04T0{hour}:00:00Z")
    vendor.before_page[2] = lambda: vendor.add("late", at="2026-03-04T09:00:00Z")

    with pytest.raises(IncompleteError) as caught:
        list(openpanel.read_day(TWO_ROW_PAGES, DAY))

    assert (caught.value.announced, caught.value.received) == (5, 2)


def test_a_row_stored_between_the_last_pages_list_and_its_total_is_noticed(vendor, openpanel, hours):
    vendor.before_count[3] = lambda: vendor.add("slipped", at="2026-03-04T20:00:00Z")

    with pytest.raises(IncompleteError) as caught:
        list(openpanel.read_day(TWO_ROW_PAGES, DAY))
    assert caught.value.announced == 6


def test_a_row_that_slips_in_before_a_full_last_page_is_noticed(vendor, openpanel):
    """Counted before and listed after: the page is full, the total stands still, and one row is there twice."""
    for hour in range(4):
        vendor.add(f"e{hour}", at=f"2026-03-04T0{hour}:00:00Z")
    gone = vendor.rows(DAY)[-1]["id"]

    def late():
        vendor.add("late", at="2026-03-04T09:00:00Z")

    def counted_before():
        vendor.remove(gone)
        vendor.before_count[1] = lambda: vendor.add("oldest", at="2026-03-04T00:00:00Z")

    vendor.before_page[2], vendor.before_count[2] = late, counted_before
    with pytest.raises(IncompleteError) as caught:
        list(openpanel.read_day(TWO_ROW_PAGES, DAY))
    assert caught.value.announced == 5


def test_rows_that_shift_while_as_many_leave_are_noticed(vendor, openpanel, hours):
    """The total stands still and every page is full; only the order of times tells that two rows came twice."""
    oldest = [row["id"] for row in vendor.rows(DAY)[-2:]]

    def swap():
        for number, gone in enumerate(oldest):
            vendor.remove(gone)
            vendor.add(f"late{number}", at=f"2026-03-04T2{number}:00:00Z")

    vendor.before_page[2] = swap
    with pytest.raises(RepeatedIdError):
        list(openpanel.read_day(TWO_ROW_PAGES, DAY))


def test_a_walk_asks_for_its_pages_and_nothing_else(vendor, openpanel, hours):
    """One more request is one more window, where the limit is met: ten seconds for five hundred pages."""
    list(openpanel.read_day(TWO_ROW_PAGES, DAY))
    assert [int(request.params["page"]) for request in vendor.requests] == [1, 2, 3]


def test_a_server_that_does_not_sort_is_read_in_two_walks(vendor, openpanel, hours):
    """Order proves that nothing shifted; without it all ids are remembered."""
    vendor.faults.add("bad_value", page=1, row=0, field="createdAt", value="2026-03-04T00:00:00.500Z", times=2)
    with pytest.raises(RepeatedIdError) as caught:
        list(openpanel.read_day(TWO_ROW_PAGES, DAY))
    assert len(ids(openpanel.read_day(TWO_ROW_PAGES, DAY, settled=caught.value.fingerprint))) == 5


def test_twins_split_by_a_page_edge_are_not_a_fault(vendor, openpanel):
    """The server stores one id twice now and then; such twins are neighbours, also across an edge."""
    vendor.add("a", at="2026-03-04T03:00:00Z")
    vendor.add("twin", at="2026-03-04T02:00:00Z")
    vendor.add("twin", at="2026-03-04T02:00:00Z")
    vendor.add("b", at="2026-03-04T01:00:00Z")

    assert len(ids(openpanel.read_day(TWO_ROW_PAGES, DAY))) == 4


def test_an_id_stored_far_apart_is_not_a_row_that_shifted(vendor, openpanel):
    """The order of times tells: a shifted row would stand before rows that are newer."""
    vendor.add("same", at="2026-03-04T05:00:00Z")
    for hour in (2, 3, 4):
        vendor.add(f"e{hour}", at=f"2026-03-04T0{hour}:00:00Z")
    vendor.add("same", at="2026-03-04T01:00:00Z")

    assert len(ids(openpanel.read_day(TWO_ROW_PAGES, DAY))) == 5


def test_a_server_that_cuts_pages_to_fifty_is_read_whole(url):
    """Servers before 2025-04-16 clamp every page in silence."""
    vendor = Vendor(max_limit=50)
    for minute in range(57):
        vendor.add(f"e{minute}", at=f"2026-03-04T01:{minute:02}:00Z")
    with serve(vendor.app) as base, client(base) as openpanel:
        pages = list(openpanel.read_day(EVENTS, DAY))

    assert [page.rows for page in pages] == [50, 7]


def test_a_server_that_cuts_page_one_is_refused():
    """Before 2026-03-03 page 1 came from a hidden window; the rest of the day would be lost without a word."""
    vendor = Vendor(page_one_lookback=True, clock=lambda: 1772712000.0)
    for hour in range(24):
        vendor.add(f"e{hour}", at=f"2026-03-04T{hour:02}:00:00Z")
    with serve(vendor.app) as base, client(base) as openpanel, pytest.raises(IncompleteError, match=r"updated|due"):
        list(openpanel.read_day(EVENTS, DAY))


def test_the_documented_dialect_is_read_whole():
    vendor = Vendor(dialect="pages")
    for hour in range(5):
        vendor.add(f"evt_{hour}", at=f"2026-03-04T0{hour}:00:00Z", country="United States")
    with serve(vendor.app) as base, client(base) as openpanel:
        assert sorted(ids(openpanel.read_day(TWO_ROW_PAGES, DAY))) == [f"evt_{hour}" for hour in range(5)]


@pytest.mark.parametrize("kind", ["missing_data", "missing_total", "other_json", "invalid_json"])
def test_a_missing_envelope_key_is_never_no_rows(vendor, openpanel, hours, kind):
    """Reading "no data key" as "no events" would empty the day."""
    vendor.faults.add(kind, path="/export/events", times=10)

    with pytest.raises(ContractError):
        list(openpanel.read_day(EVENTS, DAY))


def test_rows_of_another_day_are_refused(vendor, openpanel):
    vendor.add("a", at="2026-03-04T01:00:00Z")
    vendor.faults.add("bad_value", path="/export/events", field="createdAt", value="2026-03-05T01:00:00.000Z")

    with pytest.raises(ContractError, match="2026-03-05"):
        list(openpanel.read_day(EVENTS, DAY))


def test_numeric_looking_ids_are_quoted():
    """The server turns 2048 into a number before validating, and answers 400 to it."""
    vendor = Vendor()
    vendor.add_project("2048")
    vendor.add("a", at="2026-03-04T01:00:00Z", project="2048")
    with serve(vendor.app) as base, client(base, ROOT, project="2048") as openpanel:
        assert len(ids(openpanel.read_day(EVENTS, DAY))) == 1


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("demo", "demo"),
        ("2048", '"2048"'),
        ("-1.5", '"-1.5"'),
        ("true", '"true"'),
        ("1e5", '"1e5"'),
        ("null", '"null"'),
    ],
)
def test_what_the_server_would_rewrite_is_quoted(text, sent):
    assert quoted(text) == sent


@pytest.mark.parametrize(
    ("who", "project", "advice"),
    [
        (READ, "another", "OPENPANEL_PROJECT_ID"),
        (ROOT, "unknown", "OPENPANEL_PROJECT_ID"),
        (WRITE, "demo", "OPENPANEL_CLIENT_ID"),
        (dataclasses.replace(READ, secret="wrong"), "demo", "OPENPANEL_CLIENT_SECRET"),
    ],
)
def test_a_refusal_is_asked_once_and_names_the_setting(vendor, url, who, project, advice):
    with client(url, who, project=project) as openpanel, pytest.raises(RejectedError, match=advice) as caught:
        openpanel.count_day(EVENTS, DAY)

    assert len(vendor.requests) == 1, "a rerun gets the same answer"
    assert who.secret not in str(caught.value)


def test_the_vendors_count_costs_one_row(vendor, openpanel, hours):
    assert openpanel.count_day(EVENTS, DAY) == 5
    assert str(vendor.requests[-1].params["limit"]) == "1"


def client(base, who=READ, project="demo"):
    return OpenPanel(url=base, client_id=who.id, client_secret=who.secret, project_id=project, budget=Unlimited())


def test_newest_pages_stop_where_the_landed_rows_begin(vendor, openpanel, hours):
    from datetime import UTC, datetime

    pages = list(openpanel.read_newest(TWO_ROW_PAGES, DAY, since=datetime(2026, 3, 4, 3, 30, tzinfo=UTC)))

    assert [page.number for page in pages] == [1]


def test_uppercase_client_ids_are_accepted(vendor, url, hours):
    """The server compares ids as text and knows only lower case; people paste either."""
    loud = dataclasses.replace(READ, id=READ.id.upper())
    with client(url, loud) as openpanel:
        assert openpanel.count_day(EVENTS, date(2026, 3, 4)) == 5


def test_a_short_page_whose_total_stands_still_is_noticed(vendor, openpanel, hours):
    """A row leaves before the list is read, another comes before it is counted: sums match, the page is short."""
    gone = vendor.rows(DAY)[-1]
    vendor.before_page[3] = lambda: vendor.remove(gone["id"])
    vendor.before_count[3] = lambda: vendor.add("other", at="2026-03-04T23:00:00Z")

    with pytest.raises(IncompleteError, match="page 3 holds 0 rows where 1"):
        list(openpanel.read_day(TWO_ROW_PAGES, DAY))
