"""Lists without pages land whole, or say why not: entry and exit pages, sessions, profiles, groups."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from connector import ContractError, IncompleteError, RejectedError, SettingsError
from connector.catalogue.openpanel import USUAL
from connector.openpanel.reports.config import ON_REQUEST_ONLY, Questions, streams
from connector.sandbox import OpenPanel as Vendor

DAY = date(2026, 3, 4)
STOCKHOLM = "Europe/Stockholm"


def at(second):
    return (datetime(2026, 3, 4, tzinfo=UTC) + timedelta(seconds=second)).isoformat()


def session(vendor, name, second, views=2, **fields):
    """A session with views ten seconds apart."""
    own = {"session_id": name, "device_id": f"d-{name}", "profile_id": f"d-{name}"} | fields
    for view in range(views):
        vendor.add(f"{name}-{view}", at=at(second + 10 * view), origin="https://x.example", path=f"/{view}", **own)


@pytest.fixture
def many(request):
    """More sessions than fit into an answer, most of them within an hour."""
    vendor = Vendor(rate_limit=None, **getattr(request, "param", {}))
    for number in range(330):
        session(vendor, f"s{number}", 36_000 + 9.5 * number, profile_id=f"p{number % 170}")
    session(vendor, "night", 5)
    session(vendor, "late", 86_390)
    session(vendor, "before", -5, views=1)
    session(vendor, "after", 86_400, views=1)
    return vendor


WAYS = [{}, {"unmerged": True}, {"dialect": "pages"}]


# ---------- sessions


@pytest.mark.parametrize("many", WAYS, indirect=True)
def test_every_session_of_a_day_lands_once_in_its_newest_version(many, place):
    here = place(many)
    receipt = here.land("sessions")
    wanted = {one["id"]: one for one in many.sessions() if one["id"] not in ("before", "after")}
    found = here.query(
        "select id, profile_id, created_at, ended_at, is_bounce, entry_path, exit_path, screen_view_count, duration, "
        "revenue from openpanel.sessions"
    )
    assert len(found) == len(wanted) == receipt.announced == receipt.landed == 332
    names = ("profile_id", "created_at", "ended_at", "is_bounce", "entry_path", "exit_path", "screen_view_count")
    for key, *values in found:
        expected = [wanted[key][name] for name in (*names, "duration", "revenue")]
        expected[1:3] = [datetime.fromisoformat(text) for text in expected[1:3]]
        assert values == expected
    assert (receipt.misfits, receipt.strangers) == (0, frozenset())
    assert here.query("select count(*) from openpanel.sessions where country is not null") == [(0,)], "two NULs"


def test_days_of_sessions_are_the_organizations(place):
    vendor = Vendor()
    vendor.projects["demo"].organisation.timezone = STOCKHOLM
    for name, second in (("yesterday", -7_200), ("early", -3_600), ("noon", 43_200), ("tomorrow", 82_800)):
        session(vendor, name, second)
    here = place(vendor, timezone=STOCKHOLM)
    here.land("sessions")
    assert here.query("select id from openpanel.sessions order by created_at") == [("early",), ("noon",)]
    assert here.client.count_day(next(one for one in streams() if one.name == "sessions"), DAY) == 2


def test_sessions_of_the_last_second_belong_to_the_day_though_the_total_leaves_them_out(place):
    vendor = Vendor()
    session(vendor, "a", 86_399.0, views=1)
    session(vendor, "b", 86_399.5, views=1)
    here = place(vendor)
    receipt = here.land("sessions")
    assert (receipt.announced, receipt.landed) == (2, 2)


def test_a_session_that_is_stored_meanwhile_is_noticed(many, place):
    """The total moved between the first question and the last; what had landed stays."""
    here = place(many)
    here.land("sessions")
    asked, original = [], many.sessions_of

    def sessions_of(project):
        asked.append(project)
        if len(asked) == 2:  # after the first question for the total
            session(many, "meanwhile", 10)
        return original(project)

    many.sessions_of = sessions_of
    with pytest.raises(IncompleteError, match="stored while we read"):
        here.land("sessions")
    assert here.query("select count(*) from openpanel.sessions") == [(332,)]


def test_a_total_that_is_not_the_sessions_read_is_refused(many, place):
    here = place(many)
    body = json.dumps({"metrics": {"total_sessions": 333}, "series": []})
    many.faults.add("other_json", path="/insights/demo/metrics", body=body, times=2)
    with pytest.raises(IncompleteError, match="announced 333 rows and sent 332"):
        here.land("sessions")


def test_more_sessions_in_a_second_than_the_server_shows_are_told(place):
    vendor = Vendor(rate_limit=None)
    for number in range(101):
        session(vendor, f"s{number}", 60 + number / 1000, views=1)
    here = place(vendor)
    with pytest.raises(ContractError, match="within the second 2026-03-04T00:01:00Z"):
        here.land("sessions")


def test_sessions_outside_the_part_that_was_asked_for_are_refused(many, place):
    here = place(many)
    row = {"id": "x", "created_at": "2026-03-01 10:00:00.000", "version": 1}
    many.faults.add("other_json", path="/insights/demo/sessions", body=json.dumps([row]))
    with pytest.raises(ContractError, match="also sent one from 2026-03-01"):
        here.land("sessions")


# ---------- profiles


@pytest.mark.parametrize("many", WAYS, indirect=True)
def test_every_profile_lands_once_known_or_anonymous(many, place):
    for number in range(140):
        # Written in one second, as a bulk of identifies is; ids with capitals, blanks, quotes and other letters.
        name = f"Å {number}" if number % 2 else f"o'{number}"
        times = {"created_at": 1_772_582_400_000, "last_seen_at": 1_772_600_000_000}
        many.add_profile(name, email=f"{number}@x.example", properties={"plan": "x"}, groups=["g"], **times)
    here = place(many)
    receipt = here.land("profiles")
    assert receipt.landed == 140 + 170 + 4
    assert here.query("select count(*), count(distinct id), count(*) filter (_current) from openpanel.profiles") == [
        (314, 314, 314)
    ]
    known = here.query("select email, properties::varchar, is_external, last_seen_at, groups from openpanel.profiles "
                       "where id = 'o''2'")  # fmt: skip
    seen = datetime(2026, 3, 4, 4, 53, 20, tzinfo=UTC)
    assert known == [("2@x.example", '{"plan":"x"}', True, seen, ["g"])]
    assert here.query("select id from openpanel.profiles where not is_external order by 1") == [
        ("d-after",), ("d-before",), ("d-late",), ("d-night",),
    ]  # fmt: skip


def test_a_profile_that_is_gone_stays_and_is_marked(place):
    vendor = Vendor()
    vendor.add_profile("ada", first_name="Ada", created_at=1)
    vendor.add_profile("bob", created_at=2)
    here = place(vendor)
    here.land("profiles")
    del vendor.projects["demo"].profiles["ada"]
    vendor.projects["demo"].profiles["bob"].email = "bob@x.example"
    here.land("profiles")
    assert here.query("select id, email, _current, _last_seen > _first_seen from openpanel.profiles order by 1") == [
        ("ada", "", False, False), ("bob", "bob@x.example", True, True),
    ]  # fmt: skip


def test_a_server_that_ignores_the_filter_is_refused_unless_one_answer_holds_all(place):
    vendor = Vendor(list_filters=False)
    for number in range(99):
        vendor.add_profile(f"p{number}")
    here = place(vendor)
    assert here.land("profiles").landed == 99
    vendor.add_profile("p99")
    with pytest.raises(RejectedError, match="ignores the filter"):
        here.land("profiles")
    assert here.query("select count(*) from openpanel.profiles where _current") == [(99,)]


# ---------- groups


def test_groups_land_type_by_type(place):
    vendor = Vendor()
    for number in range(120):
        kind = "123" if number % 2 else "company"  # a type that looks like a number is quoted
        vendor.add_group(f"g{number}", type=kind, name=f"Group {number}", created_at=number, properties={"seats": "5"})
    here = place(vendor)
    receipt = here.land("groups")
    assert (receipt.landed, receipt.warnings) == (120, ())
    assert here.query("select type, name, properties::varchar, project_id from openpanel.groups where id = 'g7'") == [
        ("123", "Group 7", '{"seats":"5"}', "demo")
    ]


def test_a_type_with_more_groups_than_are_listed_is_searched_and_said(place):
    """Rows that were not found are not taken for gone."""
    vendor = Vendor(rate_limit=None)
    for number in range(100):
        vendor.add_group(f"old{number}", type="company", name="", created_at=number)
    here = place(vendor)
    assert here.land("groups").warnings == (
        "of more than 100 groups of type 'company', 100 were found; others may be missing",
    )
    for number in range(160):
        vendor.add_group(f"x{number:03}", type="company", name=f"X {number}", created_at=1000 + number)
    receipt = here.land("groups")
    assert receipt.landed == 260
    assert receipt.warnings[0].startswith("of more than 100 groups of type 'company', 260 were found")
    vendor.faults.add("other_json", path="/insights/demo/groups", body="[]", times=2000)
    here.land("groups")
    assert here.query("select count(*) from openpanel.groups where _current") == [(0,)], "a short list is a whole one"


# ---------- entry and exit pages


def test_entry_and_exit_pages_add_up_to_the_sessions_of_the_day(many, place):
    here = place(many)
    receipt = here.land("insights_entry_exit")
    assert receipt.requests == 2 + 1
    found = here.query("select mode, date, path, sessions, pageviews from openpanel.insights_entry_exit order by all")
    assert found == [("entry", DAY, "/0", 332, 664), ("exit", DAY, "/1", 332, 664)]


def test_cut_lists_of_pages_are_said(place):
    vendor = Vendor(rate_limit=None)
    for number in range(1001):
        vendor.add(f"e{number}", at=at(number), session_id=f"s{number}", path=f"/{number}")
    here = place(vendor)
    assert here.land("insights_entry_exit").warnings == (
        "entry pages were cut at 1000 rows by the vendor",
        "exit pages were cut at 1000 rows by the vendor",
    )


# ---------- which servers, and who asks


@pytest.mark.parametrize("name", ON_REQUEST_ONLY)
def test_an_older_server_is_told(name, place):
    here = place(Vendor(insights="paged"))
    with pytest.raises(RejectedError, match=f"does not list {name}"):
        here.land(name)


@pytest.mark.parametrize("name", ON_REQUEST_ONLY)
@pytest.mark.parametrize("body", ["{}", '[["x"]]'])
def test_an_answer_of_another_shape_is_a_contract_error(name, body, place):
    vendor = Vendor()
    vendor.add_group("g", type="company", name="G")
    here = place(vendor)
    vendor.faults.add("other_json", path="/insights/demo/*", body=body, times=3)
    with pytest.raises(ContractError):
        here.land(name)


def test_lists_are_landed_only_where_they_are_asked_for(tmp_path):
    usual = {one.name for one in USUAL} - {"charts", "funnels"}  # none are configured
    assert {one.name for one in streams() if one.by_default} == usual
    assert set(ON_REQUEST_ONLY) == {"profiles", "groups", "sessions", "insights_entry_exit"}
    file = tmp_path / "reports.yaml"
    file.write_text("also: [profiles, sessions]")
    asked = {one.name for one in streams(Questions.load(file, dimensions=())) if one.by_default}
    assert asked == usual | {"profiles", "sessions"}
    file.write_text("also: [people]")
    with pytest.raises(SettingsError, match=r"reports.yaml.also is 'people'. Next: use one of insights_entry_exit"):
        Questions.load(file, dimensions=())
