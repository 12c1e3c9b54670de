"""Sessions in the warehouse are those that OpenPanel keeps: rule by rule, and over random events that land late."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from connector.sandbox import OpenPanel as Vendor
from connector.sandbox.openpanel.sessions import IMPORT_SDK

from . import expected
from .conftest import Landed
from .project import dbt, equal, mart

DAY = date(2026, 3, 4)
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
VIEW, ACT = "screen_view", "signup"


def visit(session, *steps, at=NOON, imported=False):
    """Rows of one session, a minute apart: name, path and person of each step; person None is the device itself."""
    usual = {"session_id": session, "device_id": f"device-{session}", "origin": "https://app.example.com"}
    rows = [
        {**usual, "id": f"{session}-{number}", "name": name, "path": path,
         "profile_id": person or usual["device_id"], "at": at + timedelta(minutes=number)}
        for number, (name, path, person) in enumerate(steps)
    ]  # fmt: skip
    apart = timedelta(seconds=1) if imported else timedelta(milliseconds=100)
    marks = {"sdk_name": IMPORT_SDK} if imported else {}
    start = {**rows[0], **marks, "id": f"{session}-start", "name": "session_start", "at": rows[0]["at"] - apart}
    end = {**rows[-1], **marks, "id": f"{session}-end", "name": "session_end",
           "at": rows[-1]["at"] + timedelta(seconds=1)}  # fmt: skip
    return [start, *rows, end]


MIDNIGHT = datetime(2026, 3, 5, tzinfo=UTC)
RULES = {
    "entry and exit skip events without a path": (
        visit("a", (ACT, "", None), (VIEW, "/in", None), (VIEW, "/out", None), (ACT, "", None)),
        {"entry_path": "/in", "exit_path": "/out", "page_views": 2, "events": 4, "is_bounce": False},
    ),
    "a later page view without a path is no page view": (
        visit("b", (VIEW, "/in", None), (VIEW, "", None), (VIEW, "", None)),
        {"page_views": 1, "events": 3, "is_bounce": True, "exit_path": "/in"},
    ),
    "the first page view counts without a path": (
        visit("c", (VIEW, "", None), (VIEW, "/in", None)),
        {"page_views": 2, "is_bounce": False, "entry_path": "/in"},
    ),
    "no path at all is no entry": (
        visit("d", (VIEW, "", None), (ACT, "", None)),
        {"page_views": 1, "is_bounce": True, "entry_path": None, "exit_path": None},
    ),
    "the person is the last identified one": (
        visit("e", (VIEW, "/", None), (VIEW, "/", "ada"), (VIEW, "/", "bob"), (VIEW, "/", None)),
        {"user_id": "bob", "visitor_id": "bob", "visitor_ids": ["ada", "bob", "device-e"]},
    ),
    "a visitor without a name is the device": (
        visit("f", (VIEW, "/", None)),
        {"user_id": None, "visitor_id": "device-f", "visitor_ids": ["device-f"]},
    ),
    "an import is dated by its marks and keeps empty paths": (
        visit("g", (VIEW, "", None), (VIEW, "/", "ada"), (VIEW, "", "bob"), imported=True),
        {
            "is_imported": True, "page_views": 3, "entry_path": None, "exit_path": None, "user_id": "ada",
            "started_at": NOON - timedelta(seconds=1), "ended_at": NOON + timedelta(minutes=2, seconds=1),
            "duration_seconds": 120.0, "visitor_ids": ["ada"],
        },
    ),
    "an import that begins at midnight counts on the day before": (
        visit("h", (VIEW, "/", None), at=MIDNIGHT, imported=True),
        {"is_imported": True, "day": str(DAY), "local_day": str(DAY), "duration_seconds": 0.0},
    ),
    "the marks of a live session do not date it": (
        visit("i", (VIEW, "/", None), at=MIDNIGHT),
        {"is_imported": False, "day": "2026-03-05", "started_at": MIDNIGHT, "duration_seconds": 0.0},
    ),
    "a night's parts are one session": (
        visit("j", (ACT, "", None), (VIEW, "/late", "ada"), (VIEW, "", "ada"), (VIEW, "", "bob"),
              at=MIDNIGHT - timedelta(minutes=2)),
        {"day": str(DAY), "entry_path": "/late", "exit_path": "/late", "page_views": 1, "user_id": "bob"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A session for every rule, landed and built."""
    vendor = Vendor()
    for rows, _ in RULES.values():
        vendor.load(rows)
    landed = Landed(tmp_path_factory.mktemp("rules"), vendor)
    landed.land([DAY, DAY + timedelta(days=1)])
    dbt("run", "--select", "+sessions", warehouse=landed.path)
    landed.rows = mart(landed.path, "sessions").set_index("session_id")
    return landed


@pytest.mark.parametrize("rule", RULES)
def test_a_session_is_kept_by_the_servers_rules(kept, rule):
    rows, wanted = RULES[rule]
    found = kept.rows.loc[rows[0]["session_id"]]
    shown = {name: found[name] for name in wanted}
    shown |= {name: str(shown[name]) for name in ("day", "local_day") if name in shown}
    assert shown == wanted


def test_the_sandbox_keeps_the_same_sessions(kept):
    """It has the rules from the contract, and shares no code with the models."""
    equal(kept.rows.reset_index(), expected.kept_by(kept.vendor))


# ---------- random events


DAYS = [DAY + timedelta(days=n) for n in range(4)]
COLUMNS = ("sessions", "page_performance", "channel_performance")


def random_visit(chance, number):
    """Up to nine events, often across midnight; a few sessions are imports, and a few have lost their events."""
    people = [None, None, "ada", "bob", "cy"]
    at = datetime(2026, 3, 4, 6, tzinfo=UTC) + timedelta(seconds=chance.randrange(3 * 86_400))
    if chance.random() < 0.4:
        midnight = datetime.combine(chance.choice(DAYS[1:]), datetime.min.time(), UTC)
        at = midnight - timedelta(seconds=chance.choice((0, 1, 60, 300, 600)))
    steps = [
        (chance.choice((VIEW, VIEW, ACT)), chance.choice(("", "/", "/a", "/b")), chance.choice(people))
        for _ in range(chance.randint(1, 9))
    ]
    rows = visit(f"s{number}", *steps, at=at, imported=chance.random() < 0.25)
    source = {"utm_source": chance.choice(("news", "ads"))} if chance.random() < 0.5 else {}
    for row in rows:
        row["origin"] = chance.choice(("", "https://a.example", "https://b.example"))
        row["groups"] = chance.choice(([], ["c-1"], ["c-2", "c-1"]))
        row["properties"] = {"__query": source}
    return rows[:1] if chance.random() < 0.05 else rows


def compared(path):
    """The marts of sessions beside what the landed rows say, counted in Python."""
    events = expected.openpanel(path)
    visits = expected.sessions(events)
    columns = [name for name in visits if name not in {"source", "medium", "campaign"}]
    equal(mart(path, "sessions"), visits, columns)
    equal(mart(path, "page_performance"), expected.page_performance(events, visits))
    equal(mart(path, "channel_performance"), expected.channel_performance(visits))


def test_a_session_that_turns_out_to_begin_earlier_leaves_its_former_day(tmp_path):
    """Only the earlier day is landed again; the later one had this session alone and loses its channels."""
    rows = visit("s", *[(VIEW, "/", None)] * 4, at=MIDNIGHT - timedelta(minutes=2))
    before = [row for row in rows if row["at"] < MIDNIGHT]
    vendor = Vendor()
    vendor.load(rows[len(before) :])
    landed = Landed(tmp_path, vendor)
    models = ("run", "--select", "+page_performance", "+channel_performance")
    landed.land([DAY, DAY + timedelta(days=1)])
    dbt(*models, warehouse=landed.path)
    assert [str(day) for day in mart(landed.path, "channel_performance")["day"]] == ["2026-03-05"]
    vendor.load(before)
    landed.land([DAY])
    dbt(*models, warehouse=landed.path)
    assert [str(day) for day in mart(landed.path, "channel_performance")["day"]] == [str(DAY)]
    compared(landed.path)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_events_that_land_late_give_the_sessions_of_a_full_refresh(tmp_path, seed):
    """Rows are added, moved to another day and lost; then a random choice of days is landed and built."""
    chance = random.Random(seed)
    vendor = Vendor()
    visits = [random_visit(chance, number) for number in range(150)]
    rows = [row for visit in visits for row in visit]
    chance.shuffle(rows)
    landed = Landed(tmp_path, vendor)
    models = ("run", "--select", "+page_performance", "+channel_performance")
    there, waiting = rows[: len(rows) * 2 // 3], rows[len(rows) * 2 // 3 :]
    vendor.load(there)
    landed.land(chance.sample(DAYS, 3))
    dbt(*models, warehouse=landed.path)
    compared(landed.path)
    for _ in range(4):
        late, waiting = waiting[: len(waiting) // 2], waiting[len(waiting) // 2 :]
        vendor.load(late)
        for row in chance.sample(there, len(there) // 10):
            vendor.remove(row["id"])
        landed.land(chance.sample(DAYS, chance.randint(1, 3)))
        dbt(*models, warehouse=landed.path)
        compared(landed.path)
    landed.land(DAYS)
    dbt(*models, warehouse=landed.path)
    theirs = expected.kept_by(vendor)  # of a session that has only its marks left, ours counts the marks as events
    equal(mart(landed.path, "sessions"), theirs, [name for name in theirs if name != "events"])
    found = {name: mart(landed.path, name) for name in COLUMNS}
    dbt(*models, "--full-refresh", warehouse=landed.path)
    for name, rows in found.items():
        assert rows.equals(mart(landed.path, name)), name
