"""A current day lands at any time, however many rows are stored while it is read."""

import dataclasses
import itertools
import json
from datetime import UTC, datetime, time, timedelta

import pytest

from connector import EVENTS, IncompleteError
from connector.sandbox import OpenPanel as Vendor
from connector.sandbox import serve
from tests.factories import openpanel_client

SMALL_PAGES = dataclasses.replace(EVENTS, query=dataclasses.replace(EVENTS.query, limit=10))


class Flushes(dict):
    """New rows in the store just before every page: now, and some late ones from half an hour ago."""

    def __init__(self, vendor, *, late_every=4):
        super().__init__()
        self.vendor, self.numbers, self.late_every = vendor, itertools.count(), late_every

    def pop(self, page, default=None):
        return self.flush

    def flush(self):
        number = next(self.numbers)
        now = datetime.now(UTC)
        self.vendor.add(f"new-{number}", at=f"{now:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z")
        if number % self.late_every == 0:
            late = max(now - timedelta(minutes=30), midnight())
            self.vendor.add(f"late-{number}", at=f"{late:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z")


def midnight():
    return datetime.combine(datetime.now(UTC).date(), time(), UTC)


@pytest.fixture
def busy(vendor):
    """A day with 90 rows until now, and rows that never stop."""
    since = midnight()
    step = (datetime.now(UTC) - since) / 100
    for number in range(90):
        vendor.add(f"old-{number:02}", at=f"{since + number * step:%Y-%m-%dT%H:%M:%S}Z")
    vendor.before_page = Flushes(vendor)
    return vendor


@pytest.fixture
def today():
    return midnight().date()


def test_a_day_that_never_stands_still_lands(busy, today, sync, query):
    """9 pages and a row before each of them: read whole, it never ended, whatever the pauses were."""
    receipt = sync(today, stream=SMALL_PAGES)
    assert receipt.landed == receipt.announced
    assert query(
        "select count(*) filter (starts_with(id, 'x')), count(*) - count(distinct id) from openpanel.events"
    ) == [(0, 0)]
    names = {row for (row,) in query("select id from openpanel.events")}
    known = {event.id for event in busy.projects["demo"].events}
    assert names <= known
    assert len(names) >= 90


def test_every_row_that_was_there_before_the_reading_lands(busy, today, sync, query):
    before = {event.id for event in busy.projects["demo"].events}
    sync(today, stream=SMALL_PAGES)
    assert before <= {row for (row,) in query("select id from openpanel.events")}


def test_a_refresh_of_a_busy_day_lands_too_and_no_row_twice(busy, today, sync, query):
    sync(today, stream=SMALL_PAGES)
    before = {event.id for event in busy.projects["demo"].events}
    sync(today, stream=SMALL_PAGES, incremental=True)
    rows = [row for (row,) in query("select id from openpanel.events")]
    assert len(rows) == len(set(rows))
    assert before <= set(rows)


def test_a_quiet_day_is_read_as_ever(vendor, today, sync):
    vendor.add("e1", at=f"{midnight():%Y-%m-%dT%H:%M:%S}Z")
    sync(today)
    assert not [request for request in vendor.requests if "filters" in request.params]


def test_a_server_that_knows_no_parts_says_what_helps(busy, today, openpanel, monkeypatch):
    """Servers before 2026-05-18 ignore filters: the advice to widen the lookback did not help for today."""
    from connector.sandbox.openpanel import export_events

    monkeypatch.setattr(export_events, "compile_filters", lambda *_: None)
    for _ in range(2):
        with pytest.raises(IncompleteError, match="when it has ended") as caught:
            list(openpanel.read_day(SMALL_PAGES, today))
        assert "lookback" not in str(caught.value)


def test_a_slice_holds_its_rows_and_no_others(busy, today):
    """Each part is asked for from its first millisecond up to the one that begins the next."""
    busy.before_page = {}
    with serve(busy.app) as url, openpanel_client(url) as client:
        client._events._growing.add(today)
        pages = list(client.read_day(SMALL_PAGES, today))
    ids = [row["id"] for page in pages for row in json.loads(bytes(page.body))]
    assert len(ids) == len(set(ids)) == 90
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert pages[-1].announced == 90
    assert isinstance(busy, Vendor)
