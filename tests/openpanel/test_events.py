"""Servers that page in ways of their own, spelt out by hand: a day is whole or it is said why it is not."""

import dataclasses
import json
import random

import pytest

from connector import EVENTS, ContractError, IncompleteError, RejectedError
from connector.catalogue.openpanel import ON_REQUEST
from connector.openpanel.day_proof import RepeatedIdError
from connector.openpanel.events import SHORT_DAY, EventPages
from connector.openpanel.reports.config import Questions, streams
from tests.conftest import DAY

PAGE = 5
STREAM = dataclasses.replace(EVENTS, query=dataclasses.replace(EVENTS.query, limit=PAGE))


def row(number, *, second=None, **more):
    second = 80_000 - number if second is None else second
    time = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return {"id": f"e{number:05}", "name": "x", "createdAt": f"{DAY}T{time}.000Z", "properties": {}, **more}


class Server:
    """Answers ``get`` as the transport does; ``page`` says which rows stand on a page, ``total`` how many there are."""

    def __init__(self, rows, *, total=None, page=None, refuses=()):
        self.rows, self.asked, self.refuses = list(rows), [], refuses
        self.total = total or (lambda: len(self.rows))
        self.page = page or (lambda number, limit: self.rows[(number - 1) * limit : number * limit])

    def get(self, path, params, *, where, meter):
        given = dict(params)
        number, limit = int(given["page"]), int(given["limit"])
        self.asked.append((number, limit, [value for name, value in params if name == "event"], given["projectId"]))
        if any(value in self.refuses for _, value in params):
            raise RejectedError("Invalid input", where=where, next_step="", status=400)
        total, data = self.total(), self.page(number, limit)
        meta = {"count": len(data), "totalCount": total, "pages": -(-total // limit), "current": number}
        return json.dumps({"meta": meta, "data": data}, separators=(",", ":")).encode()

    def read(self, stream=STREAM, *, project="demo", **more):
        return list(EventPages(self, project, at_once=1).read_day(stream, DAY, **more))

    @property
    def pages_asked(self):
        return [(number, limit) for number, limit, *_ in self.asked]


def ids(pages):
    return [row["id"] for page in pages for row in json.loads(bytes(page.body))]


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_one_moment_without_an_order_are_never_taken_for_twins(seed):
    """Each page is drawn anew and the same each time, as a server without a tie-break may do it: a second walk that
    finds the same ids says nothing of those that stood on no page."""
    same = [row(number, second=43_200) for number in range(17)]

    def page(number, limit):
        shuffled = random.Random(f"{seed}-{number}").sample(same, len(same))
        return shuffled[(number - 1) * limit : number * limit]

    server = Server(same, page=page)
    settled = None
    for _ in range(3):
        with pytest.raises(RepeatedIdError) as caught:
            server.read(settled=settled)
        settled = caught.value.fingerprint
    assert "before 2026-03-03" in str(caught.value)


def test_an_id_stored_at_two_moments_is_excused_by_a_second_walk():
    """Where rows have no order of time at all, all ids are remembered: these two are two rows, on every walk."""
    rows = [row(number) for number in range(12)]
    rows[2], rows[9] = {**rows[9], "id": "same"}, {**rows[2], "id": "same"}
    server = Server(rows)
    with pytest.raises(RepeatedIdError) as caught:
        server.read()
    assert len(ids(server.read(settled=caught.value.fingerprint))) == 12


def test_three_twins_across_an_edge_are_neighbours():
    rows = [row(number) for number in range(8)]
    rows[3] = rows[5] = rows[4]
    assert len(ids(Server(rows).read())) == 8


@pytest.mark.parametrize("stored", [PAGE, 3 * PAGE])
def test_a_row_stored_between_the_count_and_a_full_last_page_is_noticed(stored):
    """It pushes the oldest row off the page, and neither the count nor the number of rows tells."""
    rows = [row(number) for number in range(1, stored + 1)]
    server = Server(rows)
    last = stored // PAGE

    def page(number, limit):
        if number == last and len(server.rows) == stored:
            newer = [row(0)] if last == 1 else []  # on a longer walk the edge would tell
            server.rows = [*newer, *server.rows, *([] if newer else [row(stored + 1)])]
        return server.rows[(number - 1) * limit : number * limit]

    server.page = page
    with pytest.raises(IncompleteError) as caught:
        server.read()
    assert (caught.value.announced, caught.value.received) == (stored + 1, stored)
    assert len(ids(server.read())) == stored + 1


def test_rows_that_an_old_servers_count_does_not_know_yet_are_noticed():
    """Before 2026-03-03 the count was kept for ten minutes."""
    server = Server([row(number) for number in range(PAGE + 3)], total=lambda: PAGE)
    with pytest.raises(IncompleteError) as caught:
        server.read()
    assert (caught.value.announced, caught.value.received) == (PAGE + 3, PAGE)


@pytest.mark.parametrize("behind", ["the last page", "an error"])
def test_a_server_that_knows_no_page_behind_the_last_is_counted_instead(behind):
    server = Server([row(number) for number in range(2 * PAGE)])

    def page(number, limit):
        if number == 3 and behind == "an error":
            raise RejectedError("no such page", where="", next_step="", status=404)
        return server.rows[(min(number, 2) - 1) * limit : min(number, 2) * limit]

    server.page = page
    assert len(ids(server.read())) == 2 * PAGE


def test_a_long_walk_asks_for_its_pages_and_nothing_else():
    """Five hundred full pages are five windows of the limit; one request more is one window more."""
    pages = SHORT_DAY + 1
    server = Server([row(number) for number in range(pages * PAGE)])
    server.read()
    assert server.pages_asked == [(number, PAGE) for number in range(1, pages + 1)]


def test_a_last_page_with_room_needs_no_other_to_prove_it():
    server = Server([row(number) for number in range(PAGE - 1)])
    server.read()
    assert server.pages_asked == [(1, PAGE)]


def test_fields_that_were_asked_for_and_never_come_are_no_nulls():
    bare = [
        {name: value for name, value in row(number, groups=[], sessionId="").items() if name != "properties"}
        for number in range(3)
    ]
    with pytest.raises(ContractError, match=rf"none of the {len(ON_REQUEST) - 1} fields.*includes"):
        Server(bare).read()
    (page,) = Server([{**one, "device": "desktop", "name": "properties"} for one in bare]).read()
    assert page.warnings == ("no row of the first page has properties, although they were asked for",)
    (page,) = Server([{"id": "a", "createdAt": f"{DAY}T01:00:00.000Z"}]).read()
    assert len(page.warnings) == 1
    (page,) = Server([row(1)]).read()
    assert page.warnings == ()


def named(*names):
    (stream,) = (one for one in streams(Questions(events=names)) if one.name == "events")
    return stream


@pytest.mark.parametrize("project", ["demo", "2048"])
def test_names_like_numbers_are_spelt_as_the_server_reads_them(project):
    """Since 2026-04-09 a server answers 400 to a bare number; one before takes quotes for a part of the name."""
    old = Server([row(1)])
    old.read(named("screen_view", "404"), project=project)
    assert [(events, to) for *_, events, to in old.asked] == [(["screen_view", "404"], project)]

    new = Server([row(1)], refuses=("404", "2048"))
    pages = EventPages(new, project, at_once=1)
    for _ in range(2):
        list(pages.read_day(named("screen_view", "404"), DAY))
    assert new.asked[0][2] == ["screen_view", "404"]
    quoted = f'"{project}"' if project.isdigit() else project
    assert [(events, to) for *_, events, to in new.asked[1:]] == 2 * [(["screen_view", '"404"'], quoted)]


def test_what_might_be_misread_without_quotes_is_never_tried_without():
    """``null`` may be read as nothing at all, which is every event."""
    server = Server([row(1)])
    server.read(named("404", "null"))
    assert [events for *_, events, _ in server.asked] == [['"404"', '"null"']]
