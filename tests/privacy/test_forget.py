"""A person who is to be forgotten is in no table, no file and no later landing; all others are unchanged."""

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from connector import EVENTS, Warehouse, sync_day
from connector.catalogue.openpanel import STREAMS
from connector.cli.main import main
from connector.dagster.checks import check_results
from connector.warehouse.own_tables import create_receipts
from tests.conftest import DAY
from tests.kinds import only
from tests.privacy.conftest import KEY

NEXT = DAY + timedelta(days=1)
ADA, PHONE, TABLET, BOB = "user-ada", "a" * 32, "b" * 32, "user-bob"


@pytest.fixture
def seen(vendor):
    """Ada on two devices, known and before she was; Bob on her tablet; an unknown person; a server without devices."""
    for day in (DAY, NEXT):
        vendor.add(f"{day}-1", at=f"{day}T08:00:00Z", profile_id=ADA, device_id=PHONE)
        vendor.add(f"{day}-2", at=f"{day}T09:00:00Z", profile_id=ADA, device_id=TABLET)
        vendor.add(f"{day}-3", at=f"{day}T07:00:00Z", profile_id=PHONE, device_id=PHONE)
        vendor.add(f"{day}-4", at=f"{day}T07:30:00Z", profile_id="", device_id=TABLET)
        vendor.add(f"{day}-5", at=f"{day}T10:00:00Z", profile_id=BOB, device_id=TABLET)
        vendor.add(f"{day}-6", at=f"{day}T11:00:00Z", profile_id="c" * 32, device_id="c" * 32)
        vendor.add(f"{day}-7", at=f"{day}T12:00:00Z", profile_id=ADA, device_id="")
        vendor.add(f"{day}-8", at=f"{day}T13:00:00Z", profile_id="", device_id="")


@pytest.fixture
def forget(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "warehouse.duckdb"))
    monkeypatch.setenv("SPOOL_DIR", str(tmp_path / "spool"))

    def run(*arguments):
        capsys.readouterr()
        assert main(["forget", "--json", *arguments]) == 0
        return {line["table"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}

    return run


def who(query):
    return query("select profile_id, count(*) from openpanel.events group by 1 order by 1")


LEFT = [("", 2), ("c" * 32, 2), (BOB, 2)]


def test_a_person_is_removed_with_the_anonymous_rows_of_their_devices(seen, sync, forget, query):
    sync(DAY), sync(NEXT)
    found = forget("--profile-id", ADA)

    assert (found["openpanel.events"]["rows"], found["openpanel.events"]["days"]) == (10, 2)
    assert found["openpanel.events"]["anonymous"] == 4
    assert who(query) == LEFT
    assert query("select device_id from openpanel.events where profile_id = ''") == [("",), ("",)]
    assert query("select landed + duplicates + forgotten - received, landed from connector.landings") == [
        (0, 3),
        (0, 3),
    ]
    assert query("select count(*) from connector.coverage where state <> 'whole'") == [(0,)]


def test_later_landings_do_not_bring_them_back_and_still_add_up(seen, sync, forget, query, warehouse):
    sync(DAY)
    forget("--profile-id", ADA)
    again, fresh = sync(DAY), sync(NEXT)

    assert who(query) == LEFT
    for receipt in (again, fresh):
        assert (receipt.landed, receipt.forgotten, receipt.received, receipt.announced) == (3, 5, 8, 8)
    import dagster as dg

    results = check_results(EVENTS, dg.AssetKey("x"), [again, fresh], warehouse)
    assert {r.check_name: r.passed for r in results if r.check_name != "newest_day_is_recent"} == {
        "key_is_unique": True,
        "nothing_unexpected": True,
        "vendor_count_matches": True,
    }


def test_a_growing_day_is_refreshed_without_them(vendor, seen, sync, forget, query):
    sync(DAY)
    forget("--profile-id", ADA)
    vendor.add("late-bob", at=f"{DAY}T14:00:00Z", profile_id=BOB, device_id=TABLET)
    receipt = sync(DAY, incremental=True)
    assert (receipt.landed, receipt.forgotten, receipt.received) == (4, 5, 9)
    vendor.add("late-ada", at=f"{DAY}T15:00:00Z", profile_id=ADA, device_id=PHONE)
    receipt = sync(DAY, incremental=True)
    assert (receipt.landed, receipt.forgotten, receipt.received) == (4, 6, 10)
    assert [name for name, _ in who(query)] == ["", "c" * 32, BOB]


def test_a_new_row_of_theirs_is_not_taken_for_the_one_that_is_missing(vendor, sync, forget, query):
    """The newest pages hold only the new row: landed and newer rows would add up, the person among them."""
    two_row_pages = dataclasses.replace(EVENTS, query=dataclasses.replace(EVENTS.query, limit=2))
    vendor.add("ada-1", at=f"{DAY}T01:00:00Z", profile_id=ADA)
    for at in ("05:00", "06:00", "08:00", "08:10"):
        vendor.add(f"bob-{at}", at=f"{DAY}T{at}:00Z", profile_id=BOB)
    sync(DAY, stream=two_row_pages)
    forget("--profile-id", ADA)
    vendor.add("ada-2", at=f"{DAY}T09:00:00Z", profile_id=ADA)
    receipt = sync(DAY, stream=two_row_pages, incremental=True)
    assert (receipt.landed, receipt.forgotten, receipt.received) == (4, 2, 6)
    assert who(query) == [(BOB, 4)]


@pytest.fixture
def lists(vendor, openpanel, warehouse, tmp_path):
    """Sessions of the day, and the profiles, land beside the events."""
    vendor.add_profile(ADA, email="ada@x.example")
    vendor.add_profile(BOB, email="bob@x.example")
    for number, (who, device) in enumerate(((ADA, PHONE), (PHONE, PHONE), ("", TABLET), (BOB, TABLET), (ADA, "z"))):
        vendor.add(f"s{number}", at=f"{DAY}T2{number % 4}:00:00Z", profile_id=who, device_id=device,
                   session_id=f"s{number}")  # fmt: skip

    def land(*names):
        chosen = [stream for stream in STREAMS if stream.name in (names or ("sessions", "profiles"))]
        return [sync_day(openpanel, one, DAY, warehouse=warehouse, spool_dir=tmp_path / "spool") for one in chosen]

    return land


def test_a_person_leaves_sessions_and_profiles_with_the_devices_that_any_table_knows(seen, sync, lists, forget, query):
    """Her device "z" is known from sessions only; the anonymous profile of her phone is hers as well."""
    sync(DAY), lists()
    found = forget("--profile-id", ADA)
    assert {table: line["rows"] for table, line in found.items() if "." in table} == {
        "openpanel.events": 5 + 4, "openpanel.sessions": 4, "openpanel.profiles": 2,
    }  # fmt: skip
    assert query("select id from openpanel.sessions") == [("s3",)]
    left = query("select id, email from openpanel.profiles order by 1")
    assert left == [("c" * 32, ""), (BOB, "bob@x.example")]

    again = lists()
    assert [(receipt.landed, receipt.forgotten) for receipt in again] == [(1, 4), (2, 2)]
    assert all(one.announced == one.landed + one.duplicates + one.forgotten for one in again)
    assert query("select id, email from openpanel.profiles order by 1") == left


def test_a_table_that_is_landed_first_after_a_person_was_forgotten_leaves_them_out(seen, sync, lists, forget, query):
    sync(DAY)
    forget("--profile-id", ADA)
    lists()
    assert query("select id from openpanel.profiles order by 1") == [("c" * 32,), (BOB,)]
    assert (ADA,) not in query("select profile_id from openpanel.sessions")


def test_devices_can_be_kept(seen, sync, forget, query):
    sync(DAY)
    assert forget("--profile-id", ADA, "--keep-devices")["openpanel.events"]["rows"] == 3
    sync(DAY)
    assert who(query) == [("", 2), (PHONE, 1), ("c" * 32, 1), (BOB, 1)]


def test_a_dry_run_counts_and_changes_nothing(seen, sync, forget, query):
    sync(DAY)
    assert forget("--profile-id", ADA, "--dry-run")["openpanel.events"]["rows"] == 5
    assert query("select count(*) from openpanel.events") == [(8,)]
    assert query("select count(*) from duckdb_tables() where table_name = 'forgotten'") == [(0,)]
    sync(DAY)
    assert query("select count(*) from openpanel.events") == [(8,)]


def test_what_is_remembered_does_not_tell_who_it_was(seen, sync, forget, query):
    sync(DAY)
    forget("--profile-id", ADA)
    assert ADA not in repr(query("from connector.forgotten"))
    assert query("select count(distinct salt), count(*) from connector.forgotten") == [(1, 6 - 1)]
    forget("--profile-id", ADA)
    assert query("select count(distinct salt), count(*) from connector.forgotten") == [(1, 5)]


def test_hashed_people_are_found_by_their_own_id(seen, private_sync, forget, query, tmp_path, monkeypatch):
    rules = {"openpanel.events": {"hash": ["profile_id", "device_id"]}}
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps(rules))
    monkeypatch.setenv("CONNECTOR_PERSONAL_DATA", str(file))
    monkeypatch.setenv("CONNECTOR_HASH_KEY", KEY)
    private_sync(rules)
    assert forget("--profile-id", ADA)["openpanel.events"]["rows"] == 5
    assert private_sync(rules).forgotten == 5


def test_another_instance_can_be_spared(seen, sync, forget, query):
    sync(DAY)
    sync(DAY, stream=EVENTS.of("shop"))
    found = forget("--profile-id", ADA, "--instance", "shop")
    assert "openpanel.events" not in found
    assert found["openpanel_shop.events"]["rows"] == 5
    assert query("select count(*) from openpanel.events") == [(8,)]
    assert forget("--profile-id", ADA).keys() >= {"openpanel.events", "openpanel_shop.events"}


def test_exported_events_and_waiting_files_go_too(pilot, private_land, forget, query, tmp_path, request_):
    for user in ("user-ada", "user-bob", ""):
        pilot.add_event(at="2026-03-03T08:00:00Z", user_id=user, metadata={"n": 1})
    private_land({})
    waiting = tmp_path / "spool" / "userpilot.exports" / "job1.chunks"
    waiting.mkdir()
    (waiting / "chunk-00001").write_text('{"user_id": "user-ada"}')
    assert forget("--user-id", "user-ada", "--dry-run")["waiting exports"]["rows"] == 1
    found = forget("--user-id", "user-ada")

    assert (found["userpilot.events"]["rows"], found["waiting exports"]["rows"]) == (1, 1)
    assert not waiting.exists()
    (receipt,) = private_land({}, allow_drop=True)
    assert {name or "" for (name,) in query("select user_id from userpilot.events")} == {"", "user-bob"}
    day = receipt.days[1]
    assert (day.received, day.landed, day.forgotten) == (3, 2, 1)


def test_the_way_back_forgets_them_as_well(seen, sync, forget, openpanel, warehouse, tmp_path, query):
    from connector.openpanel.track.plan import Outbox
    from connector.openpanel.track.send import deliver

    sync(DAY)
    book = tmp_path / "spool" / "outbox"
    query_ = "select distinct profile_id from openpanel.events where profile_id like 'user%'"
    outbox = Outbox(name="people", kind="identify", query=query_)
    with openpanel.track() as track:
        deliver(outbox, track, warehouse=warehouse, folder=book, dry_run=lambda _: None)
    from connector.openpanel.track.journal import Outcome, journal, remember

    remember(warehouse, "people", [Outcome(ADA, "h", "sent"), Outcome(BOB, "h", "failed", "no")])
    with journal(book, "people") as open_book:
        open_book.done(Outcome(ADA, "h", "sent"))
        open_book.done(Outcome(BOB, "h", "sent"))
    assert forget("--profile-id", ADA)["rows noted as sent back"]["rows"] == 2
    assert query("select key from connector.sent union all select key from connector.rejected") == [(BOB,)]
    assert ADA not in (book / "people.journal").read_text()
    assert BOB in (book / "people.journal").read_text()

    told = Outbox(name="again", kind="identify", query=f"select unnest(['{ADA}', '{BOB}']) as profile_id")
    messages = []
    with openpanel.track() as track:
        done = deliver(told, track, warehouse=warehouse, folder=book, dry_run=messages.append)
    assert ([m.keys for m in messages], done.forgotten) == ([(BOB,)], 1)


def test_a_warehouse_of_an_older_version_learns_to_count_them(tmp_path):
    with duckdb.connect(tmp_path / "older.duckdb") as connection:
        create_receipts(connection)
        connection.execute("alter table connector.landings drop column forgotten")
        connection.execute("begin")
        create_receipts(connection)
        connection.execute("commit")
        assert connection.execute("select count(forgotten) from connector.landings").fetchone() == (0,)


def test_an_instance_that_is_not_there_is_no_success(seen, sync, forget, query, capsys):
    sync(DAY)
    before = who(query)
    assert main(["forget", "--profile-id", ADA, "--instance", "nope"]) == 2
    assert (
        "--instance is 'nope', of which there is no table. Next: use one of '', or leave it out for all."
        in capsys.readouterr().err
    )
    assert who(query) == before


def test_blanks_around_an_id_are_not_part_of_it(seen, sync, forget, query):
    sync(DAY)
    forget("--profile-id", f" {ADA}\n")
    assert ADA not in dict(who(query))


@pytest.mark.parametrize("arguments", [[], ["--profile-id", ""], ["--user-id", " "]])
def test_an_empty_id_is_not_a_person(arguments, tmp_path, monkeypatch, capsys):
    """An empty id would remove every anonymous row."""
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "warehouse.duckdb"))
    assert main(["forget", *arguments]) == 2
    assert "SettingsError" in capsys.readouterr().err


@only("file")  # of a lake, tests/scale reads every file
def test_the_documented_copy_leaves_no_byte_behind(seen, sync, forget, tmp_path):
    """Deleting leaves bytes in the file until they are overwritten; the document says how to be rid of them."""
    sync(DAY)
    text = (Path(__file__).parents[2] / "docs" / "personal-data.md").read_text()
    sql = text.split("```sql")[1].split("```")[0]
    assert "copy from database" in sql
    before = tmp_path / "warehouse.duckdb"
    assert ADA.encode() in before.read_bytes()
    forget("--profile-id", ADA)
    with duckdb.connect() as connection:
        connection.execute(
            sql.replace("warehouse.duckdb", str(before)).replace("fresh.duckdb", str(tmp_path / "f.duckdb"))
        )
    assert ADA.encode() not in (tmp_path / "f.duckdb").read_bytes()
    assert BOB.encode() in (tmp_path / "f.duckdb").read_bytes()
    with Warehouse(tmp_path / "f.duckdb").read() as connection:
        assert connection.execute("select count(*) from openpanel.events").fetchone() == (3,)
        assert connection.execute("select comment from duckdb_tables() where table_name = 'events'").fetchone()[0]
