"""Lookups: bare arrays and pages, cursors that must be encoded, items that move between pages, ids of both types."""

import base64

import pytest

from tests.sandbox.factory import EXPORTS

ELEVEN = {
    "user_properties",
    "company_properties",
    "features_events",
    "events_properties",
    "segments",
    "flows",
    "banners",
    "spotlights",
    "surveys",
    "resource_center_modules",
    "checklists",
}


def look(ask, name, **params):
    return ask.send("GET", f"{EXPORTS}/lookups/{name}", params=params)


def walked(ask, name, **params):
    """The ids of a paged lookup, page by page."""
    pages, cursor = [], None
    while True:
        body = look(ask, name, **params, **({"after_cursor": cursor} if cursor else {})).json()
        pages.append([item["id"] for item in body["data"]])
        cursor = body["metadata"]["cursor"]["after"]
        if not cursor:
            return pages


@pytest.mark.parametrize(
    ("world", "paged"),
    [("documented", {"events_properties", "segments"}), ("odd", {"events_properties", "features_events"})],
)
def test_shapes(userpilot, world, paged):
    """In each world two lookups are paged, and not the same two; the others are bare arrays."""
    ask = userpilot(world)
    bodies = {name: look(ask, name).json() for name in ELEVEN}
    assert {name for name, body in bodies.items() if isinstance(body, dict)} == paged
    assert all(body["data"] if isinstance(body, dict) else body for body in bodies.values())


@pytest.mark.parametrize(("world", "status"), [("documented", 404), ("odd", 200)])
def test_embeds_exist_or_not(userpilot, world, status):
    assert look(userpilot(world), "embeds").status_code == status


def test_walk_as_documented(documented):
    body = look(documented, "events_properties").json()
    assert len(body["data"]) == 50
    assert body["metadata"] == {
        "cursor": {"after": body["metadata"]["cursor"]["after"], "before": None},
        "limit": 50,
        "total_count": 53,
        "total_count_cap_exceeded": False,
    }
    pages = walked(documented, "events_properties")
    assert [len(page) for page in pages] == [50, 3]
    assert len({item for page in pages for item in page}) == 53
    assert [len(page) for page in walked(documented, "events_properties", limit=20)] == [20, 20, 13]
    assert [len(page) for page in walked(documented, "events_properties", limit=5000)] == [53]
    assert [len(page) for page in walked(documented, "segments", limit=2)] == [2, 1]
    second = look(documented, "events_properties", after_cursor=body["metadata"]["cursor"]["after"]).json()
    assert second["metadata"]["cursor"]["after"] is None
    assert second["metadata"]["cursor"]["before"]


def test_walk_in_the_odd_world(userpilot):
    """Odd: ``limit`` is ignored, and the answer does not say whether the total is capped."""
    ask = userpilot("odd")
    body = look(ask, "events_properties", limit=7).json()
    assert body["metadata"].keys() == {"cursor", "limit", "total_count"}
    assert len(body["data"]) == body["metadata"]["limit"] == 50


def test_cursor_must_be_encoded_exactly_once(documented):
    cursor = look(documented, "events_properties").json()["metadata"]["cursor"]["after"]
    assert {"+", "/", "="} <= set(cursor)
    assert look(documented, "events_properties", after_cursor=cursor).status_code == 200
    path = f"{EXPORTS}/lookups/events_properties?after_cursor="
    raw = documented.send("GET", path + cursor)  # a plus in a query is a space
    twice = look(documented, "events_properties", after_cursor=cursor.replace("+", "%2B"))
    short = look(documented, "events_properties", after_cursor=cursor.rstrip("="))
    alien = look(documented, "events_properties", after_cursor=base64.b64encode(b"page 2").decode())
    stray = look(documented, "events_properties", after_cursor="%" + cursor)
    assert {answer.status_code for answer in (raw, twice, short, alien, stray)} == {400}
    assert raw.json()["errors"][0]["message"] == "The cursor is invalid."


def test_total_may_be_capped(documented):
    documented.vendor.lookups.count_cap = 10
    body = look(documented, "events_properties").json()["metadata"]
    assert (body["total_count"], body["total_count_cap_exceeded"]) == (10, True)
    assert sum(map(len, walked(documented, "events_properties"))) == 53


def test_items_move_among_the_pages(documented):
    """An item that moves to a later page while pages are read comes twice; one that moves to an earlier page never."""
    lookups = documented.vendor.lookups
    first, second = walked(documented, "events_properties", limit=30)
    twice, never = first[0], second[0]

    def move():
        lookups.touch("events_properties", twice, "2026-03-09T00:00:00+03:00")
        lookups.touch("events_properties", never, "2020-01-01T00:00:00+03:00")

    lookups.before_page[2] = move
    pages = walked(documented, "events_properties", limit=30)
    delivered = [item for page in pages for item in page]
    assert delivered.count(twice) == 2
    assert never not in delivered
    assert len(delivered) == 53


@pytest.mark.parametrize("fault", ["stuck", "hollow"])
def test_cursor_that_never_ends(documented, fault):
    """The same cursor again and again, or empty pages with a cursor."""
    getattr(documented.vendor.lookups, fault).add("events_properties")
    seen, cursor = [], None
    for _ in range(4):
        params = {"after_cursor": cursor} if cursor else {}
        body = look(documented, "events_properties", **params).json()
        cursor = body["metadata"]["cursor"]["after"]
        seen.append((len(body["data"]), cursor))
    assert all(cursor for _, cursor in seen)
    if fault == "stuck":
        assert seen[0][1] == seen[1][1] == seen[3][1]
    else:
        assert {rows for rows, _ in seen} == {0}


def test_ids_are_strings_or_numbers(userpilot):
    """Documented: strings where the page shows strings ("-2"), numbers elsewhere. Odd: numbers everywhere."""
    for world, kind in (("documented", str), ("odd", int)):
        ask = userpilot(world)
        ids = [item for page in walked(ask, "events_properties") for item in page]
        assert {type(item) for item in ids} == {kind}
        assert kind(-2) in ids
        assert {type(item["id"]) for item in look(ask, "flows").json()} == {int}


def test_key_is_not_unique(userpilot):
    rows = look(userpilot(), "events_properties", limit=100).json()["data"]
    assert sum(row["key"] == "url" for row in rows) == 2


def test_children(userpilot):
    """Surveys with modules, and without them in three ways; checklists with tasks, or in the shape of features."""
    ask, odd = userpilot(), userpilot("odd")
    surveys = look(ask, "surveys").json()
    assert [len(item["modules"] or []) for item in surveys[:3]] == [2, 0, 0]
    assert (surveys[1]["modules"], surveys[2]["modules"], "modules" in surveys[3]) == ([], None, False)
    assert [task["id"] for task in look(ask, "checklists").json()[0]["tasks"]] == [20, 21, 22]
    assert look(odd, "checklists").json()[0].keys() == {"display_name", "key", "data_type"}


def test_lists_can_be_changed_and_are_not_shared(userpilot):
    ask, other = userpilot(), userpilot()
    ask.vendor.lookups.tables["flows"].clear()
    assert look(ask, "flows").json() == []
    assert look(other, "flows").json()


def test_exports_do_not_block_lookups(pilot):
    pilot.trigger()
    assert look(pilot, "flows").status_code == 200


def test_faults_of_single_pages(documented):
    documented.vendor.faults.add("status", f"{EXPORTS}/lookups/events_properties", page=2, status=502)
    cursor = look(documented, "events_properties").json()["metadata"]["cursor"]["after"]
    assert look(documented, "events_properties", after_cursor=cursor).status_code == 502
    assert look(documented, "events_properties", after_cursor=cursor).status_code == 200
    documented.vendor.faults.add("extra_field", f"{EXPORTS}/lookups/flows", field="surprise", value=[1])
    assert look(documented, "flows").json()[0]["surprise"] == [1]
    documented.vendor.faults.add("missing_data", f"{EXPORTS}/lookups/segments")
    assert "data" not in look(documented, "segments").json()
