"""Names of what events refer to: every item once, in whatever shape, and never forgotten."""

import json

import httpx
import pytest

from connector import ContractError
from connector.catalogue.userpilot import CHILDREN, LOOKUPS
from connector.userpilot.client import Userpilot
from connector.userpilot.lookups import sync_lookup

BY_NAME = {stream.name: stream for stream in LOOKUPS}


@pytest.fixture
def lookup(userpilot, warehouse, tmp_path):
    def run(name):
        return sync_lookup(userpilot, BY_NAME[name], warehouse=warehouse, spool_dir=tmp_path / "spool")

    return run


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_item_lands_once_with_an_id(pilot, lookup, query, name, world):
    receipts = lookup(name)
    if name not in pilot.lookups.tables:
        assert (name, receipts) == ("embeds", [])
        return
    assert query(f"select count(*), count(distinct id), bool_and(_current) from userpilot.{name}") == [
        (len(pilot.lookups.tables[name]), len(pilot.lookups.tables[name]), True)
    ]
    assert receipts[0].landed == len(pilot.lookups.tables[name])


def test_ids_are_text_whatever_was_sent(pilot, lookup, query):
    lookup("events_properties")
    ids = {row[0] for row in query("select id from userpilot.events_properties")}
    assert ids == {str(item["id"]) for item in pilot.lookups.tables["events_properties"]}
    assert any(found.startswith("-") for found in ids)


def test_what_vanishes_stays_and_says_so(pilot, lookup, query):
    lookup("flows")
    gone = pilot.lookups.tables["flows"].pop(0)
    pilot.lookups.tables["flows"][0]["title"] = "Renamed"
    lookup("flows")

    rows = {
        row[0]: row[1:] for row in query("select id, _current, _last_seen > _first_seen, title from userpilot.flows")
    }
    assert rows[str(gone["id"])][:2] == (False, False)
    others = [row for key, row in rows.items() if key != str(gone["id"])]
    assert {row[:2] for row in others} == {(True, True)}
    assert "Renamed" in {row[2] for row in others}

    pilot.lookups.tables["flows"].insert(0, gone)
    lookup("flows")
    assert query("select bool_and(_current), count(*) from userpilot.flows") == [(True, len(rows))]


def test_questions_and_tasks_are_tables_of_their_own(pilot, lookup, query, world):
    lookup("surveys")
    lookup("checklists")
    assert query("select parent_id, ordinal, id, question from userpilot.surveys_modules order by 2")[1] == (
        "31", 2, "311", "Why?",
    )  # fmt: skip
    tasks = 3 if world == "documented" else 0
    assert query("select count(*) from userpilot.checklists_tasks") == [(tasks,)]
    assert {child.name for _, child in CHILDREN.values()} == {"surveys_modules", "checklists_tasks"}


@pytest.mark.parametrize("world", ["documented"])
@pytest.mark.parametrize(
    ("tasks", "ids"),
    [
        ([{"id": 7}, {"id": "8"}, {}], {"7": 1, "8": 2, "3": 3}),  # as it always was
        ([{"id": 7}, {"id": 7}], {"7": 1, "7#2": 2}),
        ([{"id": 2}, {}], {"2": 1, "#2": 2}),
        ([{}, {"id": "1"}], {"#1": 1, "1": 2}),
        (["a", "a"], {"1": 1, "2": 2}),
        ([{"id": 7}, {"id": 7}, {"id": "7#2"}], {"7": 1, "7#2": 2, "7#2#3": 3}),
    ],
)
def test_members_that_share_an_id_are_all_there(pilot, lookup, query, tasks, ids):
    pilot.lookups.tables["checklists"][:] = [{"id": 1, "tasks": tasks}, {"id": 2, "tasks": tasks}]
    for _ in range(2):
        _, receipt = lookup("checklists")
        assert (receipt.landed, receipt.duplicates) == (2 * len(tasks), 0)
    for parent in ("1", "2"):
        assert dict(query(f"select id, ordinal from userpilot.checklists_tasks where parent_id = '{parent}'")) == ids


@pytest.mark.parametrize("world", ["documented"])
def test_items_that_share_a_key_are_all_there_under_ids_that_stay(pilot, lookup, query):
    one, other = {"key": "save", "display_name": "A"}, {"key": "save", "display_name": "B"}
    pilot.lookups.tables["features_events"][:] = [one, other, one, {"key": "5"}, {"id": 5, "key": "x"}]
    for seen in ("2026-03-01", "2026-03-02"):
        other["last_seen"] = seen  # it is the same item when it was used again
        (receipt,) = lookup("features_events")
        assert receipt.landed == 4
    rows = dict(query("select display_name, id from userpilot.features_events where key = 'save'"))
    assert rows["A"] == "save"
    assert rows["B"].startswith("save#")
    assert query("select key from userpilot.features_events where id = '5'") == [("x",)]
    assert query("select count(*), bool_and(_current) from userpilot.features_events") == [(4, True)]


@pytest.mark.parametrize("world", ["documented"])
def test_the_last_value_of_a_repeated_key_lands_and_the_earlier_ones_are_kept(userpilot, warehouse, tmp_path, query):
    """The rule is that of events, at any depth, and for lists inside items as well."""
    body = (
        b'[{"id":1,"title":"old","title":"new","more":{"a":1,"a":2}},'
        b'{"id":2,"title":"t","modules":[{"id":5,"type":"x"}],"modules":[{"id":6,"type":"x","type":"y"}]}]'
    )
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    with Userpilot(url="http://127.0.0.1:1", api_key="k", transport=transport) as client:
        sync_lookup(client, BY_NAME["surveys"], warehouse=warehouse, spool_dir=tmp_path / "spool")
    extras = [json.loads(extra) for (extra,) in query("select _extra::varchar from userpilot.surveys order by id")]
    assert query("select title from userpilot.surveys order by id") == [("new",), ("t",)]
    assert extras[0] == {"title (repeated)": ["old"], "more": {"a": 2, "a (repeated)": [1]}}
    assert extras[1]["modules (repeated)"] == [[{"id": 5, "type": "x"}]]
    assert query("select id, type, _extra::varchar from userpilot.surveys_modules") == [
        ("6", "y", '{"type (repeated)":["x"]}')
    ]


def test_unknown_fields_are_kept(pilot, lookup, query):
    pilot.lookups.tables["flows"][0]["brand new"] = {"a": 1}
    (receipt,) = lookup("flows")
    assert receipt.strangers == {"brand new"}
    assert query("select _extra::varchar from userpilot.flows where _extra is not null") == [('{"brand new":{"a":1}}',)]


def test_items_that_move_between_pages_are_all_found(pilot, lookup, query):
    """A property that is seen again moves to another page; it is neither lost nor there twice."""
    items = sorted(pilot.lookups.tables["events_properties"], key=lambda item: item["last_seen"])
    mover = next(item for item in items if not item["is_auto_property"])
    pilot.lookups.before_page[2] = lambda: pilot.lookups.touch("events_properties", mover["id"], "2027-01-01T00:00:00Z")
    lookup("events_properties")
    assert query("select count(*), count(distinct id) from userpilot.events_properties") == [(len(items), len(items))]


def walked(answer):
    """A lookup of 120 items in pages of 50; ``answer`` makes a body of items, the next cursor and what is counted."""
    asked = []

    def page(request):
        asked.append(int(request.url.params.get("after_cursor", 0)))
        items = [{"id": number} for number in range(asked[-1], min(asked[-1] + 50, 120))]
        following = str(asked[-1] + 50) if asked[-1] + 50 < 120 else None
        return httpx.Response(200, json=answer(items, {"after": following}, {"total_count": 120}))

    with Userpilot(url="http://127.0.0.1:1", api_key="k", transport=httpx.MockTransport(page)) as client:
        return client.lookup(BY_NAME["segments"]), asked


@pytest.mark.parametrize(
    "answer",
    [
        lambda items, after, count: {"data": items, "metadata": {"cursor": after, **count}},
        lambda items, after, count: {"data": items, "metadata": {**after, **count}},
        lambda items, after, count: {
            "data": items,
            "metadata": {"limit": 50, "cursor": None},
            "cursor": after,
            **count,
        },
        lambda items, after, count: {"data": items, **after, **count},
    ],
)
def test_no_page_is_missed_wherever_the_cursor_stands(answer):
    found, asked = walked(answer)
    assert len(found.items) == 120
    assert found.warnings == ()
    assert asked == [0, 50, 100]


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        lambda items, count: {"data": items, "metadata": {"cursor": count}},
        lambda items, count: {"data": items, "metadata": count},
        lambda items, count: {"data": items, **count},
    ],
)
def test_a_count_that_was_not_reached_is_told_wherever_it_stands_unless_it_is_capped(answer, capped):
    found, asked = walked(lambda items, after, count: answer(items, {**count, "total_count_cap_exceeded": capped}))
    assert found.warnings == (() if capped else ("50 of 120 counted items came, twice",))
    assert asked == ([0] if capped else [0, 0])


@pytest.mark.parametrize("fault", ["stuck", "hollow"])
def test_pages_that_lead_nowhere_are_an_error(pilot, lookup, fault):
    getattr(pilot.lookups, fault).add("events_properties")
    with pytest.raises(ContractError):
        lookup("events_properties")
    assert len(pilot.requests) < 10


def test_a_capped_count_is_no_reason_to_stop_or_to_fail(pilot, lookup, query, world):
    pilot.lookups.count_cap = 10
    (receipt,) = lookup("events_properties")
    assert receipt.landed == len(pilot.lookups.tables["events_properties"])
    assert receipt.warnings == ()


@pytest.mark.parametrize("answer", ['{"items": []}', '"text"', "[1]", "null"])
def test_another_shape_is_an_error_and_not_no_rows(pilot, lookup, answer, no_pauses):
    pilot.faults.add("status", path="*flows", status=200, body=answer, times=9)
    with pytest.raises(ContractError):
        lookup("flows")
